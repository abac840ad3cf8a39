"""`batchlab advise`: which batch size to use, and what to set with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from batchlab.app.output_file import check_output_file
from batchlab.cli.invocation import Invocation
from batchlab.cli.options import CLUSTER, takes, with_cluster, workload
from batchlab.cli.output import as_wide_as_stdout, at_work
from batchlab.cli.own_command import OWN_COMMAND, with_own_command

_NOT_MET = 3  # the exit code
# The least probability for each word of --require.
_REQUIRED = {"likely": 0.8, "sure": 0.95}


@click.command()
@workload
@takes(
    "objective target margin budget trainings batch_sizes epochs at_most_epochs "
    "memory_limit_bytes profile settings sampling drop_last device trainer "
    f"{CLUSTER} store report as_json quiet explain require {OWN_COMMAND}"
)
@click.pass_obj
def advise(
    invocation: Invocation,
    /,
    report: Path,
    as_json: bool,
    quiet: bool,
    explain: bool,
    require: str | None,
    **options: Any,
) -> None:
    """Tell which batch size and rate to train WORKLOAD with.

    WORKLOAD is a built-in name (see `batchlab workloads`), path/file.py:name, or a batchlab.toml.
    Or give your own training command after --, with {batch_size} where it takes one.

    It times the batch sizes, finds the best learning rate of those that may win, and checks the
    answer with new random numbers. After Ctrl-C or a crash, give the same command to go on. Given
    again after the answer, it shows the same answer at once.
    """
    options = with_own_command(with_cluster(options))
    check_output_file(report, store=options["store"])
    with at_work("advise", options["workload"], quiet=quiet, has_page=True) as progress:
        from batchlab.app.advise import advised
        from batchlab.app.question import asked
        from batchlab.app.report import json_document, text_of, write_page

        question = asked(
            "advise",
            **options,
            command=invocation.command_line,
            reserved_s=invocation.reserved_s(options["budget"], report),
            listener=progress,
        )
        if (seconds := question.budget.seconds) is not None:
            # Count from when the question was asked, as the answer does, not from process start.
            progress.budget(spent_s=question.budget.elapsed_s(), budget_s=seconds)
        answer = advised(question)
        progress.phase("writing the report")
        write_page(answer, report)  # first, so that a later error does not lose the page
    if as_json:
        print(json_document(answer, store=options["store"], page=report))
    else:
        with as_wide_as_stdout():
            print(text_of(answer, page=report, explains=explain), end="")
    if require is not None and (answer.advice.chance or 0.0) < _REQUIRED[require]:
        print(f"not met: --require {require}", file=sys.stderr)
        click.get_current_context().exit(_NOT_MET)
