"""Figure: one question of a report, answered by charts, a table of their numbers, and sentences.

A row contains the data of one mark of a chart; its `kind` says how to draw the mark (see `chart`).
A `SizeLook` has the color, dash and shape in which a batch size is drawn.
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
Row = dict[str, Any]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# The kinds of rows that only annotate a chart.
_ASIDE = ("level", "span", "rule")
# The kinds of rows that are not drawn as points.
_NO_POINTS = (*_ASIDE, "band")
# A chart with a single value on one of these axes compares nothing and is therefore left out.
_SIDE_BY_SIDE = ("batch_size", "configuration", "learning_rate")


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart, of one quantity against another.

    Attributes:
        key: the chart's identifier on the page.
        title: a few words, shown above the chart.
        quantity: the quantity on the vertical axis.
        rows: the data of the chart's marks.
        axis: the quantity on the horizontal axis.
        is_metric: whether values are compared by difference, not by ratio.
        frame: the rows that set the range of the vertical axis; if empty, `rows` set the range.
        view: the setting of the page's switch that shows the chart; "" without a switch.
    """

    key: str
    title: str
    quantity: str
    rows: Sequence[Row]
    _: KW_ONLY
    axis: str = "batch_size"
    is_metric: bool = False
    frame: Sequence[Row] = ()
    view: str = ""

    @property
    def has_marks(self) -> bool:
        """Whether the chart has enough marks to be shown.

        A chart whose axis is in `_SIDE_BY_SIDE` needs marks at two positions or more, because it
        compares them. Any other chart needs one mark.
        """
        places = {row.get(self.axis) for row in self.rows if row["kind"] not in _ASIDE}
        return len(places) > (self.axis in _SIDE_BY_SIDE)

    @property
    def alternative(self) -> str:
        """A description of the chart for screen readers; the numbers are in the figure's table."""
        return sentence("chart_in_words", what=self.title, axis=label_text(self.axis))


class Figure:
    """One figure of a report: the panels that have marks, with a table of the panels' numbers."""

    def __init__(
        self,
        key: str,
        name: str,
        title: str,
        panels: Iterable[Panel],
        *,
        notes: Iterable[str],
        table: Table | None = None,
    ) -> None:
        """Keep only the panels that have marks.

        The letter `key` and the word `name` identify the figure in texts and file names. `notes`
        are sentences on how to read the figure; `table` defaults to a table of all points.
        """
        self.key, self.name, self.title = key, name, title
        self.panels = tuple(filter(attrgetter("has_marks"), panels))
        self.views: dict[str, list[Panel]] = {}  # panels by choice of the page's switch
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
    """Return a row that draws a mark of the given kind at `value`."""
    return {"kind": kind, **fields, "mean": value}


def interval_mark(kind: str, known: Estimate, **fields: CellValue) -> Iterator[Row]:
    """Yield a row for an estimate whose value is known; a missing bound is set to the value."""
    value = known.estimate
    if value is not None:
        low = value if known.low is None else known.low
        high = value if known.high is None else known.high
        yield mark(kind, value, **fields) | {"low": low, "high": high, "n": known.n}


def seeds_row(values: Sequence[float], middle: float | None = None) -> Row:
    """Return the mean, range and number of the seeds' values; `middle` replaces the mean."""
    if middle is None:
        middle = fmean(values)
    return {"mean": middle, "low": min(values), "high": max(values), "n": len(values)}


def size_rows(named: Row, values: Sequence[float], middle: float | None = None) -> Iterator[Row]:
    """Yield a row for the mean of a batch size's `values`, and a row for each of several values.

    `named` has the fields that all rows share. `middle`, if given, replaces the mean.
    """
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
    """Return whether a row is drawn as a point; a line's row only if its field `marked` is true."""
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
    """The color, dash and shape of one batch size or plan, everywhere in the report.

    Attributes:
        kind: the batch size, or the name of the plan.
        label: the text in legends, such as "64" or "4096 (full)".
        light: the color on a white ground, as #RRGGBB.
        dark: the color on a dark ground, as #RRGGBB.
        dash: the lengths of dashes and gaps in pixels; empty if the line is solid.
        shape: the name that Vega gives to the shape of the points.
    """

    kind: Kind
    label: str
    light: str
    dark: str
    dash: tuple[int, ...]
    shape: str

    @property
    def css_name(self) -> str:
        """The CSS variable with the color of this batch size or plan."""
        return f"--batch-{self.kind}"


# A style has the fields `light`, `dark` and `shape` of a `SizeLook`, and then `dash`.
_Style = tuple[tuple[str, str, str], tuple[int, ...]]
# The full batch and three batch sizes have the same style in all reports: the full batch is gray,
# 64 is orange, 256 green and 1024 lilac.
_FULL: _Style = (("#3F4650", "#E3E7EC", "diamond"), (9, 3, 2, 3))
_FIXED: dict[int, _Style] = {
    64: (("#D06000", "#FF9A3D", "circle"), ()),
    256: (("#0E8A5F", "#2FC08A", "square"), (7, 3)),
    1024: (("#A274D6", "#C9A8F5", "triangle-up"), (2, 2)),
}
# (color on white, color on dark, shape). The colors were found by search: any two differ by at
# least 16 (CIE 1976), also in color-blind vision (Machado et al. 2009), and each has a contrast of
# at least 3.5 with the ground.
_OTHERS = (
    ("#2135C2", "#808CFF", "triangle-down"),
    ("#991B14", "#F0664C", "cross"),
    ("#02607F", "#23877F", "triangle-right"),
    ("#460D50", "#CC85B7", "triangle-left"),
)
# Batch sizes take the four colors and five dashes in turn, so that 20 sizes look different.
_OTHER_DASHES = ((4, 2), (12, 3), (2, 4), (6, 2, 2, 2), (12, 3, 4, 3))


def looks(
    batch_sizes: Iterable[int], *, n_train: int, plans: Sequence[PlanName] = ()
) -> tuple[SizeLook, ...]:
    """Return the styles of the batch sizes, in ascending order, and then of the plans.

    Any 20 styles differ in color or dash.
    """
    sizes = sorted(set(batch_sizes))
    # Plans get the fixed styles of batch sizes that are not shown. A plan starts with its smallest
    # batch size, so the two lines coincide at first and need different colors.
    unused = [style for size, style in _FIXED.items() if size not in sizes]
    fixed: dict[Kind, _Style] = {n_train: _FULL}
    fixed |= [*_FIXED.items(), *zip(plans, unused, strict=False)]
    others = zip(itertools.cycle(_OTHERS), itertools.cycle(_OTHER_DASHES), strict=False)
    shown: list[SizeLook] = []
    for kind in [*sizes, *plans]:
        (light, dark, shape), dash = fixed.get(kind) or next(others)
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
