"""`batchlab fit`: the steps-to-target law of a CSV file of points."""

from __future__ import annotations

import json
from pathlib import Path

import click

from batchlab.cli import options
from batchlab.cli.output import as_wide_as_stdout


@click.command()
@click.argument("points", type=click.Path(path_type=Path))
@click.option(
    "--group-by",
    multiple=True,
    metavar="COLUMN",
    help="Fit one law for each value of this column. Repeatable.",
)
@click.option(
    "--across",
    metavar="COLUMN",
    help="Fit B_crit and the batch size at the overhead as powers of this column of numbers.",
)
@click.option(
    "--overhead",
    type=options.number("0.2 for 20 %"),
    default=0.2,
    show_default=True,
    help="Extra samples to the target that a larger batch may cost, as a share of the reference's.",
)
@click.option(
    "--reference-batch-size",
    type=options.whole_number(1),
    help="What the overhead is counted from. Default: the smallest measured batch size.",
)
@options.as_json
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
    from batchlab.report.fit import fit_sections
    from batchlab.report.table import sections_text

    with as_wide_as_stdout():
        print(sections_text(fit_sections(found)), end="")
