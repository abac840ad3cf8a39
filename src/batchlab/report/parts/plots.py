"""Plots: one function a kind of figure, from named data to an Altair chart.

The data of a chart is only named here (`rows` of a figure travel beside it), so that the panels of
a figure share one copy. Altair is imported when a plot is made: it costs a third of a second.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from batchlab.records.quantities import quantity
from batchlab.report.parts.palette import Look

if TYPE_CHECKING:
    import altair as alt

View = Literal["epoch", "step", "equal_time_s"]

SIZE = (400, 280)  # pixels of a panel, axes and titles within


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """Where a chart is drawn, and the colours there that stand for no batch size.

    Attributes:
        text: colour of labels and titles.
        faint: colour of grid lines.
        in_page: whether colours are CSS variables that follow the reader's colour scheme, and a
            script answers the pointer.
    """

    text: str
    faint: str
    in_page: bool

    def of(self, look: Look) -> str:
        """The colour of a batch size."""
        return f"var({look.css_name})" if self.in_page else look.light


PAGE = Canvas(text="var(--text)", faint="var(--grid)", in_page=True)
PAPER = Canvas(text="#1b1f24", faint="#d5d9df", in_page=False)
PROBE = "probe"  # name of the layer that answers the pointer


def curve_plot(
    data: str,
    *,
    view: View,
    split: str,
    metric: str,
    runs: frozenset[str],
    places: tuple[float, float],
    domain: tuple[float, float],
    looks: Sequence[Look],
    canvas: Canvas,
) -> alt.LayerChart | alt.FacetChart:
    """A metric of one split along training: a line a batch size, a band over its seeds.

    Args:
        data: name of the rows; see `batchlab.report.sweep.figures`.
        view: the field of the horizontal axis; epochs are linear, steps and time logarithmic.
        split: "train", "validation" or "test".
        metric: name of the metric.
        runs: values of the field `run` that these rows have: "mean" and trials drawn alone.
        places: first and last place on the horizontal axis, shared by the panels of all splits.
        domain: lowest and highest value of the metric, shared by the panels of all splits.
        looks: how the batch sizes are drawn.
        canvas: where it is drawn.
    """
    import altair as alt

    base = alt.Chart(alt.NamedData(name=data)).transform_filter(
        f"datum.split == '{split}' && datum.metric == {literal(metric)} && isValid(datum.{view})"
        " && datum.step > 0"
    )
    first, last = places
    if view == "epoch":  # a little room on the right, so that what ends there is whole
        x_scale = alt.Scale(domain=[first, last + 0.02 * (last - first)], nice=False)
    else:
        x_scale = alt.Scale(type="log", domain=[first, last * (last / first) ** 0.02], nice=False)
    x = alt.X(f"{view}:Q").scale(x_scale).axis(quantity_axis(view, grid=False, ticks=5))
    y = alt.Y("mean:Q").scale(value_scale(domain)).axis(value_axis(metric, domain))
    base = base.encode(x=x, y=y, color=batch_colour(looks, canvas))
    layers = []
    if "mean" in runs:
        layers += _mean_layers(base.transform_filter("datum.run == 'mean'"), looks, canvas)
    if runs - {"mean"}:
        layers += _lone_layers(base.transform_filter("datum.run != 'mean'"))
    if canvas.in_page:
        layers.append(_probe(base, _curve_tooltip(metric)))
    return sized(canvas, alt.layer(*layers))


def _mean_layers(base: alt.Chart, looks: Sequence[Look], canvas: Canvas) -> list[alt.Chart]:
    """The band over the seeds, the line of their means and the points that tell lines apart."""
    return [
        base.mark_area(opacity=0.18, clip=True).encode(y="low:Q", y2="high:Q"),
        base.mark_line(strokeWidth=2, clip=True).encode(strokeDash=batch_dash(looks, canvas)),
        base.transform_filter("datum.marked")
        .mark_point(filled=True, size=46, opacity=1)
        .encode(shape=batch_shape(looks, canvas)),
    ]


def _lone_layers(base: alt.Chart) -> list[alt.Chart]:
    """Trials that are in no mean: a thin dotted line each, with a cross where it ended badly."""
    return [
        base.mark_line(strokeWidth=1, opacity=0.75, clip=True, strokeDash=[1, 3]).encode(
            detail="run:N"
        ),
        base.transform_filter("datum.marked").mark_text(
            text="×", fontSize=15, fontWeight="bold", clip=True
        ),
    ]


def _probe(base: alt.Chart, tooltip: list[alt.Tooltip]) -> alt.Chart:
    """A halo on the point under the pointer, with its numbers.

    Not `nearest`: Vega-Lite then reads words (the batch size) from the wrong place, "undefined".
    """
    import altair as alt

    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", empty=False)
    halo = base.mark_point(filled=True, size=250, clip=True).encode(
        opacity=alt.condition(hover, alt.value(0.4), alt.value(0)), tooltip=tooltip
    )
    probe: alt.Chart = halo.add_params(hover).properties(name=PROBE)
    return probe


def batch_size_plot(
    data: str,
    *,
    panel: str,
    name: str,
    series: Sequence[str],
    domain: tuple[float, float],
    zero_line: bool,
    looks: Sequence[Look],
    canvas: Canvas,
) -> alt.LayerChart | alt.FacetChart:
    """A quantity against the batch size: each observation, their mean or median, and their range.

    Args:
        data: name of the rows.
        panel: those rows are drawn whose field `panel` is this.
        name: the quantity on the vertical axis.
        series: values of the field `series`: the first is a solid line, the second a dashed one.
        domain: lowest and highest value of the quantity.
        zero_line: whether a line marks 0.
        looks: how the batch sizes are drawn.
        canvas: where it is drawn.
    """
    import altair as alt

    base = alt.Chart(alt.NamedData(name=data)).transform_filter(f"datum.panel == {literal(panel)}")
    y = alt.Y("mean:Q").scale(value_scale(domain)).axis(value_axis(name, domain))
    base = base.encode(x=batch_size_x(looks), y=y)
    coloured = base.encode(color=batch_colour(looks, canvas))
    whole, single = "datum.whole", "!datum.whole"
    series_dash = alt.StrokeDash("series:N").scale(
        domain=list(series), range=[[1, 0], [4, 3]][: len(series)]
    )
    layers = [
        base.transform_filter(whole)
        .mark_line(color=canvas.text, opacity=0.45, strokeWidth=1.5)
        .encode(strokeDash=series_dash.legend(None)),
        coloured.transform_filter(whole).mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q"),
        coloured.transform_filter(single).mark_point(size=22, opacity=0.7, strokeWidth=1),
        coloured.transform_filter(whole)
        .mark_point(filled=True, size=110, opacity=1)
        .encode(shape=batch_shape(looks, canvas), tooltip=_size_tooltip(name, len(series) > 1)),
    ]
    if zero_line:
        zero = alt.Chart(alt.NamedData(name=data)).mark_rule(color=canvas.text, opacity=0.5)
        layers.insert(0, zero.encode(y=alt.datum(0)))
    return sized(canvas, alt.layer(*layers))


def rate_plot(
    data: str,
    *,
    metric: str,
    rates: Sequence[float],
    domain: tuple[float, float],
    looks: Sequence[Look],
    canvas: Canvas,
) -> alt.LayerChart | alt.FacetChart:
    """The final metric against the learning rate: a line a batch size, a band over its seeds.

    Trials that ended badly stand on the horizontal axis as crosses; the rate that the other
    figures show has a ring.

    Args:
        data: name of the rows.
        metric: name of the metric.
        rates: the learning rates that were run.
        domain: lowest and highest value of the metric.
        looks: how the batch sizes are drawn.
        canvas: where it is drawn.
    """
    import altair as alt

    x_axis = quantity_axis("learning_rate", grid=False, ticks=6)
    x_axis.values = list(rates)
    x = alt.X("learning_rate:Q").scale(type="log", nice=False, padding=18).axis(x_axis)
    base = alt.Chart(alt.NamedData(name=data)).encode(x=x, color=batch_colour(looks, canvas))
    y = alt.Y("mean:Q").scale(value_scale(domain)).axis(value_axis(metric, domain))
    averaged = base.transform_filter("datum.run == 'mean'").encode(y=y)
    cell = [
        alt.Tooltip("batch:N", title=quantity("batch_size").label),
        alt.Tooltip("learning_rate:Q", title=quantity("learning_rate").label),
    ]
    layers = [
        averaged.mark_area(opacity=0.18).encode(y="low:Q", y2="high:Q"),
        averaged.mark_line(strokeWidth=2).encode(strokeDash=batch_dash(looks, canvas)),
        averaged.transform_filter("datum.chosen").mark_point(
            size=190, strokeWidth=1.5, shape="circle"
        ),
        averaged.mark_point(filled=True, size=70, opacity=1).encode(
            shape=batch_shape(looks, canvas), tooltip=[*cell, *_spread_tooltip(metric)]
        ),
        base.transform_filter("datum.run != 'mean'")
        .mark_text(
            text="×",
            fontSize=17,
            fontWeight="bold",
            baseline="bottom",
            dy=alt.expr("-14 * datum.place"),
        )
        .encode(
            y=alt.value("height"),
            tooltip=[*cell, alt.Tooltip("run:N", title="trial")],
        ),
    ]
    return sized(canvas, alt.layer(*layers))


def batch_size_x(looks: Sequence[Look]) -> alt.X:
    """The horizontal axis of batch sizes, in powers of two."""
    import altair as alt

    sizes = [look.batch_size for look in looks]
    return (
        alt.X("batch_size:Q")
        .scale(type="log", base=2, domain=padded_sizes(sizes), nice=False)
        .axis(
            title=quantity("batch_size").axis,
            values=spaced_sizes(sizes),
            format="d",
            grid=False,
        )
    )


def batch_colour(looks: Sequence[Look], canvas: Canvas) -> alt.Color:
    """The colour of each batch size."""
    import altair as alt

    colours = [canvas.of(look) for look in looks]
    return alt.Color("batch:N").legend(_legend(canvas)).scale(_scale(looks, colours))


def batch_dash(looks: Sequence[Look], canvas: Canvas) -> alt.StrokeDash:
    """The dash of each batch size's lines."""
    import altair as alt

    # An empty list is no dash pattern in Vega; [1, 0] is a solid line.
    dashes = [list(look.dash) or [1, 0] for look in looks]
    return alt.StrokeDash("batch:N").legend(_legend(canvas)).scale(_scale(looks, dashes))


def batch_shape(looks: Sequence[Look], canvas: Canvas) -> alt.Shape:
    """The shape of each batch size's points."""
    import altair as alt

    shapes = [look.shape for look in looks]
    return alt.Shape("batch:N").legend(_legend(canvas)).scale(_scale(looks, shapes))


def _scale(looks: Sequence[Look], values: Sequence[str | list[int]]) -> alt.Scale:
    import altair as alt

    return alt.Scale(domain=[look.label for look in looks], range=[*values])


def _legend(canvas: Canvas) -> alt.Legend | None:
    """The page has one legend for all its charts; an image has its own."""
    import altair as alt

    return None if canvas.in_page else alt.Legend(title=quantity("batch_size").label)


def _spans_magnitudes(domain: tuple[float, float]) -> bool:
    """Whether a linear axis would hide the small values: a loss over its run, a step's time."""
    return domain[0] > 0 and domain[1] / domain[0] > 30


def value_scale(domain: tuple[float, float]) -> alt.Scale:
    """The scale of a quantity: logarithmic where its values span magnitudes."""
    import altair as alt

    if _spans_magnitudes(domain):
        room = (domain[1] / domain[0]) ** 0.04
        return alt.Scale(domain=[domain[0] / room, domain[1] * room], type="log", nice=False)
    return alt.Scale(domain=list(domain), type="linear", nice=True, zero=False)


def value_axis(name: str, domain: tuple[float, float]) -> alt.Axis:
    """The axis of a quantity; a logarithmic one has a grid line at 1, 2 and 5 of a decade."""
    axis = quantity_axis(name, ticks=5)
    if _spans_magnitudes(domain):
        decades = range(math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1])))
        digits = (1, 2, 5) if len(decades) <= 2 else (1,)
        axis.values = [
            value
            for decade in decades
            for digit in digits
            if domain[0] <= (value := digit * 10.0**decade) <= domain[1]
        ]
    return axis


def quantity_axis(name: str, *, ticks: int, grid: bool = True) -> alt.Axis:
    """The axis of a quantity. Where labels carry the unit (2 ms, 30 MB) the title does not."""
    import altair as alt

    unit = quantity(name).unit
    after = {"s": "s", "B": "B", "1/s": "/s"}.get(unit)
    title = quantity(name).axis if after is None else quantity(name).label
    if after is None:
        return alt.Axis(title=title, grid=grid, tickCount=ticks, labelExpr=_PLAIN_LABEL)
    return alt.Axis(
        title=title,
        grid=grid,
        tickCount=ticks,
        labelExpr=f"datum.label === '' ? '' : replace(format(datum.value, '~s'), /([a-zµ]*)$/i, "
        f"' $1') + '{after}'",
    )


# Whole numbers from 10,000 on get a k, and small rates stay 0.0003 and not 3e-4 or 300µ.
_PLAIN_LABEL = (
    "datum.label === '' ? '' : abs(datum.value) >= 10000 ? format(datum.value, '~s')"
    " : abs(datum.value) >= 1e-4 || datum.value === 0 ? format(datum.value, '~g')"
    " : format(datum.value, '~e')"
)


def _curve_tooltip(metric: str) -> list[alt.Tooltip]:
    import altair as alt

    return [
        alt.Tooltip("batch:N", title=quantity("batch_size").label),
        alt.Tooltip("run:N", title="line"),
        alt.Tooltip("epoch:Q", title=quantity("epoch").label, format=".4~g"),
        alt.Tooltip("step:Q", title=quantity("step").label, format="d"),
        alt.Tooltip("equal_time_s:Q", title=quantity("equal_time_s").axis, format=".3~g"),
        *_spread_tooltip(metric),
    ]


def _size_tooltip(name: str, named_series: bool) -> list[alt.Tooltip]:
    import altair as alt

    series = [alt.Tooltip("series:N", title="of")] if named_series else []
    title = quantity("batch_size").label
    return [alt.Tooltip("batch:N", title=title), *series, *_spread_tooltip(name)]


def _spread_tooltip(name: str) -> list[alt.Tooltip]:
    import altair as alt

    number = ".4~s" if quantity(name).unit else ".4~g"
    return [
        alt.Tooltip("mean:Q", title=quantity(name).axis, format=number),
        alt.Tooltip("low:Q", title="lowest", format=number),
        alt.Tooltip("high:Q", title="highest", format=number),
        alt.Tooltip("n:Q", title="observations", format="d"),
    ]


def padded_sizes(sizes: Sequence[int]) -> list[float]:
    """Room of half an octave, more where the range is wide, on both sides of the batch sizes."""
    ratio = max(1.4, (sizes[-1] / sizes[0]) ** 0.07)
    return [sizes[0] / ratio, sizes[-1] * ratio]


def spaced_sizes(sizes: Sequence[int]) -> list[int]:
    """The batch sizes whose labels fit beside each other on a logarithmic axis."""
    kept: list[int] = []
    step = max(1.3, (sizes[-1] / sizes[0]) ** (1 / 8))
    for size in sizes:
        if not kept or size / kept[-1] >= step:
            kept.append(size)
    return kept


def sized(
    canvas: Canvas, chart: alt.LayerChart | alt.FacetChart
) -> alt.LayerChart | alt.FacetChart:
    """On the page a panel fits its box; on paper the frames of all panels are equal."""
    import altair as alt

    if not canvas.in_page:
        return chart.properties(width=SIZE[0] - 80, height=SIZE[1] - 60)
    fit = alt.AutoSizeParams(type="fit", contains="padding")
    return chart.properties(width=SIZE[0], height=SIZE[1], autosize=fit)


def literal(text: str) -> str:
    """A Vega string literal: names of metrics are a user's text."""
    return json.dumps(text)
