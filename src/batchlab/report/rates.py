"""The figure of learning rates by batch size: what was tried, what is best, what rules say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from batchlab.report.figure import Figure, Panel, Row, mark
from batchlab.report.table import Table
from batchlab.report.text import label_text
from batchlab.words.catalogue import text


class RateTaken(NamedTuple):
    """One run: its batch size, its learning rate, and whether it failed."""

    batch_size: int
    learning_rate: float
    has_failed: bool


def rates_figure(
    taken: Iterable[RateTaken],
    *,
    best: Mapping[int, float],
    believed: Mapping[int, float],
    rules: Mapping[str, Mapping[int, float]],
    tuned_at: int,
    by_rate: Panel | None = None,
    nothing: str = "",
    table: Table | None = None,
) -> Figure:
    """Draw learning rates by batch size.

    Args:
        taken: the runs.
        best: by batch size, the rate that its figures belong to.
        believed: by batch size, the best rate according to all runs together.
        rules: by scaling rule, the rates that it derives from the best one at `tuned_at`.
        tuned_at: the batch size that the rules start from.
        by_rate: a panel with a metric by learning rate.
        nothing: why nothing is drawn, if there are no runs.
        table: the figure's numbers, if they are not those of its marks.
    """
    rows = tuple(_rows(taken, best, believed, rules))
    panel = Panel("c-rates", label_text("learning_rate"), "learning_rate", rows)
    return Figure(
        "c",
        "learning-rates",
        text("Learning rate by batch size"),
        [panel for panel in (panel, by_rate) if rows and panel is not None],
        notes=_notes(rows, tuned_at),
        nothing=nothing or text("Nothing was trained."),
        data="rates",
        table=table,
    )


def _rows(
    taken: Iterable[RateTaken],
    best: Mapping[int, float],
    believed: Mapping[int, float],
    rules: Mapping[str, Mapping[int, float]],
) -> Iterator[Row]:
    # All rules agree at a single batch size, so their names would cover each other.
    for rule, rates in rules.items() if len(best) > 1 else ():
        for size, rate in rates.items():
            name = rule if size == max(rates) else None
            yield mark("rule", rate, series=rule, text=name, batch_size=size)
    if len(believed) > 1:
        for size, rate in believed.items():
            yield mark("band", rate, series="belief", batch_size=size) | {"low": rate, "high": rate}
    for run in dict.fromkeys(taken):
        kind = "failed" if run.has_failed else "run"
        yield mark(kind, run.learning_rate, batch_size=run.batch_size)
    for size, rate in best.items():
        yield mark("point", rate, batch_size=size)


def _notes(rows: Iterable[Row], tuned_at: int) -> Iterator[str]:
    kinds = {row["kind"] for row in rows}
    yield text("Large marks: the rate that each batch size is shown at.")
    if "run" in kinds:
        yield text("Small circles: every rate that was tried.")
    if "failed" in kinds:
        yield text("×: a run at this rate diverged or failed.")
    if "band" in kinds:
        yield text("Line: the best rate by all runs together.")
    if "rule" in kinds:
        yield text(
            "Dashed: what the scaling rules give from the best rate of batch size {size}. A rate "
            "is tuned to about a factor of two, so points near a line agree with it.",
            size=tuned_at,
        )
