"""Figure: one question of the report, answered by panels, sentences and a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchlab.records.estimate import Estimate
from batchlab.records.trial import Split
from batchlab.report.table import Table, Value

if TYPE_CHECKING:
    import altair as alt

Row = dict[str, Value | bool]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# Fields that place words in a chart and say nothing of what was measured.
LAYOUT = ("text", "side", "place", "marked", "chosen", "to_size")


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


def list_text(items: Iterable[int | str]) -> str:
    """Items joined by commas."""
    return ", ".join(str(item) for item in items)


def rounded(value: float) -> float:
    """Seven digits: finer than a screen, and a third of the bytes."""
    return float(f"{value:.7g}")


def estimate_row(estimate: Estimate) -> Row:
    """A known estimate as fields of a row; a missing bound is drawn at the value itself."""
    value = estimate.estimate
    assert value is not None, "an estimate without a value has no place in a chart"
    low = value if estimate.low is None else estimate.low
    high = value if estimate.high is None else estimate.high
    return {"mean": rounded(value), "low": rounded(low), "high": rounded(high), "n": estimate.n}


def with_room(
    domain: tuple[float, float], *, below: float = 0.0, above: float = 0.0
) -> tuple[float, float]:
    """A domain widened by shares of itself, so that no mark or word lies on the frame."""
    low, high = domain
    return low - below * (high - low), high + above * (high - low)


def rows_domain(rows: Iterable[Row]) -> tuple[float, float]:
    """Lowest and highest value of the rows that have one, a little apart; 0 to 1 without any."""
    values = [
        float(row[field] or 0.0)
        for row in rows
        for field in ("mean", "low", "high")
        if row.get(field) is not None
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.0 if high > low else (abs(low) * 0.05 or 0.5)
    return low - room, high + room
