"""Batch sizes in a chart: the colour, dash and shape of each, and the axis that they stand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchlab.report.parts.charts.canvas import Canvas
from batchlab.report.parts.palette import Look
from batchlab.report.text import axis_text, label_text

if TYPE_CHECKING:
    import altair as alt


def batch_size_x(looks: Sequence[Look]) -> alt.X:
    """The horizontal axis of batch sizes, in powers of two."""
    import altair as alt

    sizes = [look.batch_size for look in looks]
    return (
        alt.X("batch_size:Q")
        .scale(type="log", base=2, domain=_padded(sizes), nice=False)
        .axis(title=axis_text("batch_size"), values=_spaced(sizes), format="d", grid=False)
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

    return None if canvas.in_page else alt.Legend(title=label_text("batch_size"))


def _padded(sizes: Sequence[int]) -> list[float]:
    """Room of half an octave, more where the range is wide, on both sides of the batch sizes."""
    ratio = max(1.4, (sizes[-1] / sizes[0]) ** 0.07)
    return [sizes[0] / ratio, sizes[-1] * ratio]


def _spaced(sizes: Sequence[int]) -> list[int]:
    """The batch sizes whose labels fit beside each other on a logarithmic axis."""
    kept: list[int] = []
    step = max(1.3, (sizes[-1] / sizes[0]) ** (1 / 8))
    for size in sizes:
        if not kept or size / kept[-1] >= step:
            kept.append(size)
    return kept
