"""Advice plots: from named rows to the charts of an advice.

A row's field `kind` says how it is drawn; a chart has the layers of the kinds that it is given:

    span   a shaded range of batch sizes         level  a value marked across the chart
    place  a batch size marked from top to foot  band   a line with its interval, by `series`
    rule   a dashed line, by `series`            run    one training run, a small circle
    bound  a run that missed the target          point  an estimate with its interval
    open   an estimate without runs of its own   line   a line a batch size
    lost   a run that ended badly, at the top    as_is  a run of the reference as it is
    ring   what is recommended                   words  a few words at a place
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from batchlab.records.quantities import quantity
from batchlab.report.parts.palette import Look
from batchlab.report.parts.plots import (
    Canvas,
    batch_colour,
    batch_dash,
    batch_shape,
    batch_size_x,
    literal,
    quantity_axis,
    sized,
    value_scale,
)

if TYPE_CHECKING:
    import altair as alt

_Draw = Callable[["alt.Chart", "_Style"], list["alt.Chart"]]


class _Style:
    """What all layers of a chart share: its quantity, its looks, where it is drawn."""

    def __init__(self, name: str, looks: Sequence[Look], canvas: Canvas) -> None:
        self.name, self.looks, self.canvas = name, looks, canvas

    def coloured(self, chart: alt.Chart) -> alt.Chart:
        """The same with the colour of each batch size."""
        return chart.encode(color=batch_colour(self.looks, self.canvas))

    def tooltip(self) -> list[alt.Tooltip]:
        """The numbers of an estimate."""
        import altair as alt

        number = ".4~s" if quantity(self.name).unit in ("s", "B", "1/s") else ".4~g"
        return [
            alt.Tooltip("batch:N", title=quantity("batch_size").label),
            alt.Tooltip("mean:Q", title=quantity(self.name).axis, format=number),
            alt.Tooltip("low:Q", title="95 %, from", format=number),
            alt.Tooltip("high:Q", title="to", format=number),
            alt.Tooltip("n:Q", title="observations", format="d"),
        ]


def size_plot(
    data: str,
    *,
    panel: str,
    name: str,
    kinds: frozenset[str],
    domain: tuple[float, float],
    looks: Sequence[Look],
    canvas: Canvas,
) -> alt.LayerChart | alt.FacetChart:
    """A quantity against the batch size: what was measured, what was fitted, what follows.

    Args:
        data: name of the rows.
        panel: those rows are drawn whose field `panel` is this.
        name: the quantity on the vertical axis.
        kinds: values of the field `kind` that these rows have.
        domain: lowest and highest value of the quantity.
        looks: how the batch sizes are drawn.
        canvas: where it is drawn.
    """
    import altair as alt

    base = _base(data, panel).encode(x=batch_size_x(looks))
    style = _Style(name, looks, canvas)
    layers = _layers(base, base.encode(y=_ratio_y(name, domain)), kinds, style)
    return sized(canvas, alt.layer(*layers))


def basin_plot(
    data: str,
    *,
    panel: str,
    name: str,
    kinds: frozenset[str],
    rates: Sequence[float],
    domain: tuple[float, float],
    looks: Sequence[Look],
    canvas: Canvas,
) -> alt.LayerChart | alt.FacetChart:
    """A quantity against the learning rate, a line a batch size.

    Args:
        data: name of the rows.
        panel: those rows are drawn whose field `panel` is this.
        name: the quantity on the vertical axis.
        kinds: values of the field `kind` that these rows have.
        rates: lowest and highest learning rate.
        domain: lowest and highest value of the quantity.
        looks: how the batch sizes are drawn.
        canvas: where it is drawn.
    """
    import altair as alt

    x = (
        alt.X("learning_rate:Q")
        .scale(type="log", nice=False, domain=[rates[0] / 1.3, rates[-1] * 1.3])
        .axis(_ratio_axis("learning_rate", (rates[0], rates[-1]), grid=False))
    )
    base = _base(data, panel).encode(x=x)
    layers = _layers(
        base, base.encode(y=_ratio_y(name, domain)), kinds, _Style(name, looks, canvas)
    )
    return sized(canvas, alt.layer(*layers))


def seeds_plot(
    data: str,
    *,
    panel: str,
    name: str,
    kinds: frozenset[str],
    configurations: Sequence[str],
    domain: tuple[float, float],
    looks: Sequence[Look],
    canvas: Canvas,
) -> alt.LayerChart | alt.FacetChart:
    """A quantity of a few configurations, a thin line a seed from one to the next.

    Args:
        data: name of the rows.
        panel: those rows are drawn whose field `panel` is this.
        name: the quantity on the vertical axis.
        kinds: values of the field `kind` that these rows have.
        configurations: values of the field `configuration`, from left to right; a bar breaks lines.
        domain: lowest and highest value of the quantity.
        looks: how the batch sizes are drawn.
        canvas: where it is drawn.
    """
    import altair as alt

    x = (
        alt.X("configuration:N")
        .scale(domain=list(configurations), type="point", padding=0.5)
        .axis(title=None, labelAngle=0, labelExpr="split(datum.label, '|')", labelOverlap=False)
    )
    base = _base(data, panel).encode(x=x)
    placed = base.encode(y=_ratio_y(name, domain))
    lines = placed.transform_filter("datum.kind == 'run'").mark_line(
        color=canvas.text, opacity=0.35, strokeWidth=1
    )
    layers = _layers(base, placed, kinds, _Style(name, looks, canvas))
    return sized(canvas, alt.layer(lines.encode(detail="seed:N"), *layers))


def progress_plot(
    data: str,
    *,
    panel: str,
    metric: str,
    kinds: frozenset[str],
    times_s: tuple[float, float],
    domain: tuple[float, float],
    looks: Sequence[Look],
    canvas: Canvas,
) -> alt.LayerChart | alt.FacetChart:
    """The metric along the training time, a line a run; the target is a level.

    Args:
        data: name of the rows.
        panel: those rows are drawn whose field `panel` is this.
        metric: the metric on the vertical axis.
        kinds: values of the field `kind` that these rows have.
        times_s: first and last time.
        domain: lowest and highest value of the metric.
        looks: how the batch sizes are drawn.
        canvas: where it is drawn.
    """
    import altair as alt

    x = (
        alt.X("equal_time_s:Q")
        .scale(type="log", nice=False)
        .axis(_ratio_axis("equal_time_s", times_s, grid=False))
    )
    y = alt.Y("mean:Q").scale(value_scale(domain)).axis(quantity_axis(metric, ticks=5))
    base = _base(data, panel).encode(x=x)
    placed = base.encode(y=y)
    style = _Style(metric, looks, canvas)
    dash = (
        alt.StrokeDash("series:N")
        .legend(None)
        .scale(
            domain=["recommended", "reference, tuned", "reference"], range=[[1, 0], [6, 3], [1, 3]]
        )
    )
    lines = (
        style.coloured(placed.transform_filter("datum.kind == 'curve'"))
        .mark_line(strokeWidth=1.6, opacity=0.85, clip=True)
        .encode(detail="run:N", strokeDash=dash)
    )
    return sized(canvas, alt.layer(*_layers(base, placed, kinds, style), lines))


def _ratio_y(name: str, domain: tuple[float, float]) -> alt.Y:
    """The vertical axis of a quantity whose ratios count."""
    import altair as alt

    return alt.Y("mean:Q").scale(_ratio_scale(domain)).axis(_ratio_axis(name, domain))


def _base(data: str, panel: str) -> alt.Chart:
    import altair as alt

    return alt.Chart(alt.NamedData(name=data)).transform_filter(f"datum.panel == {literal(panel)}")


def _layers(
    base: alt.Chart, placed: alt.Chart, kinds: frozenset[str], style: _Style
) -> list[alt.Chart]:
    """The layers of `kinds`, what lies behind first; `placed` has a vertical axis, `base` none."""
    layers: list[alt.Chart] = []
    for kind, draw in _BEHIND.items():
        if kind in kinds:
            layers += draw(base.transform_filter(f"datum.kind == '{kind}'"), style)
    for kind, draw in _DRAWN.items():
        if kind in kinds:
            layers += draw(placed.transform_filter(f"datum.kind == '{kind}'"), style)
    return layers


def _span(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    """Within two values of the horizontal axis, from top to foot."""
    return [chart.mark_rect(color=style.canvas.text, opacity=0.09, clip=True).encode(x2="to_size")]


def _place(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    """A vertical line; its words stand at the top, on the side that has room."""
    import altair as alt

    rule = chart.mark_rule(color=style.canvas.text, opacity=0.6, strokeDash=[2, 3], clip=True)
    return [
        rule,
        *(
            chart.transform_filter(f"datum.side == '{side}'")
            .mark_text(
                color=style.canvas.text, fontSize=11, align=side, baseline="top", dx=dx / 2.5
            )
            .encode(text="text:N", y=alt.value(2))
            for side, dx in _SIDES
        ),
    ]


def _level(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    """A horizontal line; its words stand above it at the left."""
    import altair as alt

    words = chart.mark_text(
        color=style.canvas.text, fontSize=11, align="left", baseline="bottom", dx=3, dy=-2
    )
    return [
        chart.mark_rule(color=style.canvas.text, opacity=0.6, strokeDash=[5, 3]).encode(
            x=alt.value(0), x2=alt.value("width")
        ),
        words.encode(text="text:N", x=alt.value(0)),
    ]


def _band(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    ink = style.canvas.text
    return [
        chart.mark_area(color=ink, opacity=0.13, clip=True).encode(
            y="low:Q", y2="high:Q", detail="series:N"
        ),
        chart.mark_line(color=ink, opacity=0.5, strokeWidth=1.5, clip=True).encode(
            detail="series:N"
        ),
    ]


def _rule(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    """A dashed line a series; a row with words names it there."""
    ink = style.canvas.text
    return [
        chart.mark_line(color=ink, opacity=0.6, strokeWidth=1.3, strokeDash=[4, 3], clip=True)
        .encode(detail="series:N"),
        chart.transform_filter("isValid(datum.text)")
        .mark_text(color=ink, fontSize=11, align="right", dy=-9)
        .encode(text="text:N"),
    ]  # fmt: skip


def _line(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    dash = batch_dash(style.looks, style.canvas)
    return [style.coloured(chart).mark_line(strokeWidth=1.5, clip=True).encode(strokeDash=dash)]


def _run(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    return [style.coloured(chart).mark_point(size=26, opacity=0.8, strokeWidth=1.2)]


def _bound(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    """An arrow upwards: the figure is larger than this."""
    return [style.coloured(chart).mark_text(text="↑", fontSize=15, fontWeight="bold", dy=-5)]


def _lost(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    """A run that ended badly: a cross at the top."""
    import altair as alt

    cross = style.coloured(chart).mark_text(
        text="×", fontSize=15, fontWeight="bold", baseline="top", dy=alt.expr("12 * datum.place")
    )
    return [cross.encode(y=alt.value(0))]


def _point(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    coloured = style.coloured(chart)
    return [
        coloured.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q"),
        coloured.mark_point(filled=True, size=90, opacity=1).encode(
            shape=batch_shape(style.looks, style.canvas), tooltip=style.tooltip()
        ),
    ]


def _open(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    """An estimate that no run of its own stands for."""
    coloured = style.coloured(chart)
    return [
        coloured.mark_rule(strokeWidth=1.2, strokeDash=[3, 2]).encode(y="low:Q", y2="high:Q"),
        coloured.mark_point(size=80, strokeWidth=1.5).encode(
            shape=batch_shape(style.looks, style.canvas), tooltip=style.tooltip()
        ),
    ]


def _as_is(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    return [style.coloured(chart).mark_text(text="×", fontSize=18, fontWeight="bold")]


def _ring(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    return [chart.mark_point(size=260, strokeWidth=1.6, shape="circle", color=style.canvas.text)]


def _words(chart: alt.Chart, style: _Style) -> list[alt.Chart]:
    """Words beside a place, on the side that has room."""
    return [
        chart.transform_filter(f"datum.side == '{side}'")
        .mark_text(color=style.canvas.text, fontSize=11, align=side, baseline="middle", dx=dx)
        .encode(text="text:N")
        for side, dx in _SIDES
    ]


_SIDES: tuple[tuple[Literal["left", "right"], int], ...] = (("left", 11), ("right", -11))
_BEHIND: dict[str, _Draw] = {"span": _span, "place": _place, "lost": _lost}
_DRAWN: dict[str, _Draw] = {
    "band": _band,
    "level": _level,
    "rule": _rule,
    "line": _line,
    "run": _run,
    "bound": _bound,
    "point": _point,
    "open": _open,
    "as_is": _as_is,
    "ring": _ring,
    "words": _words,
}


_ROOM = 0.08  # share of the axis that stays free at both ends
# How many decades an axis may span for these leading digits to have a label each.
_DIGITS: tuple[tuple[float, tuple[int, ...]], ...] = (
    (0.8, (1, 2, 3, 4, 6, 8)),
    (1.7, (1, 2, 5)),
    (3.5, (1, 3)),
    (math.inf, (1,)),
)


def _is_ratio(domain: tuple[float, float]) -> bool:
    """Whether equal ratios should be equally far apart: where values span a factor of 2.5."""
    return domain[0] > 0 and domain[1] / domain[0] > 2.5


def _ratio_scale(domain: tuple[float, float]) -> alt.Scale:
    import altair as alt

    if not _is_ratio(domain):
        return alt.Scale(domain=list(domain), type="linear", nice=True, zero=False)
    room = (domain[1] / domain[0]) ** _ROOM
    return alt.Scale(domain=[domain[0] / room, domain[1] * room], type="log", nice=False)


def _ratio_axis(name: str, domain: tuple[float, float], *, grid: bool = True) -> alt.Axis:
    """Labels at 1, 2 and 5 of a decade, more of them where there is less than one decade."""
    axis = quantity_axis(name, ticks=5, grid=grid)
    if _is_ratio(domain):
        decades = math.log10(domain[1] / domain[0])
        digits = next(digits for most, digits in _DIGITS if decades < most)
        powers = range(math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1])) + 1)
        values = [digit * 10.0**power for power in powers for digit in digits]
        room = (domain[1] / domain[0]) ** _ROOM
        kept = [v for v in values if domain[0] / room <= v <= domain[1] * room]
        axis.values = kept
        axis.tickCount = len(kept)  # of more values than it counts Vega drops every other one
    return axis
