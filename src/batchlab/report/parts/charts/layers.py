"""Layers: the marks of a chart, one function a kind of row.

A chart has the layers of the kinds that it is given, in the order of the tables at the foot. Most
rows say their kind in a field:

    span   a shaded range of batch sizes         level  a value marked across the chart
    place  a batch size marked from top to foot  band   a line with its interval, by `series`
    rule   a dashed line, by `series`            run    one training run, a small circle
    bound  a run that missed the target          point  an estimate with its interval
    open   an estimate without runs of its own   line   a line a batch size
    lost   a run that ended badly, at the top    as_is  a run of the reference as it is
    ring   what is recommended                   words  a few words at a place
    named  the same in words, above its mark    verified  the same with its interval
    curve  a run along training, by `series`     joined a line a seed through its runs

The rows of a sweep are told apart by what they hold:

    seeds   the mean over the seeds with its range   lone    a trial that is in no mean
    marks   shapes along a line of means             cross   that such a trial ended badly
    chosen  the rate that is shown elsewhere         foot    the same where it has no value
    mean    one mean with its numbers                whole   a quantity of a batch size, its range
    single  one observation of it                    zero    a line at 0
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from batchlab.report.parts.charts.probe import probe
from batchlab.report.parts.charts.style import Style
from batchlab.report.parts.charts.tooltips import trial_tooltip

if TYPE_CHECKING:
    import altair as alt

Draw = Callable[["alt.Chart", Style], list["alt.Chart"]]


def layers(
    base: alt.Chart, placed: alt.Chart, kinds: frozenset[str], style: Style
) -> list[alt.Chart]:
    """The layers of `kinds`, what lies behind first; `placed` has a vertical axis, `base` none.

    On a page the last but one answers the pointer.
    """
    assert kinds <= KINDS, f"no layer draws {', '.join(sorted(kinds - KINDS))}"
    drawn = [
        *(draw(_rows(base, kind), style) for kind, draw in _BEHIND if kind in kinds),
        *(draw(_rows(placed, kind), style) for kind, draw in _DRAWN if kind in kinds),
        probe(placed, style),
        # What has no value stands at the edge, and answers the pointer itself.
        *(draw(_rows(base, kind), style) for kind, draw in _AT_THE_EDGE if kind in kinds),
    ]
    return [layer for group in drawn for layer in group]


def _rows(chart: alt.Chart, kind: str) -> alt.Chart:
    """The chart of the rows of one kind."""
    rows = _ROWS.get(kind, f"datum.kind == '{kind}'")
    return chart if rows is None else chart.transform_filter(rows)


# Rows without a field `kind`; None: the kind draws all rows, or none.
_ROWS: dict[str, str | None] = {
    "seeds": "datum.run == 'mean'",
    "marks": "datum.run == 'mean' && datum.marked",
    "chosen": "datum.run == 'mean' && datum.chosen",
    "mean": "datum.run == 'mean'",
    "lone": "datum.run != 'mean'",
    "cross": "datum.run != 'mean' && datum.marked",
    "foot": "datum.run != 'mean'",
    "whole": "datum.whole",
    "single": "datum.whole === false",
    "joined": "datum.kind == 'run'",
    "zero": None,
}


def _span(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """Within two values of the horizontal axis, from top to foot."""
    return [chart.mark_rect(color=style.canvas.text, opacity=0.09, clip=True).encode(x2="to_size")]


def _place(chart: alt.Chart, style: Style) -> list[alt.Chart]:
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


def _level(chart: alt.Chart, style: Style) -> list[alt.Chart]:
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


def _band(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    ink = style.canvas.text
    return [
        chart.mark_area(color=ink, opacity=0.13, clip=True).encode(
            y="low:Q", y2="high:Q", detail="series:N"
        ),
        chart.mark_line(color=ink, opacity=0.5, strokeWidth=1.5, clip=True).encode(
            detail="series:N"
        ),
    ]


def _rule(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """A dashed line a series; a row with words names it there."""
    ink = style.canvas.text
    line = chart.mark_line(color=ink, opacity=0.6, strokeWidth=1.3, strokeDash=[4, 3], clip=True)
    named = chart.transform_filter("isValid(datum.text)")
    words = named.mark_text(color=ink, fontSize=11, align="right", dy=-9)
    return [line.encode(detail="series:N"), words.encode(text="text:N")]


def _line(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    line = style.coloured(chart).mark_line(strokeWidth=1.5, clip=True)
    return [line.encode(strokeDash=style.dash())]


def _run(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    return [style.coloured(chart).mark_point(size=26, opacity=0.8, strokeWidth=1.2)]


def _bound(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """An arrow upwards: the figure is larger than this."""
    return [style.coloured(chart).mark_text(text="↑", fontSize=15, fontWeight="bold", dy=-5)]


def _lost(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """A run that ended badly: a cross at the top."""
    import altair as alt

    cross = style.coloured(chart.transform_calculate(said=trial_tooltip())).mark_text(
        text="×",
        fontSize=15,
        fontWeight="bold",
        baseline="top",
        dy=alt.expr("12 * datum.place"),
        tooltip=alt.ExprRef(expr="datum.said"),
    )
    return [cross.encode(y=alt.value(0))]


def _point(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    coloured = style.coloured(chart)
    return [
        coloured.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q"),
        coloured.mark_point(filled=True, size=90, opacity=1).encode(shape=style.shape()),
    ]


def _open(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """An estimate that no run of its own stands for."""
    coloured = style.coloured(chart)
    return [
        coloured.mark_rule(strokeWidth=1.2, strokeDash=[3, 2]).encode(y="low:Q", y2="high:Q"),
        coloured.mark_point(size=80, strokeWidth=1.5).encode(shape=style.shape()),
    ]


def _as_is(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    return [style.coloured(chart).mark_text(text="×", fontSize=18, fontWeight="bold")]


def _ring(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    return [chart.mark_point(size=260, strokeWidth=1.6, shape="circle", color=style.canvas.text)]


def _verified(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """A ring around a value with its interval."""
    ink = style.canvas.text
    return [
        chart.mark_rule(strokeWidth=2, color=ink).encode(y="low:Q", y2="high:Q"),
        *_ring(chart, style),
    ]


def _words(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """Words beside a place, on the side that has room."""
    return [
        chart.transform_filter(f"datum.side == '{side}'")
        .mark_text(color=style.canvas.text, fontSize=12, align=side, baseline="middle", dx=dx)
        .encode(text="text:N")
        for side, dx in _SIDES
    ]


def _named(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """Words that catch the eye, above their mark, with `side` at the frame's edge."""
    edges: tuple[tuple[Literal["left", "right", "center"], str], ...] = (
        ("left", "datum.side == 'left'"),
        ("right", "datum.side == 'right'"),
        ("center", "!isValid(datum.side)"),
    )
    return [
        chart.transform_filter(is_there)
        .mark_text(color=style.canvas.text, fontSize=13, fontWeight="bold", align=align, dy=-20)
        .encode(text="text:N")
        for align, is_there in edges
    ]


def _seeds(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """The band over the seeds and the line of their means."""
    coloured = style.coloured(chart)
    return [
        coloured.mark_area(opacity=0.18, clip=True).encode(y="low:Q", y2="high:Q"),
        coloured.mark_line(strokeWidth=2, clip=True).encode(strokeDash=style.dash()),
    ]


def _marks(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """The points that tell the lines apart."""
    point = style.coloured(chart).mark_point(filled=True, size=46, opacity=1)
    return [point.encode(shape=style.shape())]


def _chosen(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    return [style.coloured(chart).mark_point(size=190, strokeWidth=1.5, shape="circle")]


def _mean(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    point = style.coloured(chart).mark_point(filled=True, size=70, opacity=1)
    return [point.encode(shape=style.shape())]


def _lone(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """A thin dotted line a trial."""
    return [
        style.coloured(chart)
        .mark_line(strokeWidth=1, opacity=0.75, clip=True, strokeDash=[1, 3])
        .encode(detail="run:N")
    ]


def _cross(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    return [style.coloured(chart).mark_text(text="×", fontSize=15, fontWeight="bold", clip=True)]


def _foot(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """A cross on the horizontal axis, with the words of its trial."""
    import altair as alt

    cross = style.coloured(chart.transform_calculate(said=trial_tooltip())).mark_text(
        text="×",
        fontSize=17,
        fontWeight="bold",
        baseline="bottom",
        dy=alt.expr("-14 * datum.place"),
        tooltip=alt.ExprRef(expr="datum.said"),
    )
    return [cross.encode(y=alt.value("height"))]


def _whole_line(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """The line of a series across the batch sizes, and the range at each of them."""
    import altair as alt

    line = chart.mark_line(color=style.canvas.text, opacity=0.45, strokeWidth=1.5)
    # One series has no dashes: the panels of an image share theirs, and the first would set them.
    if len(style.series) > 1:
        dash = alt.StrokeDash("series:N").scale(
            domain=list(style.series), range=[[1, 0], [4, 3]][: len(style.series)]
        )
        line = line.encode(strokeDash=dash.legend(None))
    return [
        line,
        style.coloured(chart).mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q"),
    ]


def _single(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    return [style.coloured(chart).mark_point(size=22, opacity=0.7, strokeWidth=1)]


def _whole_point(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    point = style.coloured(chart).mark_point(filled=True, size=110, opacity=1)
    return [point.encode(shape=style.shape())]


def _zero(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    import altair as alt

    # A chart of its own: a rule with a place on both axes would not cross the whole panel.
    rule = alt.Chart(chart.data).mark_rule(color=style.canvas.text, opacity=0.5)
    return [rule.encode(y=alt.datum(0))]


def _joined(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """A thin line a seed, from one configuration to the next."""
    line = chart.mark_line(color=style.canvas.text, opacity=0.35, strokeWidth=1)
    return [line.encode(detail="seed:N")]


def _curve(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    import altair as alt

    dashes = [[1, 0], [6, 3], [1, 3]]
    dash = alt.StrokeDash("series:N").legend(None)
    dash = dash.scale(domain=list(style.series), range=dashes)
    line = style.coloured(chart).mark_line(strokeWidth=1.6, opacity=0.85, clip=True)
    return [line.encode(detail="run:N", strokeDash=dash)]


_SIDES: tuple[tuple[Literal["left", "right"], int], ...] = (("left", 11), ("right", -11))
_BEHIND: tuple[tuple[str, Draw], ...] = (("span", _span), ("place", _place))
_DRAWN: tuple[tuple[str, Draw], ...] = (
    ("zero", _zero),
    ("joined", _joined),
    ("band", _band),
    ("level", _level),
    ("rule", _rule),
    ("line", _line),
    ("run", _run),
    ("bound", _bound),
    ("point", _point),
    ("open", _open),
    ("as_is", _as_is),
    ("ring", _ring),
    ("verified", _verified),
    ("words", _words),
    ("named", _named),
    ("curve", _curve),
    ("seeds", _seeds),
    ("marks", _marks),
    ("chosen", _chosen),
    ("mean", _mean),
    ("lone", _lone),
    ("cross", _cross),
    ("whole", _whole_line),
    ("single", _single),
    ("whole", _whole_point),
)
_AT_THE_EDGE: tuple[tuple[str, Draw], ...] = (("lost", _lost), ("foot", _foot))
KINDS = frozenset(kind for kind, _ in (*_BEHIND, *_DRAWN, *_AT_THE_EDGE))
