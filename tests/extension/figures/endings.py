"""A figure that batchlab does not have: how many trials ended well, in a sentence."""

from __future__ import annotations

from batchlab.records.study import Study
from batchlab.report.parts.figure import Figure
from batchlab.report.parts.figure_row import FigureRow


def endings_figure(study: Study) -> Figure:
    """How many trials ended well."""
    return Figure(
        key="z",
        title="How many trials ended well",
        notes=(),
        absent=f"{sum(record.ended_well for record in study.records)} of them.",
        panels=(),
        data="endings",
        rows=(),
        table=None,
    )


ROWS = (FigureRow(key="z", name="endings", build=endings_figure),)
