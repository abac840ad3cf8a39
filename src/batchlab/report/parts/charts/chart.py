"""Chart: axes, and the layers that its rows ask for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from batchlab.report.parts.charts.canvas import Canvas
from batchlab.report.parts.charts.layers import layers
from batchlab.report.parts.charts.style import Style
from batchlab.report.parts.palette import Look

if TYPE_CHECKING:
    import altair as alt


def chart(
    data: str,
    *,
    where: str | None,
    x: Callable[[], alt.X],
    y: Callable[[], alt.Y],
    name: str,
    kinds: frozenset[str],
    looks: Sequence[Look],
    canvas: Canvas,
    series: tuple[str, ...] = (),
) -> alt.LayerChart | alt.FacetChart:
    """The chart of a quantity: against the batch size, the learning rate or along training.

    The data are only named here (the rows of a figure travel beside it), so that the panels of a
    figure share one copy. Altair is imported when a chart is made: it costs a third of a second.

    Args:
        data: name of the rows.
        where: a Vega expression that holds for the rows of this chart; None: for all.
        x: makes the horizontal axis.
        y: makes the vertical axis.
        name: the quantity on the vertical axis.
        kinds: what is drawn; see `batchlab.report.parts.charts.layers`.
        looks: how the batch sizes are drawn.
        canvas: where it is drawn.
        series: values of the field `series` that are told apart by dashes.
    """
    import altair as alt

    base = alt.Chart(alt.NamedData(name=data))
    if where is not None:
        base = base.transform_filter(where)
    base = base.encode(x=x())
    style = Style(name=name, looks=looks, canvas=canvas, series=series)
    return canvas.sized(alt.layer(*layers(base, base.encode(y=y()), kinds, style)))


def in_panel(panel: str) -> str:
    """The Vega expression for the rows whose field `panel` is this."""
    return f"datum.panel == {literal(panel)}"


def literal(text: str) -> str:
    """A Vega string literal: names of metrics are a user's text."""
    return json.dumps(text)
