"""Size panel: a chart of one quantity against the batch size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from batchlab.report.parts.charts.axes import value_y
from batchlab.report.parts.charts.batch_sizes import batch_size_x
from batchlab.report.parts.charts.chart import chart, in_panel
from batchlab.report.parts.figure import Panel, Row, rows_domain, with_room
from batchlab.report.parts.palette import Look
from batchlab.report.text import quantity_text, term_text
from batchlab.words.catalogue import text

# Of the axis: so that no mark lies on the frame. Wide ranges have a logarithmic axis, with its own.
_ROOM_OF_AN_ARROW, _ROOM_OF_A_CIRCLE = 0.12, 0.05
_NO_MAGNITUDES = 10.0


def size_panel(
    data: str,
    rows: Iterable[Row],
    looks: Sequence[Look],
    *,
    key: str,
    quantity: str,
    title: str,
    what: str | None = None,
    series: tuple[str, ...],
    has_zero: bool = False,
) -> Panel:
    """The means of each batch size, joined, with their ranges and observations; bounds as arrows.

    Args:
        data: name of the rows.
        rows: made by `size_rows`, or of the kind "bound"; those of this panel are drawn.
        looks: how the batch sizes are drawn.
        key: of the panel, and the rows' field `panel`.
        quantity: its name, on the vertical axis.
        title: over the chart.
        what: the same in the words of an alternative text; None: like the title.
        series: values of the rows' field `series`, told apart by dashes.
        has_zero: whether the axis reaches to 0, with a line there.
    """
    own = tuple(row for row in rows if row["panel"] == key)
    kinds = {"zero"} if has_zero else set()
    kinds |= {kind for row in own if "whole" in row for kind in ("whole", "single")}
    kinds |= {"bound" for row in own if row.get("kind") == "bound"}
    domain = rows_domain([{"mean": 0.0}, *own] if has_zero else own)
    if "bound" in kinds:
        domain = with_room(domain, above=_ROOM_OF_AN_ARROW)
    if 0 < domain[1] < _NO_MAGNITUDES * domain[0]:
        domain = with_room(domain, below=_ROOM_OF_A_CIRCLE, above=_ROOM_OF_A_CIRCLE)
    return Panel(
        key=key,
        title=title,
        alternative=size_words(what or title, quantity, own, key),
        plot=partial(
            chart,
            data,
            where=in_panel(key),
            x=partial(batch_size_x, looks),
            y=partial(value_y, quantity, domain),
            name=quantity,
            kinds=frozenset(kinds),
            looks=looks,
            series=series,
        ),
    )


def size_words(what: str, name: str, rows: tuple[Row, ...], panel: str) -> str:
    """What a chart against batch size shows, in words: each whole value, each bound."""
    values = [
        f"{row['batch']}{_series_text(str(row.get('series', 'end')))}: {_value_text(name, row)}"
        for row in rows
        if row["panel"] == panel and (row.get("whole") or row.get("kind") == "bound")
    ]
    return text(
        "Chart of {what} against batch size. {values}.", what=what, values="; ".join(values)
    )


def _value_text(name: str, row: Row) -> str:
    value = quantity_text(name, row["mean"])
    return text("more than {bound}", bound=value) if row.get("kind") == "bound" else value


def _series_text(series: str) -> str:
    """The split that a value is of; empty where the panel has one series only."""
    return "" if series in ("gap", "timing", "end") else f" {term_text(series)}"
