"""The commands that measure: advise, sweep, profile, noise and check."""

from __future__ import annotations

import gc
import sys
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchlab.app.output_file import check_output_file
from batchlab.cli.options import CLUSTER, Invocation, takes, with_cluster, workload
from batchlab.cli.output import print_answer, print_study, stdout_to_stderr
from batchlab.cli.own_command import OWN_COMMAND, with_own_command
from batchlab.errors import BatchlabError
from batchlab.words.reasons import reason_text

if TYPE_CHECKING:
    from batchlab.records.study import Study

_NOT_MET = 3  # The exit code if the answer is less sure than --require demands.
# For each value of --require: the least probability that the answer must have.
_REQUIRED = {"likely": 0.8, "sure": 0.95}


def _answered(does: str, options: dict[str, Any], *, report: Path | None = None) -> Any:
    """Run this command's function and return the answer; if `report` is a path, write a page.

    `does` names the function, as MODULE:NAME in `batchlab.app`. What the user's code prints, here
    or in a child process, goes to stderr, because stdout must contain only the result.
    """
    from batchlab.cli.progress import progress_on_stderr
    from batchlab.processes.server import start_early

    context = click.get_current_context()
    invocation: Invocation = context.obj
    name, workload, quiet = str(context.info_name), options["workload"], options.pop("quiet")
    if report is not None:
        check_output_file(report, store=options.get("store"))
    with stdout_to_stderr(), ExitStack() as stack:
        if isinstance(workload, str):
            start_early()  # start the server of child processes, which then imports torch
        progress = stack.enter_context(progress_on_stderr(quiet=quiet))
        progress.begins(command=name, subject=getattr(workload, "name", workload), stages=())
        if report is not None:
            from batchlab.report.chart import prepare

            prepare()
        gc.disable()  # because collecting while torch is imported frees nothing and takes 0.3 s
        try:
            from batchlab.app.question import asked

            module, _, function = does.partition(":")
            answer_to = getattr(import_module(f"batchlab.app.{module}"), function)
        finally:
            gc.enable()
        question = asked(
            name,
            **options,
            command=invocation.command_line,
            reserved_s=invocation.reserved_s(options["budget"], report),
            listener=progress,
        )
        answer = answer_to(question)
        if report is not None:
            from batchlab.app.report import write_page

            progress.phase("writing the report")
            write_page(answer, report)  # before the answer is printed, because printing may fail
    return answer


@click.command()
@workload
@takes(
    "objective target margin budget batch_sizes epochs at_most_epochs "
    "memory_limit_bytes profile settings sampling drop_last device trainer "
    f"{CLUSTER} store report as_json quiet explain require {OWN_COMMAND}"
)
def advise(report: Path, as_json: bool, explain: bool, require: str | None, **options: Any) -> None:
    """Tell which batch size and rate to train WORKLOAD with.

    WORKLOAD is a built-in name (see `batchlab workloads`), path/file.py:name, or a batchlab.toml.
    Or give your own training command after --, with {batch_size} in place of its batch size.

    The command times the batch sizes, tunes the learning rate of the promising ones, and checks the
    answer with other random seeds. After Ctrl-C or a crash, the same command continues
    the study. After the answer, the same command shows the answer again at once.
    """
    options = with_own_command(with_cluster(options))
    answer = _answered("advise:advised", options, report=report)
    print_study(answer, store=options["store"], page=report, as_json=as_json, explains=explain)
    if require is not None and (answer.advice.chance or 0.0) < _REQUIRED[require]:
        print(f"not met: --require {require}", file=sys.stderr)
        click.get_current_context().exit(_NOT_MET)


@click.command()
@workload
@takes(
    "batch_sizes learning_rates seeds epochs steps target margin settings scaling_rule sampling "
    "drop_last micro_batch_size measure plans budget store report as_json quiet device trainer "
    f"{CLUSTER} {OWN_COMMAND}"
)
def sweep(report: Path | None, as_json: bool, **options: Any) -> None:
    """Train WORKLOAD at every batch size, learning rate and seed.

    WORKLOAD is a built-in name (see `batchlab workloads`), path/file.py:name, or a batchlab.toml.
    Or give your own training command after --, with {batch_size} in place of its batch size.

    Trainings in the store are not repeated. After Ctrl-C or a crash, the same command continues the
    sweep. With more epochs, only the missing epochs are trained.
    """
    options = with_own_command(with_cluster(options))
    study = _answered("sweep:swept", options, report=report)
    print_study(study, store=options["store"], page=report, as_json=as_json)
    if not as_json:
        print(f"\nThe store: {options['store']}")
        if report is not None:
            print(f"The report: {report}")
    _refuse_errors(study)


def _refuse_errors(study: Study) -> None:
    """Raise an error if trials failed with an error; divergence or out of memory are results."""
    failed = [record for record in study.records if record.status == "error"]
    if failed:
        reason = reason_text(failed[0].reason).rstrip(".")
        raise BatchlabError(
            f"{len(failed)} of {len(study.records)} trials ended in an error, first {reason}; "
            "correct that; the same command then trains them again"
        )


@click.command()
@workload
@takes(f"batch_sizes settings memory_limit_bytes budget as_json quiet device {OWN_COMMAND}")
def profile(as_json: bool, **options: Any) -> None:
    """Measure the time and memory of each batch size.

    WORKLOAD is a built-in name (see `batchlab workloads`), path/file.py:name, or a batchlab.toml.
    Or give your own training command after --, with {batch_size} in place of its batch size.

    The command finds the largest batch size that fits into memory. Each size runs in its own
    process, so if one runs out of memory, crashes or hangs, the others still run. Save the output
    of --json to a file to use the profile on another machine: batchlab advise --profile FILE.
    """
    options = with_own_command(options)
    measured = _answered("profile:profiled", options)
    from batchlab.report.short_reports import profile_section

    print_answer(measured.to_json(), profile_section(measured), as_json=as_json)


@click.command()
@workload
@takes("steps settings memory_limit_bytes budget as_json quiet device")
def noise(as_json: bool, **options: Any) -> None:
    """Measure the gradient noise scale along a training.

    WORKLOAD is a built-in name (see `batchlab workloads`) or path/file.py:name.

    The workload is trained as it is. At its initial weights, and at steps that double from point to
    point, gradients of training examples tell how large a batch must be for its gradient to be more
    than noise.
    """
    measured = _answered("noise:noise_along", options)
    from batchlab.report.short_reports import noise_section
    from batchlab.words.document import document_text

    print_answer(document_text(measured), noise_section(measured), as_json=as_json)


@click.command()
@workload
@takes("settings budget as_json quiet device")
def check(as_json: bool, **options: Any) -> None:
    """Check that the gradient stays the same under accumulation.

    WORKLOAD is a built-in name (see `batchlab workloads`) or path/file.py:name.

    The gradient of a batch is compared with that of its micro-batches put together. Where they
    differ, the causes are named with their places.
    """
    accumulation = _answered("check:checked", options)
    from batchlab.report.short_reports import check_section
    from batchlab.words.document import document_text

    print_answer(document_text(accumulation), check_section(accumulation), as_json=as_json)
