"""`batchlab sweep`: every batch size, learning rate and seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from batchlab.cli.invocation import Invocation
from batchlab.cli.options import (
    device_option,
    drop_last_option,
    json_option,
    sampling_option,
    settings_option,
    store_option,
    workload_argument,
)
from batchlab.cli.output import at_work
from batchlab.cli.values import BATCH_SIZES, LEARNING_RATES, SECONDS, TARGET
from batchlab.errors import BatchlabError
from batchlab.planning.scaling import scaling_rules
from batchlab.report.parts.output_file import check_output_file
from batchlab.words.reasons import reason_text

if TYPE_CHECKING:
    from batchlab.records.study import Study


@click.command()
@workload_argument
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
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Default: the workload's own, else 10, unless --steps is given.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps of every trial.")
@click.option("--target", type=TARGET, help="Validation level at which a trial ends.")
@settings_option
@click.option(
    "--scaling-rule",
    type=click.Choice(list(scaling_rules())),
    default="none",
    show_default=True,
    help="How the rates follow the batch size from the workload's reference batch size; sde-adam "
    "moves Adam's betas and eps as well.",
)
@sampling_option
@drop_last_option
@click.option(
    "--micro-batch-size", type=click.IntRange(min=1), help="Examples per forward and backward pass."
)
@click.option(
    "--measure",
    multiple=True,
    metavar="NAME",
    help="Measure at the start and where an epoch ends, too: noise_scale, gradient_variance, "
    "sharpness or top_eigenvalue. Repeatable.",
)
@click.option("--budget", type=SECONDS, help="Ceiling on the time of the whole command.")
@store_option
@click.option("--report", type=click.Path(path_type=Path), help="Write the report to this file.")
@json_option
@device_option
@click.pass_obj
def sweep(
    invocation: Invocation,
    workload: str,
    batch_sizes: tuple[int | Literal["full"], ...] | None,
    learning_rates: tuple[float, ...] | None,
    seeds: int,
    epochs: int | None,
    steps: int | None,
    target: tuple[str, float] | None,
    settings: dict[str, str],
    scaling_rule: str,
    sampling: Literal["reshuffle", "replacement"],
    drop_last: bool,
    micro_batch_size: int | None,
    measure: tuple[str, ...],
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
        check_output_file(report, store=store)
    with at_work() as progress:
        from batchlab.commands.report import json_document, write_page
        from batchlab.commands.sweep import sweep as run_sweep

        study = run_sweep(
            workload,
            batch_sizes=batch_sizes,
            learning_rates=learning_rates,
            seeds=seeds,
            epochs=epochs,
            steps=steps,
            target=target,
            settings=settings,
            scaling_rule=scaling_rule,
            sampling=sampling,
            drop_last=drop_last,
            micro_batch_size=micro_batch_size,
            device=device,
            measure=measure,
            budget_s=budget,
            reserved_s=0.0 if budget is None else invocation.reserved_s(budget, report),
            store=store,
            command=invocation.command_line,
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
    from batchlab.report import text_report

    print(text_report(study), end="")
    print(f"\nThe store: {store}")
    if report is not None:
        print(f"The report: {report}")


def _refuse_errors(study: Study) -> None:
    """End with an error if trials did: other bad ends are results, these were kept from having one.

    Raises:
        BatchlabError: naming the first reason.
    """
    failed = [record for record in study.records if record.status == "error"]
    if failed:
        reason = reason_text(failed[0].reason).rstrip(".")
        raise BatchlabError(
            f"{len(failed)} of {len(study.records)} trials ended in an error, first {reason}; mend "
            f"that, then the same command goes on with them"
        )
