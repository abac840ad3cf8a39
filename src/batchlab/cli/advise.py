"""`batchlab advise`: which batch size to use, and what to set with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from batchlab.app.output_file import check_output_file
from batchlab.cli import options
from batchlab.cli.invocation import Invocation
from batchlab.cli.output import at_work, print_result
from batchlab.cli.own_command import with_own_command

_DEFAULT_REPORT = "batchlab-report.html"
_NOT_MET = 3  # the exit code
# The least chance that each word stands for.
_REQUIRED = {"likely": 0.8, "sure": 0.95}


@click.command()
@options.workload
@click.option(
    "--objective",
    type=click.Choice(["time", "samples", "quality"]),
    default="time",
    show_default=True,
    help="What is best. time: the least time to the target. samples: the largest batch size that "
    "needs hardly more examples to get there. quality: the best validation metric after --epochs "
    "or --train-time.",
)
@click.option(
    "--target",
    type=options.TARGET,
    help="How good a model must be on validation data to count as trained, such as accuracy=0.97. "
    "Default: the workload's own target, or what your training ends with.",
)
@options.margin
@click.option(
    "--budget",
    type=options.BUDGET,
    help="Answer within this much time. Default: 3m.",
)
@click.option(
    "--trainings",
    type=options.number("4"),
    help="The budget as a number of trainings as you do them now, such as 4. For models that train "
    "for hours.",
)
@click.option(
    "--batch-sizes",
    type=options.BATCH_SIZES,
    help="Batch sizes to compare with the workload's own; full is the whole training set. Default: "
    "powers of two from 8; of a command its own one doubled and halved.",
)
@click.option(
    "--epochs",
    type=options.whole_number(1),
    help="How many epochs a training of yours takes. Default: the workload's own number, or what "
    "the budget allows; 10 for quality, or with a schedule.",
)
@click.option(
    "--at-most-epochs",
    type=options.whole_number(1),
    help="For the least time another batch size may train for more epochs than yours, if it takes "
    "no longer: this many at most. Default: any number.",
)
@click.option(
    "--tune",
    type=click.Choice(["weight_decay"]),
    help="Also try a quarter and four times the optimizer's weight decay. Takes a budget of 30 "
    "trainings or more.",
)
@click.option(
    "--train-time",
    "train_s",
    type=options.TRAIN_TIME,
    help="With --objective quality: compare after this much training time instead of --epochs.",
)
@options.memory_limit
@click.option(
    "--profile",
    type=click.Path(path_type=Path),
    help="Answer for another machine: the file that batchlab profile --json made there.",
)
@options.settings
@options.sampling
@options.drop_last
@options.device
@options.trainer
@options.on_cluster
@options.store
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=_DEFAULT_REPORT,
    show_default=True,
    help="Write the report to this file.",
)
@options.as_json
@options.quiet
@click.option("--explain", is_flag=True, help="Also print what was done and why, step by step.")
@click.option(
    "--require",
    type=click.Choice(list(_REQUIRED)),
    help="Exit with code 3 unless another configuration than yours is named, and the answer is as "
    "sure: likely (8 in 10) or sure (19 in 20) to be no slower and to end no worse.",
)
@with_own_command
@click.pass_obj
def advise(
    invocation: Invocation,
    /,
    report: Path,
    as_json: bool,
    quiet: bool,
    explain: bool,
    require: str | None,
    **given: Any,
) -> None:
    """Tell which batch size and rate to train WORKLOAD with.

    WORKLOAD is a built-in name (see `batchlab workloads`), path/file.py:name, or a batchlab.toml.
    Or give your own training command after --, with {batch_size} where it takes one.

    It times the batch sizes, finds the best learning rate of those that may win, and checks the
    answer with new random numbers. After Ctrl-C or a crash, give the same command to go on. Given
    again after the answer, it shows the same answer at once.
    """
    check_output_file(report, store=given["store"])
    with at_work("advise", given["workload"], quiet=quiet, has_page=True) as progress:
        from batchlab.app.advise import advised
        from batchlab.app.question import asked
        from batchlab.app.report import json_document, write_page

        question = asked(
            "advise",
            **given,
            command=invocation.command_line,
            reserved_s=invocation.reserved_s(given["budget"], report),
            listener=progress,
        )
        if (seconds := question.budget.seconds) is not None:
            # The answer counts it in the same way, without the start of this process.
            progress.budget(spent_s=question.budget.elapsed_s(), budget_s=seconds)
        made = advised(question)
        progress.phase("writing the report")
        write_page(made, report)  # before anything else can go wrong
    if as_json:
        print(json_document(made, store=given["store"], page=report))
    else:
        from batchlab.report.advice_page import advice_headline, advice_text, explain_text

        def told() -> str:
            said = advice_text(made.advice, study=made.study, report=report)
            return f"{said}\n{explain_text(made.advice, study=made.study)}" if explain else said

        print_result(told, headline=lambda: advice_headline(made.advice, study=made.study))
    if require is not None and (made.advice.chance or 0.0) < _REQUIRED[require]:
        print(f"not met: --require {require}", file=sys.stderr)
        click.get_current_context().exit(_NOT_MET)
