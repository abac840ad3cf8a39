"""The command line: arguments in, one call, result out. Nothing imports this file.

Results go to stdout, progress and warnings to stderr. Exit codes: 0 the command did its work, 1 it
could not, 2 wrong usage, 130 interrupted with everything stored.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import click

from batchlab.cli.values import (
    BATCH_SIZES,
    BYTES,
    LEARNING_RATES,
    SECONDS,
    SETTING,
    TARGET,
)
from batchlab.errors import BatchlabError, UsageError
from batchlab.planning.scaling import SCALING_RULES
from batchlab.version import __version__

if TYPE_CHECKING:
    from batchlab.cli.progress import ProgressBar, ProgressLines
    from batchlab.commands.advised import Advised
    from batchlab.records.study import Study

# A budget is a ceiling for the whole command: it began when Python loaded this file.
_STARTED_S = time.monotonic()
# What a budget leaves for training ends so much earlier: writing the page takes 4 s on an idle
# machine and 9 s on a busy one, the text alone a fraction of a second.
_REPORT_RESERVE_S = 12.0
_TEXT_RESERVE_S = 0.7
# The last probe of a profile may have to be ended, and a busy machine takes its time.
_PROBE_END_S = 1.0
_DEFAULT_STORE = "batchlab.db"
_DEFAULT_REPORT = "batchlab-report.html"
# Two to three minutes is what people wait for a first answer.
_ADVISE_BUDGET_S = 175.0

# Heavy modules (torch, plotting) are imported inside the commands: `--help` must be instant.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96})
@click.version_option(__version__, message="batchlab %(version)s")
def batchlab() -> None:
    """Which batch size should I use? Measured on your own model and machine."""


@batchlab.command()
@click.argument("workload", default="mnist-mlp")
@click.option(
    "--objective",
    type=click.Choice(["time", "samples", "quality"]),
    default="time",
    show_default=True,
    help="Least time to the target, the largest batch that needs hardly more examples to it, or "
    "the best validation metric after --epochs or --train-time.",
)
@click.option(
    "--target", type=TARGET, help="Validation level that counts as trained. Default: a pilot's."
)
@click.option(
    "--budget",
    type=SECONDS,
    default=_ADVISE_BUDGET_S,
    help="Ceiling on the time of the whole command. Default: 175s.",
)
@click.option(
    "--batch-sizes",
    type=BATCH_SIZES,
    help="The candidates, beside the workload's own; full is the whole training set. Default: "
    "powers of two from 8.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="No run goes further. Default: as the budget allows; 10 for quality, or with a schedule.",
)
@click.option(
    "--train-time",
    type=SECONDS,
    help="With quality: compare after so much training, such as 60s, instead of --epochs.",
)
@click.option(
    "--memory-limit", type=BYTES, help="Judge as if there were no more. Default: what there is."
)
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="Step times and memory of another machine, from batchlab profile --json there.",
)
@click.option(
    "--set", "settings", type=SETTING, multiple=True, help="A setting of the workload. Repeatable."
)
@click.option(
    "--sampling",
    type=click.Choice(["reshuffle", "replacement"]),
    default="reshuffle",
    show_default=True,
)
@click.option("--drop-last", is_flag=True, help="Leave out a smaller last batch of an epoch.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option("--store", type=click.Path(path_type=Path), default=_DEFAULT_STORE, show_default=True)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=_DEFAULT_REPORT,
    show_default=True,
    help="Write the report to this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--explain", is_flag=True, help="Print too what was done and why, step by step.")
@click.pass_obj
def advise(
    command_line: str,
    workload: str,
    objective: Literal["time", "samples", "quality"],
    target: tuple[str, float] | None,
    budget: float,
    batch_sizes: tuple[int | Literal["full"], ...] | None,
    epochs: int | None,
    train_time: float | None,
    memory_limit: int | None,
    profile: Path | None,
    settings: tuple[tuple[str, str], ...],
    sampling: Literal["reshuffle", "replacement"],
    drop_last: bool,
    device: str,
    store: Path,
    report: Path,
    as_json: bool,
    explain: bool,
) -> None:
    """Tell which batch size to train WORKLOAD with, and what to set with it.

    WORKLOAD is a built-in name (see `batchlab workloads`) or path/file.py:name.

    The batch sizes are profiled, the learning rate is tuned where it may win, the answer is
    verified on fresh seeds. Interrupted by Ctrl-C or worse, the same command goes on; once it has
    answered, it gives the same answer at once.
    """
    _check_output(report, store)
    with _at_work() as progress:
        from batchlab.commands.advise import advise_with_evidence

        advised = advise_with_evidence(
            workload,
            objective=objective,
            target=target,
            budget_s=budget,
            batch_sizes=batch_sizes,
            epochs=epochs,
            train_s=train_time,
            memory_limit_bytes=memory_limit,
            profile=profile,
            settings=_settings(settings),
            sampling=sampling,
            drop_last=drop_last,
            device=device,
            store=store,
            command=command_line,
            listener=progress,
            reserved_s=_reserved_s(budget, report),
        )
        progress.phase("writing the report")
        _write_advice_report(advised, report)
    _show_advice(advised, store, report, as_json=as_json, explain=explain)


@batchlab.command()
@click.argument("workload", default="mnist-mlp")
@click.option(
    "--batch-sizes",
    type=BATCH_SIZES,
    help="Examples per optimizer step; full is the whole training set. Default: full, and 64, 256, "
    "1024 where it is larger.",
)
@click.option(
    "--learning-rates", type=LEARNING_RATES, help="Default: the workload's reference rate."
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trials per cell."
)
@click.option("--epochs", type=click.IntRange(min=1), help="Default: 10, unless --steps is given.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps of every trial.")
@click.option("--target", type=TARGET, help="Validation level at which a trial ends.")
@click.option(
    "--set", "settings", type=SETTING, multiple=True, help="A setting of the workload. Repeatable."
)
@click.option(
    "--scaling-rule",
    type=click.Choice(list(SCALING_RULES)),
    default="none",
    show_default=True,
    help="How the rates follow the batch size from the workload's reference batch size; sde-adam "
    "moves Adam's betas and eps as well.",
)
@click.option(
    "--sampling",
    type=click.Choice(["reshuffle", "replacement"]),
    default="reshuffle",
    show_default=True,
)
@click.option("--drop-last", is_flag=True, help="Leave out a smaller last batch of an epoch.")
@click.option(
    "--micro-batch-size", type=click.IntRange(min=1), help="Examples per forward and backward pass."
)
@click.option("--budget", type=SECONDS, help="Ceiling on the time of the whole command.")
@click.option("--store", type=click.Path(path_type=Path), default=_DEFAULT_STORE, show_default=True)
@click.option("--report", type=click.Path(path_type=Path), help="Write the report to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.pass_obj
def sweep(
    command_line: str,
    workload: str,
    batch_sizes: tuple[int | Literal["full"], ...] | None,
    learning_rates: tuple[float, ...] | None,
    seeds: int,
    epochs: int | None,
    steps: int | None,
    target: tuple[str, float] | None,
    settings: tuple[tuple[str, str], ...],
    scaling_rule: str,
    sampling: Literal["reshuffle", "replacement"],
    drop_last: bool,
    micro_batch_size: int | None,
    budget: float | None,
    store: Path,
    report: Path | None,
    as_json: bool,
    device: str,
) -> None:
    """Train WORKLOAD at every batch size, learning rate and seed.

    WORKLOAD is a built-in name (see `batchlab workloads`) or path/file.py:name.

    What the store holds is not trained again. Interrupted by Ctrl-C or worse, the same command goes
    on; asked for more epochs, a trial trains only those that are missing.
    """
    if report is not None:
        _check_output(report, store)
    with _at_work() as progress:
        from batchlab.commands.sweep import sweep as run_sweep

        study = run_sweep(
            workload,
            batch_sizes=batch_sizes,
            learning_rates=learning_rates,
            seeds=seeds,
            epochs=epochs,
            steps=steps,
            target=target,
            settings=_settings(settings),
            scaling_rule=scaling_rule,
            sampling=sampling,
            drop_last=drop_last,
            micro_batch_size=micro_batch_size,
            device=device,
            budget_s=budget,
            reserved_s=0.0 if budget is None else _reserved_s(budget, report),
            store=store,
            command=command_line,
            listener=progress,
        )
        if report is not None:
            progress.phase("writing the report")
            _write_report(study, report)
    _show(study, store, report, as_json=as_json)
    _refuse_errors(study)


def _refuse_errors(study: Study) -> None:
    """End with an error if trials did: other bad ends are results, these were kept from having one.

    Raises:
        BatchlabError: naming the first reason.
    """
    failed = [record for record in study.records if record.status == "error"]
    if failed:
        reason = (failed[0].reason or "").rstrip(".")
        raise BatchlabError(
            f"{len(failed)} of {len(study.records)} trials ended in an error, first {reason}; mend "
            f"that, then the same command goes on with them"
        )


def _settings(given: tuple[tuple[str, str], ...]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for name, value in given:
        if name in settings:
            raise UsageError(
                f"setting {name!r} was given twice, as {settings[name]} and as {value}; give it "
                f"once, and another sweep for the other value"
            )
        settings[name] = value
    return settings


def _check_output(path: Path, store: Path) -> None:
    """Refuse now what could only be found out after hours of training."""
    if path.resolve() == store.resolve():
        raise UsageError(f"--report {path} is the store; give another file for the report")
    if path.is_dir():
        raise UsageError(f"--report {path} is a folder; give a file, such as {path}/report.html")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"--report {path}: there is no folder {folder}; make it, or give another")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--report {path}: {folder} cannot be written to; give another folder")


@contextlib.contextmanager
def _at_work() -> Iterator[ProgressBar | ProgressLines]:
    """Context: a command that trains; gives what is told how it gets on.

    What the user's own code prints is no result, here or in a child: a script reads those.
    """
    from batchlab.cli.progress import progress_on_stderr
    from batchlab.processes.fork_server import start_early

    with _stdout_to_stderr(), progress_on_stderr() as progress:
        start_early()  # it imports torch while the lines inside do
        yield progress


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Context: what is written to stdout, by this process and its children, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _reserved_s(budget_s: float, report: Path | None) -> float:
    """What of a budget is gone already, and what showing the results will take."""
    to_show_s = _TEXT_RESERVE_S if report is None else min(_REPORT_RESERVE_S, 0.5 * budget_s)
    return time.monotonic() - _STARTED_S + to_show_s


def _write_report(study: Study, path: Path) -> None:
    from batchlab.report import write_html

    write_html(study, path)


def _write_advice_report(advised: Advised, path: Path) -> None:
    from batchlab.report.advice.html import write_advice_html

    write_advice_html(advised.advice, advised.study, advised.profile, path)


def _show_advice(
    advised: Advised, store: Path, report: Path | None, *, as_json: bool, explain: bool = False
) -> None:
    if as_json:
        from batchlab.report.advice.document import advice_document

        print(advice_document(advised.advice, advised.study, store=store, report=report))
        return
    from batchlab.report.advice.text import advice_text, explain_text

    print(advice_text(advised.advice, workload=advised.study.workload, report=report), end="")
    if explain:
        print(f"\n{explain_text(advised.advice)}", end="")


def _show(study: Study, store: Path, report: Path | None, *, as_json: bool) -> None:
    if as_json:
        from batchlab.report.sweep.document import sweep_document

        print(sweep_document(study, store=store, report=report))
        return
    from batchlab.report import text_report

    print(text_report(study), end="")
    print(f"\nThe store: {store}")
    if report is not None:
        print(f"The report: {report}")


@batchlab.command()
@click.argument("workload", default="mnist-mlp")
@click.option(
    "--batch-sizes",
    type=BATCH_SIZES,
    help="Examples per optimizer step; full is the whole training set. Default: 1, 2, 4, ... full, "
    "and the workload's own.",
)
@click.option(
    "--set", "settings", type=SETTING, multiple=True, help="A setting of the workload. Repeatable."
)
@click.option(
    "--memory-limit", type=BYTES, help="Judge as if there were no more. Default: what there is."
)
@click.option(
    "--budget",
    type=SECONDS,
    default="60s",
    show_default=True,
    help="Ceiling on the time of the whole command.",
)
@click.option(
    "--store", type=click.Path(path_type=Path), help="Keep the step times here, for sweeps."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
def profile(
    workload: str,
    batch_sizes: tuple[int | Literal["full"], ...] | None,
    settings: tuple[tuple[str, str], ...],
    memory_limit: int | None,
    budget: float,
    store: Path | None,
    as_json: bool,
    device: str,
) -> None:
    """Measure step time and memory by batch size, and find the largest that fits.

    WORKLOAD is a built-in name (see `batchlab workloads`) or path/file.py:name.

    Every batch size is tried in a process of its own: one that runs out of memory, crashes or hangs
    ends that process and nothing else. What --json prints can be read on another machine.
    """
    with _at_work() as progress:
        from batchlab.profiling.profiling import profile as run_profile
        from batchlab.report.profile.text import profile_text  # now, while there is time

        made = run_profile(
            workload,
            batch_sizes=batch_sizes,
            settings=_settings(settings),
            device=device,
            memory_limit_bytes=memory_limit,
            budget_s=budget,
            reserved_s=_reserved_s(budget, None) + _PROBE_END_S,
            store=store,
            listener=progress,
        )
    if as_json:
        print(made.to_json())
        return
    print(profile_text(made), end="")


@batchlab.command()
@click.argument("points", type=click.Path(path_type=Path))
@click.option(
    "--group-by",
    multiple=True,
    metavar="COLUMN",
    help="One law for each of its values. Repeatable.",
)
@click.option(
    "--across",
    metavar="COLUMN",
    help="Fit B_crit and the batch size at the overhead as powers of this column of numbers.",
)
@click.option(
    "--overhead",
    type=float,
    default=0.2,
    show_default=True,
    help="Share of samples to target above the reference's that a larger batch may cost.",
)
@click.option(
    "--reference-batch-size",
    type=click.IntRange(min=1),
    help="What the overhead is counted from. Default: the smallest measured batch size.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def fit(
    points: Path,
    group_by: tuple[str, ...],
    across: str | None,
    overhead: float,
    reference_batch_size: int | None,
    as_json: bool,
) -> None:
    """Fit the steps-to-target law S(B) = S_min (1 + B_crit/B) to POINTS, a CSV file.

    Its columns: batch_size, and steps_to_target or samples_to_target. Optional: seed;
    learning_rate (the best of each batch size in the mean over seeds counts); step_s; after_steps
    (a run that never reached its target has no steps and says here how many it went); grouping
    columns. The fit is least squares on log steps.
    """
    from batchlab.fitting.fit import fit as fit_points

    found = fit_points(
        points,
        group_by=group_by,
        across=across,
        overhead_fraction=overhead,
        reference_batch_size=reference_batch_size,
    )
    if as_json:
        print(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        return
    from batchlab.report.fit.text import fit_text

    print(fit_text(found), end="")


@batchlab.command()
@click.option("--store", type=click.Path(path_type=Path), default=_DEFAULT_STORE, show_default=True)
@click.option("--study", "study_id", help="Which study, by the start of its id. Default: the last.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["html", "text", "csv", "svg", "png", "json"]),
    default="html",
    show_default=True,
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    help="The file to write; csv, svg and png make several beside it. Default: batchlab-report.*",
)
def report(store: Path, study_id: str | None, output_format: str, report: Path | None) -> None:
    """Show a study of the store as a page, text, tables or images."""
    from batchlab.commands.advised import advice_of
    from batchlab.store.store import Store

    with Store.existing(store) as opened:
        study = opened.study(_study_id(opened.studies(), study_id, store))
        advised = advice_of(opened, study)
    path = report or Path(f"batchlab-report.{output_format}")
    if output_format not in ("text", "json"):
        _check_output(path, store)
    if advised is not None and output_format in ("text", "json"):
        _show_advice(advised, store, None, as_json=output_format == "json")
    elif advised is not None and output_format == "html":
        _write_advice_report(advised, path)
        print(path)
    elif output_format == "text":
        from batchlab.report import text_report

        print(text_report(study), end="")
    elif output_format == "json":
        from batchlab.report.sweep.document import sweep_document

        print(sweep_document(study, store=store, report=None))
    elif output_format == "html":
        _write_report(study, path)
        print(path)
    elif output_format == "csv":
        from batchlab.report import write_csv

        print("\n".join(map(str, write_csv(study, path))))
    else:
        from batchlab.report import write_images

        image_format: Literal["svg", "png"] = "svg" if output_format == "svg" else "png"
        print("\n".join(map(str, write_images(study, path, image_format))))


def _study_id(
    studies: tuple[tuple[str, str, str], ...], wanted: str | None, store: Path
) -> str | None:
    if wanted is None:
        return None
    found = [study_id for study_id, _, _ in studies if study_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    listing = ", ".join(f"{name} ({made})" for name, made, _ in studies) or "none"
    what = "no study" if not found else f"{len(found)} studies"
    raise UsageError(f"{store} has {what} whose id begins with {wanted!r}; it has {listing}")


@batchlab.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
def workloads(as_json: bool) -> None:
    """List the built-in workloads with their settings and defaults."""
    from batchlab.records.json_document import SCHEMA
    from batchlab.workload.loading import describe_workloads

    described = describe_workloads()
    if as_json:
        document = {"schema": SCHEMA, "command": "workloads", "workloads": described}
        print(json.dumps(document, indent=2))
        return
    for entry in described:
        print(f"{entry['name']}\n    {entry['description']}")
        for name, value in entry["settings"].items():
            print(f"    --set {name}={_as_text(value)}")
        print()
    print("Your own: path/file.py:name, a batchlab.Workload or a function that returns one.")


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@batchlab.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    For bash: batchlab completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    print(made(batchlab, {}, "batchlab", "_BATCHLAB_COMPLETE").source())


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(_exit_code(sys.argv[1:] if arguments is None else arguments))


def _exit_code(arguments: list[str]) -> int:
    command_line = shlex.join(["batchlab", *arguments])
    try:
        code = batchlab.main(
            arguments or ["--help"], prog_name="batchlab", standalone_mode=False, obj=command_line
        )
        sys.stdout.flush()
    except click.ClickException as error:
        return _refused(f"{_one_line(error.format_message())} ({_help_of(error)})", 2)
    except UsageError as error:
        return _refused(_one_line(str(error)), 2)
    except BatchlabError as error:
        return _refused(_one_line(str(error)), 1)
    except (KeyboardInterrupt, click.Abort):
        # A profile is measured in one go: nothing of it is kept.
        kept = "" if arguments[:1] == ["profile"] else "; everything so far is stored"
        print(f"interrupted{kept}. To go on: {command_line}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `batchlab ... | head`: what is left in the buffer has no reader
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return code if isinstance(code, int) else 0


def _refused(line: str, code: int) -> int:
    print(f"error: {line}", file=sys.stderr)
    return code


def _one_line(message: str) -> str:
    return next((line for line in message.strip().splitlines() if line), "no reason was given")


def _help_of(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"see {context.command_path if context else 'batchlab'} --help"


if __name__ == "__main__":
    main()
