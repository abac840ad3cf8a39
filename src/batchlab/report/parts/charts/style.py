"""Style: what all layers of a chart share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchlab.report.parts.charts.batch_sizes import batch_colour, batch_dash, batch_shape
from batchlab.report.parts.charts.canvas import Canvas
from batchlab.report.parts.palette import Look

if TYPE_CHECKING:
    import altair as alt


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """What all layers of a chart share.

    Attributes:
        name: the quantity on the vertical axis.
        looks: how the batch sizes are drawn.
        canvas: where the chart is drawn.
        series: values of the field `series` that a line joins: the first is solid, then dashed.
    """

    name: str
    looks: Sequence[Look]
    canvas: Canvas
    series: tuple[str, ...] = ()

    def coloured(self, chart: alt.Chart) -> alt.Chart:
        """The same with the colour of each batch size."""
        return chart.encode(color=batch_colour(self.looks, self.canvas))

    def shape(self) -> alt.Shape:
        """The shape of each batch size."""
        return batch_shape(self.looks, self.canvas)

    def dash(self) -> alt.StrokeDash:
        """The dash of each batch size."""
        return batch_dash(self.looks, self.canvas)
