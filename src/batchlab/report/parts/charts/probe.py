"""Probe: the layer of a page's chart that answers the pointer with the nearest point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchlab.report.parts.charts.style import Style
from batchlab.report.parts.charts.tooltips import point_tooltip

if TYPE_CHECKING:
    import altair as alt

PROBE = "probe"  # the layer's name
# Rows that place a line, a shade or words and are no point of their own.
_NO_POINTS = ("span", "place", "level", "band", "rule", "line", "ring", "words", "named")
# Around each point the chart has a cell, whose datum holds the point.
_POINT = "(datum.datum || datum)"


def probe(chart: alt.Chart, style: Style) -> list[alt.Chart]:
    """A halo on the point nearest to the pointer, with its numbers; nothing where none is there.

    The tooltip is one expression and no channel: of a channel, Vega-Lite reads words in the wrong
    place for the nearest point ("undefined").
    """
    import altair as alt

    if not style.canvas.in_page:
        return []
    hover = alt.selection_point(
        name="hover", on="pointerover", clear="pointerout", nearest=True, empty=False
    )
    points = chart.transform_filter(
        f"isValid(datum.mean) && indexof({list(_NO_POINTS)}, datum.kind) < 0"
    ).transform_calculate(said=point_tooltip(style.name, style.series))
    halo = style.coloured(points).mark_point(
        filled=True, size=250, clip=True, tooltip=alt.ExprRef(expr=f"{_POINT}.said")
    )
    halo = halo.encode(opacity=alt.condition(hover, alt.value(0.4), alt.value(0)))
    return [halo.add_params(hover).properties(name=PROBE)]
