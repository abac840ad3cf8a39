"""`batchlab fit`: the law of steps to target, fitted to the points of a CSV file."""

from __future__ import annotations

from pathlib import Path

import click

from batchlab.cli.options import takes
from batchlab.cli.output import print_sections


@click.command()
@click.argument("points", type=click.Path(path_type=Path))
@takes("as_json")
def fit(points: Path, as_json: bool) -> None:
    """Fit the law of steps to target to POINTS, a CSV file.

    The law is S(B) = S_min (1 + B_crit/B), fitted by least squares of relative errors. The columns:
    batch_size, and steps_to_target or samples_to_target. Optional: learning_rate (the best of each
    batch size in the mean over seeds counts); after_steps (the last evaluation before the target; a
    run that never reached it has no steps and says here how many it went).
    """
    from batchlab.app.fit import fit as fit_points
    from batchlab.report.short_reports import FitDocument, fit_section
    from batchlab.words.document import document_text

    law = fit_points(points)
    if as_json:
        print(document_text(FitDocument(source=str(points), law=law)))
        return
    print_sections([fit_section(law)])
