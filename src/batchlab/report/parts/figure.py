"""Figure: one question of the report, answered by panels, sentences and a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchlab.records.study import Study
from batchlab.records.trial import Split
from batchlab.report.parts.palette import Look, looks
from batchlab.report.parts.quantity_text import quantity_text, range_text
from batchlab.report.parts.table import Table, Value
from batchlab.report.sweep.cells import Cell, Spread, deciding_split

if TYPE_CHECKING:
    import altair as alt

Row = dict[str, Value | bool]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One chart.

    Attributes:
        key: its identity on the page.
        title: a few words above it.
        alternative: what it shows, in words, for those who do not see it.
        plot: function(canvas=where it is drawn) -> the Altair chart.
    """

    key: str
    title: str
    alternative: str
    plot: Callable[..., alt.LayerChart | alt.FacetChart]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One figure of a report.

    Attributes:
        key: its letter.
        title: its heading.
        notes: sentences under it: how to read it, what was left out.
        absent: why there is nothing to show, None where there is.
        panels: its charts.
        data: name of the rows that its charts read; figures with one name have the same rows.
        rows: those rows.
        table: its numbers.
    """

    key: str
    title: str
    notes: tuple[str, ...]
    absent: str | None
    panels: tuple[Panel, ...]
    data: str
    rows: tuple[Row, ...]
    table: Table


def figure_looks(study: Study) -> tuple[Look, ...]:
    """How the batch sizes of a study are drawn."""
    sizes = [record.trial.batch_size for record in study.records]
    return looks(
        sizes or [timing.batch_size for timing in study.timings], n_train=study.workload.n_train
    )


def list_text(items: Iterable[int | str]) -> str:
    """Items joined by commas."""
    return ", ".join(str(item) for item in items)


def spread_text(name: str, spread: Spread) -> str:
    """The mean of a quantity with its range over seeds and their count."""
    mean = quantity_text(name, spread.mean)
    if spread.n == 1:
        return f"{mean} (one seed)"
    return f"{mean} ({range_text(name, spread.low, spread.high)}, {spread.n} seeds)"


def rate_notes(study: Study, chosen: tuple[Cell, ...]) -> Iterator[str]:
    """What a reader must know of the learning rates before comparing batch sizes."""
    rates = {record.trial.learning_rate for record in study.records}
    if len(chosen) < 2:
        return
    if len(rates) == 1:
        rate = quantity_text("learning_rate", next(iter(rates)))
        yield (
            f"All batch sizes share the learning rate {rate}: this compares them at one rate, "
            f"not each at its best."
        )
    elif rates:
        pairs = ", ".join(
            f"{c.batch_size}: {quantity_text('learning_rate', c.learning_rate)}" for c in chosen
        )
        yield (
            f"Each batch size is shown at the learning rate that was best for it on "
            f"{deciding_split(study)} data ({pairs}); the best of several looks a little better "
            f"there than it is."
        )


def spread_row(spread: Spread) -> Row:
    """Mean, range and count as fields of a chart row."""
    return {
        "mean": rounded(spread.mean),
        "low": rounded(spread.low),
        "high": rounded(spread.high),
        "n": spread.n,
    }


def rounded(value: float) -> float:
    """Seven digits: finer than a screen, and a third of the bytes."""
    return float(f"{value:.7g}")


def value_domain(rows: Iterable[Row]) -> tuple[float, float]:
    """Lowest and highest value of at least one row, a little apart.

    Trials drawn alone do not count where there are means: a diverged one would flatten the rest.
    """
    rows = list(rows)
    averaged = [row for row in rows if row.get("run", "mean") == "mean"] or rows
    low = min(float(row.get("low", row["mean"]) or 0.0) for row in averaged)
    high = max(float(row.get("high", row["mean"]) or 0.0) for row in averaged)
    room = 0.0 if high > low else (abs(low) * 0.05 or 0.5)
    return low - room, high + room


def size_rows(
    name: dict[str, str], batch_size: int, middle: float, spread: Spread
) -> Iterator[Row]:
    """One row for the whole, one for each observation."""
    base: Row = {**name, "batch_size": batch_size}
    yield {**base, **spread_row(spread), "mean": rounded(middle), "whole": True}
    if spread.n > 1:
        for value in spread.values:
            yield {**base, "mean": rounded(value), "whole": False}


def size_words(what: str, name: str, rows: tuple[Row, ...], panel: str) -> str:
    """What a chart against batch size shows, in words."""
    values = [
        f"{row['batch']}{'' if row['series'] in ('gap', 'timing') else ' ' + str(row['series'])}: "
        f"{quantity_text(name, row['mean'])}"
        for row in rows
        if row["panel"] == panel and row["whole"]
    ]
    return f"Chart of {what} against batch size. {'; '.join(values)}."
