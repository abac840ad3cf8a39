"""Chart: what the charts of all figures are made of: axes, marks of rows, what the pointer reads.

Altair is imported when a chart is made: it costs a third of a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from batchlab.report.figure import INK, PROBE, ROWS, Panel, Row
from batchlab.report.palette import Look
from batchlab.report.pointer import IS_POINT, lost_tooltip, point_tooltip
from batchlab.report.text import (
    axis_text,
    label_text,
    quantity_text,
    range_text,
    shown_quantity,
    term_text,
)
from batchlab.words.catalogue import text

if TYPE_CHECKING:
    import altair as alt

    Layers = list[alt.Chart]

View = Literal["epoch", "step", "equal_time_s"]


class Plot:
    """The chart of a quantity, and the marks of the rows that lie in it.

    A mark is a list of layers of the rows of one kind; what lies behind comes first.
    """

    def __init__(
        self,
        where: dict[str, str],
        quantity: str,
        looks: Sequence[Look],
        *,
        x: alt.X,
        y: alt.Y,
        series: Sequence[str] = (),
        after_zero: View | None = None,
    ) -> None:
        """The rows of a figure with the fields of `where`, on two axes.

        The values of the field `series` are told apart, by dashes or in words. Along training only
        rows beyond 0 may be drawn: `after_zero` names the place.
        """
        import altair as alt

        self.quantity, self.series = quantity, series
        rows = _with(alt.Chart(alt.NamedData(name=ROWS)), **where)
        if after_zero is not None:
            rows = rows.transform_filter(alt.FieldGTPredicate(field=after_zero, gt=0))
        self.across = rows.encode(x=x)
        self.placed = self.across.encode(y=y)
        names, title = [look.label for look in looks], label_text("batch_size")
        colors = [f"var({look.css_name})" for look in looks]
        # An empty list is no dash pattern in Vega; [1, 0] is a solid line.
        dashes = [list(look.dash) or [1, 0] for look in looks]
        shapes = [look.shape for look in looks]
        self.color = alt.Color("batch:N", title=title).scale(domain=names, range=colors)
        self.dash = alt.StrokeDash("batch:N", title=title).scale(domain=names, range=dashes)
        self.shape = alt.Shape("batch:N", title=title).scale(domain=names, range=shapes)

    def of(self, **fields: str | bool) -> alt.Chart:
        """The chart of the rows with these fields."""
        return _with(self.placed, **fields)

    def colored(self, **fields: str | bool) -> alt.Chart:
        """The same in the color of each batch size."""
        return self.of(**fields).encode(color=self.color)

    def drawn(self, *marks: Layers, at_the_edge: Layers | None = None) -> alt.LayerChart:
        """The chart of its marks; the nearest point answers the pointer."""
        import altair as alt

        layers = [layer for mark in marks for layer in mark]
        # What has no value stands at the edge, and answers the pointer itself.
        return alt.LayerChart(layer=[*layers, self._probe(), *(at_the_edge or ())])

    def points(self, kind: str = "point") -> Layers:
        """An estimate or a mean with its interval or range."""
        rows = self.colored(kind=kind)
        return [
            rows.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q"),
            rows.mark_point(filled=True, size=90, opacity=1).encode(shape=self.shape),
        ]

    def hollow(self) -> Layers:
        """An estimate that no run of its own stands for."""
        rows = self.colored(kind="open")
        return [
            rows.mark_rule(strokeWidth=1.2, strokeDash=[3, 2]).encode(y="low:Q", y2="high:Q"),
            rows.mark_point(size=80, strokeWidth=1.5).encode(shape=self.shape),
        ]

    def joined(self) -> Layers:
        """A line through the means, by `series`: solid of the first, then dashed."""
        import altair as alt

        line = self.of(kind="mean").mark_line(color=INK, opacity=0.45, strokeWidth=1.5)
        # One series has no dashes: the panels of an image share theirs, and the first would set
        # them.
        if len(self.series) < 2:
            return [line]
        dash = alt.StrokeDash("series:N").legend(None)
        dash = dash.scale(domain=list(self.series), range=[[1, 0], [4, 3]])
        return [line.encode(strokeDash=dash)]

    def runs(self) -> Layers:
        """Single runs, small circles."""
        return [self.colored(kind="run").mark_point(size=26, opacity=0.8, strokeWidth=1.2)]

    def bounds(self) -> Layers:
        """Arrows upwards: the figure is larger than this."""
        rows = self.colored(kind="bound")
        return [rows.mark_text(text="↑", fontSize=15, fontWeight="bold", dy=-5)]

    def crosses(self, **fields: str | bool) -> Layers:
        """Crosses at their values."""
        rows = self.colored(**fields)
        return [rows.mark_text(text="×", fontSize=16, fontWeight="bold", clip=True)]

    def lost(self, edge: Literal["top", "foot"]) -> Layers:
        """Trials without a value, crosses beside each other at an edge, with their own words."""
        import altair as alt

        is_top = edge == "top"
        rows = self.colored(kind="lost").transform_calculate(said=lost_tooltip())
        cross = rows.mark_text(
            text="×",
            fontSize=16,
            fontWeight="bold",
            baseline="top" if is_top else "bottom",
            dy=alt.expr(f"{12 if is_top else -14} * datum.place"),
            tooltip=alt.ExprRef(expr="datum.said"),
        )
        return [cross.encode(y=alt.value(0 if is_top else "height"))]

    def lines(self) -> Layers:
        """A thin line a batch size."""
        line = self.colored(kind="line").mark_line(strokeWidth=1.5, clip=True)
        return [line.encode(strokeDash=self.dash)]

    def means(self) -> Layers:
        """The mean over the seeds along training, with its range and a few marks."""
        rows = self.colored(run="mean")
        marks = self.colored(run="mean", marked=True).mark_point(filled=True, size=46, opacity=1)
        return [
            rows.mark_area(opacity=0.18, clip=True).encode(y="low:Q", y2="high:Q"),
            rows.mark_line(strokeWidth=2, clip=True).encode(strokeDash=self.dash),
            marks.encode(shape=self.shape),
        ]

    def bands(self) -> Layers:
        """A line with its interval, each a series."""
        rows = self.of(kind="band").encode(detail="series:N")
        area = rows.mark_area(color=INK, opacity=0.13, clip=True)
        return [
            area.encode(y="low:Q", y2="high:Q"),
            rows.mark_line(color=INK, opacity=0.5, strokeWidth=1.5, clip=True),
        ]

    def rules(self) -> Layers:
        """A dashed line a series, with its name where a row has one: what a law or a rule says."""
        rows = self.of(kind="rule").encode(detail="series:N")
        line = rows.mark_line(color=INK, opacity=0.6, strokeWidth=1.3, strokeDash=[4, 3], clip=True)
        words = rows.transform_filter("isValid(datum.text)").mark_text(
            color=INK, fontSize=11, align="right", dy=-9
        )
        return [line, words.encode(text="text:N")]

    def levels(self) -> Layers:
        """A value marked across the chart, with its words at the left."""
        import altair as alt

        rows = self.of(kind="level")
        words = rows.mark_text(color=INK, fontSize=11, align="left", baseline="bottom", dx=3, dy=-2)
        return [
            rows.mark_rule(color=INK, opacity=0.6, strokeDash=[5, 3]).encode(
                x=alt.value(0), x2=alt.value("width")
            ),
            words.encode(text="text:N", x=alt.value(0)),
        ]

    def places(self) -> Layers:
        """A batch size marked from top to foot, with its words at the top."""
        import altair as alt

        rows = _with(self.across, kind="place")
        words = _words(rows, away=4, fontSize=11, baseline="top")
        return [
            rows.mark_rule(color=INK, opacity=0.6, strokeDash=[2, 3], clip=True),
            words.encode(y=alt.value(2)),
        ]

    def spans(self) -> Layers:
        """A shaded range of batch sizes."""
        rows = _with(self.across, kind="span")
        return [rows.mark_rect(color=INK, opacity=0.09, clip=True).encode(x2="to_size")]

    def rings(self, **fields: str | bool) -> Layers:
        """A ring around what is chosen or named."""
        rows = self.of(**fields)
        return [rows.mark_point(size=260, strokeWidth=1.6, shape="circle", color=INK)]

    def named(self) -> Layers:
        """What an answer names, in a ring, with its interval and with its words above it."""
        bar = self.of(kind="verified").mark_rule(strokeWidth=2, color=INK)
        return [
            *self.rings(kind="ring"),
            bar.encode(y="low:Q", y2="high:Q"),
            *self.rings(kind="verified"),
            *self.words("named", away=0, fontSize=13, fontWeight="bold", dy=-20),
        ]

    def words(self, kind: str = "words", *, away: int = 11, **style: Any) -> Layers:
        """Words beside their place, on the side that has room."""
        return [_words(self.of(kind=kind), away=away, **style)]

    def _probe(self) -> alt.Chart:
        """A halo on the point nearest to the pointer, with its numbers.

        The tooltip is one expression and no channel: of a channel, Vega-Lite reads words in the
        wrong place for the nearest point ("undefined").
        """
        import altair as alt

        hover = alt.selection_point(
            name="hover", on="pointerover", clear="pointerout", nearest=True, empty=False
        )
        rows = self.placed.transform_filter(IS_POINT).transform_calculate(
            said=point_tooltip(self.quantity, self.series)
        )
        # Around each point the chart has a cell, whose datum holds the point.
        said = alt.ExprRef(expr="(datum.datum || datum).said")
        halo = rows.mark_point(filled=True, size=250, clip=True, tooltip=said)
        opacity = alt.condition(hover, alt.value(0.4), alt.value(0))
        halo = halo.encode(color=self.color, opacity=opacity).properties(name=PROBE)
        answering: alt.Chart = halo.add_params(hover)
        return answering


def _with(chart: alt.Chart, **fields: str | bool) -> alt.Chart:
    import altair as alt

    for name, value in fields.items():
        chart = chart.transform_filter(alt.FieldEqualPredicate(field=name, equal=value))
    return chart


def _words(rows: alt.Chart, *, away: int, **style: Any) -> alt.Chart:
    """Words with `datum.side` at their place, or in the middle of it."""
    import altair as alt

    drawn: dict[str, Any] = {"color": INK, "fontSize": 12, "baseline": "middle"} | style
    words = rows.mark_text(
        **drawn,
        align=alt.expr("datum.side || 'center'"),
        dx=alt.expr(f"datum.side == 'left' ? {away} : datum.side == 'right' ? -{away} : 0"),
    )
    told: alt.Chart = words.encode(text="text:N")
    return told


def drawn_looks(looks: Sequence[Look], rows: Iterable[Row]) -> Sequence[Look]:
    """The looks of the batch sizes that `rows` draw: an axis needs no room for others."""
    drawn = {row["batch"] for row in rows if "batch" in row}
    return [look for look in looks if look.label in drawn] or looks


def size_axis(looks: Sequence[Look]) -> alt.X:
    """The horizontal axis of batch sizes, in powers of two, with labels that fit."""
    import altair as alt

    sizes = [look.batch_size for look in looks]
    whole = sizes[-1] / sizes[0]
    room, apart = max(1.4, whole**0.07), max(1.3, whole ** (1 / 8))
    labels: list[int] = []
    for size in sizes:
        if not labels or size / labels[-1] >= apart:
            labels.append(size)
    return (
        alt.X("batch_size:Q")
        .scale(type="log", base=2, domain=[sizes[0] / room, sizes[-1] * room], nice=False)
        .axis(title=axis_text("batch_size"), values=labels, format="d", grid=False)
    )


def rate_axis(rates: Iterable[float]) -> alt.X:
    """The horizontal axis of learning rates: a label at each of a few, else at round ones."""
    import altair as alt

    run = sorted(set(rates))
    values = run if len(run) <= 6 else _round_values(run[0], run[-1], room=1.3)
    scale = alt.Scale(type="log", nice=False, domain=[run[0] / 1.3, run[-1] * 1.3])
    return alt.X("learning_rate:Q").scale(scale).axis(_axis("learning_rate", values, grid=False))


def along_axis(view: View, rows: Iterable[Row]) -> alt.X:
    """The horizontal axis along training, with a little room for what ends at the right.

    Epochs are linear, steps and time logarithmic, with equal ratios far from the initial weights
    where these are among the rows.
    """
    import altair as alt

    places = [float(row[view] or 0.0) for row in rows]
    first, last = min(places), max(places)
    if view == "epoch":
        values = None
        scale = alt.Scale(domain=[first, last + 0.02 * (last - first)], nice=False)
    elif first > 0:
        values = _round_values(first, last)
        scale = alt.Scale(type="log", domain=[first, last * (last / first) ** 0.02], nice=False)
    else:
        last = max(1.0, last)
        values = [0, *_round_values(1.0, last)]
        scale = alt.Scale(type="symlog", constant=1, domain=[0, last * 1.05], nice=False)
    return alt.X(f"{view}:Q").scale(scale).axis(_axis(view, values, grid=False))


def configuration_axis(configurations: Sequence[str]) -> alt.X:
    """The axis of a few configurations, from left to right; a bar breaks their lines."""
    import altair as alt

    return (
        alt.X("configuration:N")
        .scale(domain=list(configurations), type="point", padding=0.5)
        .axis(title=None, labelAngle=0, labelExpr="split(datum.label, '|')", labelOverlap=False)
    )


# The factors of `value_axis`: of quantities whose ratios count, and of a metric.
LOG_RATIO, LOG_METRIC = 2.5, 30.0
_LINEAR_ROOM, _LOG_ROOM = 0.05, 0.08  # shares of an axis that are free at both ends


def value_axis(
    quantity: str,
    rows: Iterable[Row],
    *,
    log_from: float = LOG_RATIO,
    above: float = _LINEAR_ROOM,
) -> alt.Y:
    """The vertical axis of the rows; logarithmic where they span a factor of `log_from`.

    Ratios count for most quantities. Of a metric differences do, but where a linear axis would
    hide its small values: a loss over its run. A linear axis has a share of itself free above, so
    that no mark lies on the frame.
    """
    import altair as alt

    low, high = _domain(rows)
    if low > 0 and high / low > log_from:
        room = (high / low) ** _LOG_ROOM
        values = _round_values(low, high, room=room)
        scale = alt.Scale(domain=[low / room, high * room], type="log", nice=False)
        return alt.Y("mean:Q").scale(scale).axis(_axis(quantity, values))
    span = high - low
    # An axis that reaches to 0 ends there.
    ends = [low - _LINEAR_ROOM * span if low else low, high + above * span if high else high]
    scale = alt.Scale(domain=ends, type="linear", nice=True, zero=False)
    return alt.Y("mean:Q").scale(scale).axis(_axis(quantity))


def _domain(rows: Iterable[Row]) -> tuple[float, float]:
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


# How many decades a logarithmic axis may span for these leading digits to have a label each.
_DIGITS: tuple[tuple[float, tuple[int, ...]], ...] = (
    (0.8, (1, 2, 3, 4, 6, 8)),
    (1.7, (1, 2, 5)),
    (3.5, (1, 3)),
    (math.inf, (1,)),
)


def _round_values(low: float, high: float, *, room: float = 1.0) -> list[float]:
    """Round values for a logarithmic axis, more of them where there is less than one decade.

    The axis reaches beyond the least and the greatest value by the factor `room`.
    """
    decades = math.log10(high / low)
    digits = next(digits for most, digits in _DIGITS if decades < most)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [digit * 10.0**power for power in powers for digit in digits]
    return [value for value in values if low / room <= value <= high * room]


def _axis(quantity: str, values: Sequence[float] | None = None, *, grid: bool = True) -> alt.Axis:
    """The axis of a quantity. Where labels carry the unit (2 ms, 30 MB) the title does not."""
    import altair as alt

    after = {"s": "s", "B": "B", "1/s": "/s"}.get(shown_quantity(quantity).unit)
    si = f"replace(format(datum.value, '~s'), /([a-zµ]*)$/i, ' $1') + '{after}'"
    axis = alt.Axis(
        title=axis_text(quantity) if after is None else label_text(quantity),
        grid=grid,
        # Of more values than it counts Vega drops every other.
        tickCount=5 if values is None else len(values),
        labelExpr=_PLAIN_LABEL if after is None else f"datum.label === '' ? '' : {si}",
    )
    if values is not None:
        axis.values = list(values)
    return axis


# Whole numbers from 10,000 on get a k, and small rates stay 0.0003 and not 3e-4 or 300µ.
_PLAIN_LABEL = (
    "datum.label === '' ? '' : abs(datum.value) >= 10000 ? format(datum.value, '~s')"
    " : abs(datum.value) >= 1e-4 || datum.value === 0 ? format(datum.value, '~g')"
    " : format(datum.value, '~e')"
)


def chart_text(what: str, axis: str, values: Iterable[str]) -> str:
    """What a chart shows against a quantity, and its numbers, for those who do not see it."""
    return text(
        "Chart of {what} against {axis}. {values}.",
        what=what,
        axis=label_text(axis),
        values="; ".join(values),
    )


_WHOLE = ("point", "open", "mean")  # the kinds of rows that stand for several runs


def row_values(quantity: str, rows: Iterable[Row], *, by: str = "batch") -> Iterator[str]:
    """The values of rows in words: "64: 4.1 s (95 %: 3.9 s to 4.3 s)", "128: more than 9 s".

    Single runs are told where nothing stands for them.
    """
    drawn = [row for row in rows if row["kind"] in (*_WHOLE, "bound", "run")]
    has_series = len({row.get("series") for row in drawn}) > 1
    whole = {(row[by], row.get("series")) for row in drawn if row["kind"] in _WHOLE}
    told: dict[str, list[str]] = {}
    for row in drawn:
        name, value = str(row[by]).replace("|", ", "), quantity_text(quantity, row["mean"])
        if row["kind"] == "run" and (row[by], row.get("series")) in whole:
            continue
        if has_series:
            name = f"{name} {term_text(str(row['series']))}"
        if row["kind"] == "bound":
            value = text("more than {bound}", bound=value)
        elif row.get("low") != row.get("high"):
            between = range_text(quantity, float(row["low"] or 0.0), float(row["high"] or 0.0))
            if row["kind"] != "mean":
                between = text("95 %: {interval}", interval=between)
            value = f"{value} ({between})"
        told.setdefault(name, []).append(value)
    for name, values in told.items():
        yield f"{name}: {', '.join(values)}"


def size_panel(
    rows: Iterable[Row],
    looks: Sequence[Look],
    key: str,
    quantity: str,
    title: str,
    *,
    what: str | None = None,
    series: Sequence[str] = (),
    log_from: float = LOG_RATIO,
    above: float = _LINEAR_ROOM,
    said: Sequence[str] = (),
) -> Panel:
    """A quantity against the batch size: its points, single runs and bounds, and what is told.

    Those of the rows that lie in the panel are drawn, on an axis of their batch sizes. For those
    who do not see it the title is told, or `what`, and what is `said` beside the values.
    """
    own = [row for row in rows if row["panel"] == key]
    if any(row["kind"] == "bound" for row in own):
        above = max(above, 0.12)  # an arrow needs more room than a circle

    def plot() -> alt.LayerChart:
        x = size_axis(drawn_looks(looks, own))
        y = value_axis(quantity, own, log_from=log_from, above=above)
        chart = Plot({"panel": key}, quantity, looks, x=x, y=y, series=series)
        return chart.drawn(
            chart.spans(),
            chart.places(),
            chart.joined(),
            chart.bands(),
            chart.levels(),
            chart.rules(),
            chart.runs(),
            chart.bounds(),
            chart.points(),
            chart.points("mean"),
            chart.hollow(),
            chart.crosses(kind="as_is"),
            chart.words(),
            chart.named(),
        )

    words = chart_text(what or title, "batch_size", [*row_values(quantity, own), *said])
    return Panel(key=key, title=title, alternative=words, plot=plot)
