"""`batchlab advise`: which batch size to use, and what to set with it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from batchlab.cli.invocation import Invocation
from batchlab.cli.options import (
    device_option,
    drop_last_option,
    json_option,
    memory_limit_option,
    sampling_option,
    settings_option,
    store_option,
    workload_argument,
)
from batchlab.cli.output import at_work
from batchlab.cli.values import BATCH_SIZES, SECONDS, TARGET
from batchlab.report.parts.output_file import check_output_file

_DEFAULT_REPORT = "batchlab-report.html"


@click.command()
@workload_argument
@click.option(
    "--objective",
    type=click.Choice(["time", "samples", "quality"]),
    default="time",
    show_default=True,
    help="Least time to the target, the largest batch that needs hardly more examples to it, or "
    "the best validation metric after --epochs or --train-time.",
)
@click.option(
    "--target",
    type=TARGET,
    help="Validation level that counts as trained. Default: the workload's, or what it ends with.",
)
@click.option(
    "--budget",
    type=SECONDS,
    help="Ceiling on the time of the whole command. Default: 180s.",
)
@click.option(
    "--trainings",
    type=float,
    help="Budget as a number of your own trainings instead of a time, such as 4. For models that "
    "train for hours.",
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
@memory_limit_option
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="Step times and memory of another machine, from batchlab profile --json there.",
)
@settings_option
@sampling_option
@drop_last_option
@device_option
@store_option
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=_DEFAULT_REPORT,
    show_default=True,
    help="Write the report to this file.",
)
@json_option
@click.option("--explain", is_flag=True, help="Print too what was done and why, step by step.")
@click.pass_obj
def advise(
    invocation: Invocation,
    workload: str,
    objective: Literal["time", "samples", "quality"],
    target: tuple[str, float] | None,
    budget: float | None,
    trainings: float | None,
    batch_sizes: tuple[int | Literal["full"], ...] | None,
    epochs: int | None,
    train_time: float | None,
    memory_limit: int | None,
    profile: Path | None,
    settings: dict[str, str],
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
    check_output_file(report, store=store)
    with at_work() as progress:
        from batchlab.commands.advice_call import AdviceCall
        from batchlab.commands.advise import advise_with_evidence
        from batchlab.commands.report import json_document, write_page

        call = AdviceCall(
            objective=objective,
            target=target,
            budget_s=budget,
            trainings=trainings,
            batch_sizes=batch_sizes,
            epochs=epochs,
            train_s=train_time,
            memory_limit_bytes=memory_limit,
            profile=profile,
            settings=settings,
            sampling=sampling,
            drop_last=drop_last,
            device=device,
            store=store,
            command=invocation.command_line,
            listener=progress,
            reserved_s=invocation.reserved_s(budget, report),
        )
        advised = advise_with_evidence(workload, call)
        progress.phase("writing the report")
        write_page(advised, report)
    if as_json:
        print(json_document(advised, store=store, page=report))
        return
    from batchlab.report.advice.text import advice_text, explain_text

    print(advice_text(advised.advice, study=advised.study, report=report), end="")
    if explain:
        print(f"\n{explain_text(advised.advice)}", end="")
