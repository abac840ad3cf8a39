"""Figure: one question of a report, answered by rows, charts that draw them, and sentences.

A row holds the data of one mark of a chart, and is a line of the figure's CSV file. Its `kind` says
how it is drawn (see `chart`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from batchlab.records.estimate import Estimate
from batchlab.records.trial import Split
from batchlab.report.output_file import write_output_file
from batchlab.report.table import Column, Table, Value
from batchlab.report.text import label_text, quantity_text, range_text
from batchlab.words.catalogue import term_text, text

T = TypeVar("T")
Row = dict[str, Value | bool]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
# Fields that place words in a chart and say nothing about the measurement.
LAYOUT = ("text", "marked", "to_size", "lane")
# Kinds of rows that stand for several runs, and kinds that only annotate a chart.
_WHOLE = ("point", "mean", "verified", "expected")
_ASIDE = ("level", "place", "span", "rule")
# A single place on these axes compares nothing, so a sentence says it better.
_SIDE_BY_SIDE = ("batch_size", "configuration", "learning_rate")


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: a quantity against another."""

    key: str  # its identity on the page
    title: str  # a few words above it
    quantity: str  # of its vertical axis
    rows: Sequence[Row]  # what it draws
    _: KW_ONLY
    axis: str = "batch_size"  # the quantity of its horizontal axis
    is_metric: bool = False  # whether differences of its quantity matter, not ratios
    frame: Sequence[Row] = ()  # rows that its axes make room for; empty for just its own
    where: Mapping[str, str] | None = None  # fields that select its rows; None selects by key
    view: str = ""  # the position of its figure's switch that shows it; empty without a switch

    @property
    def whose(self) -> Mapping[str, str]:
        """The fields and values that its rows have and those of other panels do not."""
        return self.where or {"panel": self.key}

    @property
    def has_marks(self) -> bool:
        """Whether there is anything to show; side by side, it takes at least two places."""
        marks = [row for row in self.rows if row["kind"] not in _ASIDE]
        places = {row.get(self.axis) for row in marks if row["kind"] not in ("words", "named")}
        return len(places) > (self.axis in _SIDE_BY_SIDE)

    @property
    def series(self) -> list[str]:
        """The names that distinguish its marks, in addition to the batch size."""
        marks = (row for row in self.rows if row["kind"] not in ("band", "rule"))
        return list(dict.fromkeys(str(row["series"]) for row in marks if "series" in row))

    @property
    def alternative(self) -> str:
        """The chart in words, for readers who do not see it: "64: 4.1 s (3.9 s to 4.3 s)"."""
        told: dict[str, list[str]] = {}
        # A plan is described by where it begins and ends; for other lines only the end matters.
        for row in self.told(2 if self.axis == "samples" else 1):
            if row["kind"] != "rule":
                told.setdefault(_name(row), []).append(self._value_text(row))
        return text(
            "Chart of {what} against {axis}. {values}.",
            what=self.title,
            axis=label_text(self.axis),
            values="; ".join(f"{name}: {', '.join(values)}" for name, values in told.items()),
        )

    def told(self, n_places: int) -> list[Row]:
        """Return the rows for words and tables: marks, and up to `n_places` places of each line.

        Single runs are included if no mean stands for them, and a law if nothing was observed.
        """
        whole = {_name(row) for row in self.rows if row["kind"] in _WHOLE}
        lines: dict[tuple[str, Value | bool], list[Row]] = {}
        found = []
        for row in self.rows:
            is_alone = row["kind"] == "run" and _name(row) not in whole
            if row["kind"] == "curve":
                lines.setdefault((_name(row), row.get("seed")), []).append(row)
            elif row["kind"] in (*_WHOLE, "bound", "rule") or is_alone:
                found.append(row)
        found += [row for line in lines.values() for row in thinned(line, n_places)]
        return found or [row for row in self.rows if row["kind"] == "band"]

    def _value_text(self, row: Row) -> str:
        value = quantity_text(self.quantity, row["mean"])
        if row["kind"] == "bound":
            value = text("more than {bound}", bound=value)
        elif row.get("low") != row.get("high"):
            between = range_text(self.quantity, float(row["low"] or 0.0), float(row["high"] or 0.0))
            value = text("{value} ({interval})", value=value, interval=between)
        if self.axis in ("batch_size", "configuration"):
            return value
        return text(
            "{value} at {place}", value=value, place=quantity_text(self.axis, row[self.axis])
        )


class Figure:
    """One figure of a report: the panels that have something to show, with their rows and numbers.

    Figures that share their rows have the same `data`, the name of their CSV file.
    """

    def __init__(
        self,
        key: str,  # the letter that names it in text and in file names
        name: str,  # a word for it, on the switch of a page and in file names
        title: str,
        panels: Iterable[Panel],
        *,
        notes: Iterable[str],  # sentences under it: how to read it, what was left out
        nothing: str,  # why there is nothing to show, if it has no panel
        data: str = "",  # name of the rows that its charts read; by default its own
        rows: Sequence[Row] | None = None,  # those rows, if they are not its panels'
        table: Table | None = None,  # its numbers, if they are not its panels'
    ) -> None:
        """Keep the panels that have marks, and collect their rows."""
        self.key, self.name, self.title, self.data = key, name, title, data or name
        self.panels = tuple(panel for panel in panels if panel.has_marks)
        self.views: dict[str, list[Panel]] = {}  # those seen at a time, by the switch's names
        for panel in self.panels:
            self.views.setdefault(panel.view, []).append(panel)
        self.notes = tuple(notes)
        self.absent = None if self.panels else nothing
        named = ({"panel": panel.key, **row} for panel in self.panels for row in panel.rows)
        # Seven digits are finer than a screen shows, and take a third of the bytes.
        self.rows = tuple(
            {
                field: float(f"{value:.7g}") if isinstance(value, float) else value
                for field, value in row.items()
            }
            for row in (named if rows is None else rows)
        )
        self.table = table or panels_table(title, self.panels)


# ---- rows


def drawn_sizes(rows: Iterable[Row]) -> list[int]:
    """Return the batch sizes that have marks, ascending: an axis needs no room for others."""
    sizes = [(row["kind"], int(row["batch_size"] or 0)) for row in rows if "batch_size" in row]
    marked = {size for kind, size in sizes if kind not in ("span", "place", "band", "rule")}
    return sorted(marked or {size for _, size in sizes})


def mark(kind: str, value: float, **fields: Value) -> Row:
    """Return the row of one value."""
    return {"kind": kind, **fields, "mean": value}


def interval_mark(kind: str, known: Estimate, **fields: Value) -> Iterator[Row]:
    """Yield the row of an estimate with its interval; a missing bound is the value itself."""
    value = known.estimate
    if value is not None:
        low, high = (value if end is None else end for end in (known.low, known.high))
        yield mark(kind, value, **fields) | {"low": low, "high": high, "n": known.n}


def seeds_row(values: Sequence[float], middle: float | None = None) -> Row:
    """Return the mean of one number per seed (at least one), or `middle`, with their range."""
    mean = fmean(values) if middle is None else middle
    return {"mean": mean, "low": min(values), "high": max(values), "n": len(values)}


def size_rows(named: Row, values: Sequence[float], middle: float | None = None) -> Iterator[Row]:
    """Yield the `seeds_row` of a batch size and, for several observations, one row for each."""
    yield {**named, "kind": "mean", **seeds_row(values, middle)}
    if len(values) > 1:
        for value in values:
            yield {**named, **mark("run", value)}


def thinned(points: Sequence[T], most: int) -> Sequence[T]:
    """Return at most `most` points, evenly spaced by index: the last and, if two fit, the first."""
    if len(points) <= most:
        return points
    if most == 1:
        return points[-1:]
    last = len(points) - 1
    return [points[round(i * last / (most - 1))] for i in range(most)]


# ---- their numbers

# The fields that place a mark, in the order of a table's columns, and the columns' labels.
_PLACES: dict[str, str | None] = {
    "configuration": "configuration",
    "line": "line",
    "plan": "plan",
    "batch_size": None,
    "learning_rate": None,
    "seed": "seed",
    "epoch": None,
    "step": None,
    "equal_time_s": None,
}
_DRAWN = {"panel", "kind", "series", "run", "split", "metric", "mean", "low", "high", "n"}


def panels_table(caption: str, panels: Iterable[Panel], n_places: int = 1) -> Table:
    """Return the numbers that charts draw, with one row per place and one column per chart.

    A line has up to `n_places` places. All other fields of the rows have columns too.
    """
    columns = {
        key: Column(key, label=None if label is None else text(label))
        for key, label in _PLACES.items()
    }
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for panel in panels:
        for row in panel.told(n_places):
            place = {key: row.get(key) for key in _PLACES}
            if row["kind"] == "curve" and "series" in row:
                place["line"] = term_text(str(row["series"]))
            if "configuration" in row:
                place |= {"configuration": _in_one_line(row), "plan": None}
            cells = rows.setdefault(tuple(place.values()), dict(place))
            for column, value in _numbers(panel, row):
                columns.setdefault(column.key, column)
                cells[column.key] = value
    return Table(
        caption=caption,
        columns=tuple(columns.values()),
        rows=tuple(tuple(cells.get(key) for key in columns) for cells in rows.values()),
    ).without_empty_columns()


def _numbers(panel: Panel, row: Row) -> Iterator[tuple[Column, Value | bool]]:
    key, label, is_line = panel.key, panel.title, row["kind"] == "curve"
    if "series" in row and not is_line:
        key = f"{key}-{row['series']}"
        label = f"{term_text(str(row['series']))} {label_text(panel.quantity)}"
    if row["kind"] == "bound":
        yield Column(f"{key}-bound", panel.quantity, text("not reached by")), row["mean"]
        return
    yield Column(key, panel.quantity, label), row["mean"]
    if row.get("low") != row.get("high") and not is_line:
        yield Column(f"{key}-low", panel.quantity, text("from")), row["low"]
        yield Column(f"{key}-high", panel.quantity, text("to")), row["high"]
    if "n" in row:
        yield Column("n", label=text("observations")), row["n"]
    for field, value in row.items():
        if field not in (*_DRAWN, *_PLACES, *LAYOUT):
            yield Column(field, label=label_text(field).replace("_", " ")), value


def _name(row: Row) -> str:
    size_or_plan = term_text(str(row.get("plan") or row.get("batch_size")))
    name = _in_one_line(row) if "configuration" in row else size_or_plan
    return f"{name} {term_text(str(row['series']))}" if "series" in row else name


def _in_one_line(row: Row) -> str:
    """Return a configuration without the bars that break its label on an axis."""
    return str(row["configuration"]).replace("|", ", ")


# ---- as files, and for the script of a page


def write_figure_rows(figures: Iterable[Figure], path: Path) -> tuple[Path, ...]:
    """Write the rows of each figure next to `path`: `report.csv` gives `report-objective.csv`, ...

    Figures that share their rows share a file.

    Raises:
        OutputFileError: a file cannot be written.
    """
    rows = {figure.data: figure.rows for figure in figures if figure.panels}
    written = []
    for data, its_rows in rows.items():
        file = path.with_name(f"{path.stem}-{data}.csv")
        write_output_file(file, rows_csv(its_rows).encode())
        written.append(file)
    return tuple(written)


def rows_csv(rows: Sequence[Row]) -> str:
    """Return rows of charts as CSV, one column per field but `LAYOUT`; missing fields are empty."""
    told = columns(rows)
    whole = Table(caption="", columns=tuple(map(Column, told["fields"])), rows=told["values"])
    return whole.only(field for field in told["fields"] if field not in LAYOUT).to_csv()


def columns(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the field names once, and the values of each row, None for a field it lacks."""
    fields = list(dict.fromkeys(field for row in rows for field in row))
    return {"fields": fields, "values": [[row.get(field) for field in fields] for row in rows]}


def script_json(value: object) -> str:
    """Return JSON that is safe inside a script element, whatever a user's text holds."""
    said = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return said.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
