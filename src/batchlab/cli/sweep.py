"""`batchlab sweep`: every batch size, learning rate and seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchlab.app.output_file import check_output_file
from batchlab.cli.invocation import Invocation
from batchlab.cli.options import CLUSTER, takes, with_cluster, workload
from batchlab.cli.output import as_wide_as_stdout, at_work
from batchlab.cli.own_command import OWN_COMMAND, with_own_command
from batchlab.errors import BatchlabError
from batchlab.words.reasons import reason_text

if TYPE_CHECKING:
    from batchlab.records.study import Study


@click.command()
@workload
@takes(
    "batch_sizes learning_rates seeds epochs steps target margin settings scaling_rule sampling "
    "drop_last micro_batch_size measure plans budget store report as_json quiet device trainer "
    f"{CLUSTER} {OWN_COMMAND}"
)
@click.pass_obj
def sweep(
    invocation: Invocation, /, report: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Train WORKLOAD at every batch size, learning rate and seed.

    WORKLOAD is a built-in name (see `batchlab workloads`), path/file.py:name, or a batchlab.toml.
    Or give your own training command after --, with {batch_size} where it takes one.

    Nothing that the store holds is trained again. After Ctrl-C or a crash, give the same command to
    go on. Ask for more epochs, and only the missing ones are trained.
    """
    options = with_own_command(with_cluster(options))
    store = options["store"]
    if report is not None:
        check_output_file(report, store=store)
    with at_work(
        "sweep", options["workload"], quiet=quiet, has_page=report is not None
    ) as progress:
        from batchlab.app.report import json_document, text_of, write_page
        from batchlab.app.sweep import sweep as run_sweep

        study = run_sweep(
            **options,
            command=invocation.command_line,
            reserved_s=invocation.reserved_s(options["budget"], report),
            listener=progress,
        )
        if report is not None:
            progress.phase("writing the report")
            write_page(study, report)
    if as_json:
        print(json_document(study, store=store, page=report))
    else:
        where = f"\nThe store: {store}\n"
        if report is not None:
            where += f"The report: {report}\n"
        with as_wide_as_stdout():
            print(text_of(study) + where, end="")
    _refuse_errors(study)


def _refuse_errors(study: Study) -> None:
    """Raise an error if trials ended in one; other bad ends are results."""
    failed = [record for record in study.records if record.status == "error"]
    if failed:
        reason = reason_text(failed[0].reason).rstrip(".")
        raise BatchlabError(
            f"{len(failed)} of {len(study.records)} trials ended in an error, first {reason}; mend "
            f"that, then the same command goes on with them"
        )
