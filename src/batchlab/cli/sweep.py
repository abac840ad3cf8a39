"""`batchlab sweep`: every batch size, learning rate and seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchlab.app.output_file import check_output_file
from batchlab.cli import options
from batchlab.cli.invocation import Invocation
from batchlab.cli.output import at_work, print_result
from batchlab.cli.own_command import with_own_command
from batchlab.errors import BatchlabError
from batchlab.plans.scaling import SCALING_RULES
from batchlab.words.reasons import reason_text

if TYPE_CHECKING:
    from batchlab.records.study import Study


@click.command()
@options.workload
@click.option(
    "--batch-sizes",
    type=options.BATCH_SIZES,
    help="Batch sizes to compare; full is the whole training set. Default: full, and those of 64, "
    "256 and 1024 that are smaller.",
)
@click.option(
    "--learning-rates",
    type=options.LEARNING_RATES,
    help="Train each batch size at each of these. Default: the workload's own rate.",
)
@click.option(
    "--seeds",
    type=options.whole_number(1),
    default=1,
    show_default=True,
    help="Train each combination this often, each time with other random numbers.",
)
@click.option(
    "--epochs",
    type=options.whole_number(1),
    help="How often each training goes through the training data. Default: the workload's own "
    "number, or 10; no limit where --steps is given. A script without {epochs} trains as long as "
    "it does by itself.",
)
@click.option(
    "--steps",
    type=options.whole_number(1),
    help="How many steps (updates of the model) each training takes. With --epochs too, whichever "
    "ends first.",
)
@click.option(
    "--target",
    type=options.TARGET,
    help="End each training once it is this good on validation data, such as accuracy=0.97.",
)
@options.margin
@options.settings
@click.option(
    "--scaling-rule",
    type=click.Choice(list(SCALING_RULES)),
    default="none",
    show_default=True,
    help="How to change the learning rates with the batch size. Those given are for the workload's "
    "own batch size. All but none also move AdamW's weight decay and beta 2; sde-adam both betas "
    "and eps.",
)
@options.sampling
@options.drop_last
@click.option(
    "--micro-batch-size",
    type=options.whole_number(1),
    help="Cut each batch into pieces of this many examples, to save memory. Default: the whole "
    "batch.",
)
@click.option(
    "--measure",
    multiple=True,
    metavar="NAME",
    help="Also measure this at the start and at the end of each epoch: noise_scale, "
    "gradient_variance or top_eigenvalue; or at the start and at the end: sharpness, "
    "sharpness_half_box, sharpness_subspace or sharpness_subspace_half_box. Give it again for "
    "another.",
)
@click.option(
    "--plan",
    "plans",
    type=options.PLANS,
    help="Compare some of small,large,grow,decay, made of two --batch-sizes: small and large "
    "throughout, growing from one to the other, and small with its rate cut instead.",
)
@click.option(
    "--budget",
    type=options.BUDGET,
    help="Stop after this much time at most. The same command goes on later. Default: no limit.",
)
@options.store
@click.option("--report", type=click.Path(path_type=Path), help="Write the report to this file.")
@options.as_json
@options.quiet
@options.device
@options.trainer
@options.on_cluster
@with_own_command
@click.pass_obj
def sweep(
    invocation: Invocation, /, report: Path | None, as_json: bool, quiet: bool, **given: Any
) -> None:
    """Train WORKLOAD at every batch size, learning rate and seed.

    WORKLOAD is a built-in name (see `batchlab workloads`), path/file.py:name, or a batchlab.toml.
    Or give your own training command after --, with {batch_size} where it takes one.

    Nothing that the store holds is trained again. After Ctrl-C or a crash, give the same command to
    go on. Ask for more epochs, and only the missing ones are trained.
    """
    store = given["store"]
    if report is not None:
        check_output_file(report, store=store)
    with at_work("sweep", given["workload"], quiet=quiet, has_page=report is not None) as progress:
        from batchlab.app.report import json_document, write_page
        from batchlab.app.sweep import sweep as run_sweep

        study = run_sweep(
            **given,
            command=invocation.command_line,
            reserved_s=invocation.reserved_s(given["budget"], report),
            listener=progress,
        )
        if report is not None:
            progress.phase("writing the report")
            write_page(study, report)
    if as_json:
        print(json_document(study, store=store, page=report))
    else:
        _print_text(study, store, report)
    _refuse_errors(study)


def _print_text(study: Study, store: Path, report: Path | None) -> None:
    from batchlab.report.sweep_page import sweep_headline, text_report

    where = f"\nThe store: {store}\n"
    if report is not None:
        where += f"The report: {report}\n"
    print_result(lambda: text_report(study) + where, headline=lambda: sweep_headline(study))


def _refuse_errors(study: Study) -> None:
    """Raise an error if trials ended in one; other bad ends are results."""
    failed = [record for record in study.records if record.status == "error"]
    if failed:
        reason = reason_text(failed[0].reason).rstrip(".")
        raise BatchlabError(
            f"{len(failed)} of {len(study.records)} trials ended in an error, first {reason}; mend "
            f"that, then the same command goes on with them"
        )
