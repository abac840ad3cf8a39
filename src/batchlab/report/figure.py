"""Figure: one question of a report, answered by charts, a table of their numbers, and sentences.

A row contains the data of one mark of a chart; its `kind` says how to draw the mark (see `chart`).
A `SizeLook` has color, dash and shape of a batch size's marks.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from operator import attrgetter, itemgetter
from statistics import fmean
from typing import Any, TypeVar

from batchlab.records.estimate import Estimate
from batchlab.records.run import Kind, PlanName
from batchlab.records.trial import Split
from batchlab.report.table import CellValue, Column, Table
from batchlab.report.text import label_text, quantity_text, range_text, size_text
from batchlab.words.catalogue import sentence, term_text, text

T = TypeVar("T")
Row = dict[str, CellValue | bool]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# Kinds of rows that only annotate a chart, and kinds that are not drawn as points.
_ASIDE = ("level", "span", "rule")
_NO_POINTS = (*_ASIDE, "band", "words", "named")
# A chart with a single value on one of these axes compares nothing and is therefore left out.
_SIDE_BY_SIDE = ("batch_size", "configuration", "learning_rate")


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart, of one quantity against another."""

    key: str  # the chart's identifier on the page
    title: str  # a few words above the chart
    quantity: str  # the quantity of the vertical axis
    rows: Sequence[Row]  # the marks
    _: KW_ONLY
    axis: str = "batch_size"  # the quantity of the horizontal axis
    is_metric: bool = False  # whether values are compared by difference, not by ratio
    frame: Sequence[Row] = ()  # rows that set the vertical range; if empty, `rows`
    view: str = ""  # the setting of the figure's switch that shows the chart; "" without a switch

    @property
    def has_marks(self) -> bool:
        """Whether the chart has marks; an axis of `_SIDE_BY_SIDE` needs two different positions."""
        aside = (*_ASIDE, "words", "named")
        places = {row.get(self.axis) for row in self.rows if row["kind"] not in aside}
        return len(places) > (self.axis in _SIDE_BY_SIDE)

    @property
    def series(self) -> list[str]:
        """The names of the series of means in order; each has its own dash if there are several."""
        series: dict[str, None] = {}
        for row in rows_of_kinds(self.rows, "mean"):
            if "series" in row:
                series[str(row["series"])] = None
        return list(series)

    @property
    def alternative(self) -> str:
        """A description of the chart for screen readers; the numbers are in the figure's table."""
        return sentence("chart_in_words", what=self.title, axis=label_text(self.axis))


class Figure:
    """One figure of a report: the panels that have marks, with a table of the panels' numbers."""

    def __init__(
        self,
        key: str,  # the figure's letter in texts and file names
        name: str,  # a word for the figure, on a page's switch and in file names
        title: str,
        panels: Iterable[Panel],
        *,
        notes: Iterable[str],  # sentences below the figure: how to read it, what was left out
        table: Table | None = None,  # the table of the numbers; default: the panels' points
    ) -> None:
        """Store the panels that have marks, also by view."""
        self.key, self.name, self.title = key, name, title
        self.panels = tuple(filter(attrgetter("has_marks"), panels))
        self.views: dict[str, list[Panel]] = {}  # by the switch's settings
        for panel in self.panels:
            self.views.setdefault(panel.view, []).append(panel)
        self.notes = tuple(notes)
        # The table shows only the first view, because the other views have the same points.
        self.table = table or points_table(title, next(iter(self.views.values()), []))


# ---- rows


def rows_of_kinds(rows: Iterable[Row], *kinds: str) -> list[Row]:
    """Return the rows of the given kinds, in their order."""
    return [row for row in rows if row["kind"] in kinds]


def kinds_of(rows: Iterable[Row]) -> set[CellValue]:
    """Return the set of the rows' kinds."""
    return set(map(itemgetter("kind"), rows))


def explained(legend: Mapping[str, str], rows: Iterable[Row], **values: CellValue) -> Iterator[str]:
    """Yield the legend's sentence for each kind of mark in the rows, filled with the values."""
    drawn = kinds_of(rows)
    for kind, message in legend.items():
        if kind in drawn:
            yield message.format(**values)


def mark(kind: str, value: float, **fields: CellValue) -> Row:
    """Return the row of a mark of the given kind at one value."""
    return {"kind": kind, **fields, "mean": value}


def interval_mark(kind: str, known: Estimate, **fields: CellValue) -> Iterator[Row]:
    """Yield the estimate's row if its value is known; a missing bound is set to the value."""
    value = known.estimate
    if value is not None:
        low = value if known.low is None else known.low
        high = value if known.high is None else known.high
        yield mark(kind, value, **fields) | {"low": low, "high": high, "n": known.n}


def seeds_row(values: Sequence[float], middle: float | None = None) -> Row:
    """Return center, range and count of the seeds' values; the default center is the mean."""
    if middle is None:
        middle = fmean(values)
    return {"mean": middle, "low": min(values), "high": max(values), "n": len(values)}


def size_rows(named: Row, values: Sequence[float], middle: float | None = None) -> Iterator[Row]:
    """Yield the `seeds_row` of a batch size, and a row for each value if there are several."""
    yield {**named, "kind": "mean", **seeds_row(values, middle)}
    if len(values) > 1:
        for value in values:
            yield {**named, **mark("run", value)}


def thinned(points: Sequence[T], most: int) -> Sequence[T]:
    """Return at most `most` points, spaced evenly from first to last; `most` is at least 2."""
    if len(points) <= most:
        return points
    last = len(points) - 1
    return [points[round(i * last / (most - 1))] for i in range(most)]


# ---- points in words

_KINDS = {
    "run": "one run",
    "bound": "one run",
    "failed": "one run that failed",
    "expected": "all runs together",
    "verified": "what is named",
}
_PLACED = {
    "learning_rate": "learning rate {value}",
    "epoch": "epoch {value}",
    "step": "step {value}",
    "equal_time_s": "{value} of training",
}


def is_point(row: Row) -> bool:
    """Return whether a row is drawn as a point; of a line's rows, only the `marked` rows."""
    return row["kind"] not in _NO_POINTS and bool(row.get("marked", True))


def point_words(row: Row, quantity: str) -> str:
    """Return the value of a point and, on a second line, details such as rate, step and seed."""
    shown = f"{label_text(quantity)}: {value_words(row, quantity)}"
    return f"{shown}\n{', '.join(_details(row))}".rstrip("\n")


def value_words(row: Row, quantity: str) -> str:
    """Return the value of a row as text, with its 95 % interval or its range over seeds."""
    value = quantity_text(quantity, row["mean"])
    if row["kind"] == "bound":
        return f"more than {value}"
    low, high = row.get("low"), row.get("high")
    if low is None or high is None:
        return value
    between = range_text(quantity, float(low), float(high))
    words = "range" if row["kind"] in ("mean", "curve") else "95 %"
    return value if between == value else f"{value} ({words}: {between})"


def _details(row: Row) -> Iterator[str]:
    if row["kind"] in _KINDS:
        yield _KINDS[str(row["kind"])]
    for field in ("series", "run"):
        if row.get(field) is not None:
            yield term_text(str(row[field]))
    for field, message in _PLACED.items():
        if row.get(field) is not None:
            yield message.format(value=quantity_text(field, row[field]))
    n = row.get("n")
    if n:
        yield text("{n:1 observation|# observations}", n=int(n))


def points_table(caption: str, panels: Sequence[Panel]) -> Table:
    """Return a table with one row for each point of the charts."""
    columns = tuple(map(Column, ("chart", "batch", "value", "details")))
    rows = []
    for panel in panels:
        for row in filter(is_point, panel.rows):
            batch = row.get("configuration") or row.get("plan") or row.get("batch_size")
            details = ", ".join(_details(row))
            rows.append((panel.title, str(batch), value_words(row, panel.quantity), details))
    table = Table(caption=caption, columns=columns, rows=tuple(rows)).without_empty_columns()
    if len(panels) == 1:
        table = table.without("chart")
    return table


# ---- colors, dashes and shapes


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeLook:
    """The color, dash and shape of one batch size or plan, everywhere in the report."""

    kind: Kind
    label: str  # the text in legends, such as "64" or "4096 (full)"
    light: str  # color on a white ground, as #RRGGBB
    dark: str  # color on a dark ground
    dash: tuple[int, ...]  # lengths of dashes and gaps in pixels; empty if the line is solid
    shape: str  # the Vega name of the points' shape

    @property
    def css_name(self) -> str:
        """The CSS variable with the color of this batch size or plan."""
        return f"--batch-{self.kind}"


_Style = tuple[str, str, tuple[int, ...], str]  # light, dark, dash and shape
# Three batch sizes and the full batch have a fixed style in all reports: 64 orange, 256 green, 1024
# lilac.
_FULL: _Style = ("#3F4650", "#E3E7EC", (9, 3, 2, 3), "diamond")
_FIXED: dict[int, _Style] = {
    64: ("#D06000", "#FF9A3D", (), "circle"),
    256: ("#0E8A5F", "#2FC08A", (7, 3), "square"),
    1024: ("#A274D6", "#C9A8F5", (2, 2), "triangle-up"),
}
# Colors found by search: every pair differs by at least 16 (CIE 1976) in normal vision and under
# protanopia, deuteranopia and tritanopia (Machado et al. 2009); contrast with the ground >= 3.5.
_OTHERS = (
    ("#2135C2", "#808CFF", "triangle-down"),
    ("#991B14", "#F0664C", "cross"),
    ("#02607F", "#23877F", "triangle-right"),
    ("#460D50", "#CC85B7", "triangle-left"),
)
# Five dashes and four colors are cycled; 5 and 4 are coprime, so 20 batch sizes look different.
_OTHER_DASHES = ((4, 2), (12, 3), (2, 4), (6, 2, 2, 2), (12, 3, 4, 3))


def looks(
    batch_sizes: Iterable[int], *, n_train: int, plans: Sequence[PlanName] = ()
) -> tuple[SizeLook, ...]:
    """Return the styles of the batch sizes, in ascending order, and then of the plans.

    Any 20 styles differ in color or dash.
    """
    sizes = sorted(set(batch_sizes))
    # A plan's line starts on the line of its smallest batch size, so both colors must differ.
    unused = [style for size, style in _FIXED.items() if size not in sizes]
    fixed: dict[Kind, _Style] = {n_train: _FULL}
    fixed |= [*_FIXED.items(), *zip(plans, unused, strict=False)]
    shown: list[SizeLook] = []
    n_others = 0
    for kind in [*sizes, *plans]:
        if kind in fixed:
            light, dark, dash, shape = fixed[kind]
        else:
            light, dark, shape = _OTHERS[n_others % len(_OTHERS)]
            dash = _OTHER_DASHES[n_others % len(_OTHER_DASHES)]
            n_others += 1
        label = size_text(kind, n_train) if isinstance(kind, int) else term_text(kind)
        look = SizeLook(kind=kind, label=label, light=light, dark=dark, dash=dash, shape=shape)
        shown.append(look)
    return tuple(shown)


def drawn_looks(looks: Sequence[SizeLook], panels: Iterable[Panel]) -> tuple[SizeLook, ...]:
    """Return the styles of the batch sizes and plans that occur in the charts."""
    kinds = set(map(attrgetter("kind"), looks))
    rows = itertools.chain.from_iterable(map(attrgetter("rows"), panels))
    drawn = {drawn_kind(row, kinds) for row in rows}
    return tuple(look for look in looks if look.kind in drawn)


def drawn_kind(row: Row, kinds: Container[object]) -> Any:
    """Return a row's plan if `kinds` contains the plan, else the row's batch size or None."""
    return row["plan"] if row.get("plan") in kinds else row.get("batch_size")
