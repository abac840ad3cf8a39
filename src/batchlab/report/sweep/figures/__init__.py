"""The figures of the report: one row each, from a study to panels, sentences and a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from batchlab.records.study import Study
from batchlab.report.parts.figure import Figure
from batchlab.report.sweep.figures.along_training import curves_figure
from batchlab.report.sweep.figures.cost import cost_figure
from batchlab.report.sweep.figures.gap import gap_figure
from batchlab.report.sweep.figures.learning_rate import rate_figure


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureRow:
    """A row of the registry.

    Attributes:
        key: the letter that names the figure in text and in file names.
        name: a word for it, used on the switch and in file names.
        build: from a study to the figure.
    """

    key: str
    name: str
    build: Callable[[Study], Figure]


FIGURES = (
    FigureRow(key="a", name="epochs", build=partial(curves_figure, key="a", view="epoch")),
    FigureRow(key="b", name="steps", build=partial(curves_figure, key="b", view="step")),
    FigureRow(key="c", name="time", build=partial(curves_figure, key="c", view="equal_time_s")),
    FigureRow(key="d", name="gap", build=partial(gap_figure, key="d")),
    FigureRow(key="e", name="cost", build=partial(cost_figure, key="e")),
    FigureRow(key="f", name="learning-rates", build=partial(rate_figure, key="f")),
)
