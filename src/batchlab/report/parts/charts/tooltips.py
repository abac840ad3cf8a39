"""Tooltips: what a page says of the mark under the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchlab.report.parts.quantity_text import axis_text, label_text, shown_quantity
from batchlab.words.catalogue import text

if TYPE_CHECKING:
    import altair as alt


def batch_tooltip() -> alt.Tooltip:
    """The batch size."""
    import altair as alt

    return alt.Tooltip("batch:N", title=label_text("batch_size"))


def cell_tooltip() -> list[alt.Tooltip]:
    """The batch size and the learning rate."""
    import altair as alt

    rate = alt.Tooltip("learning_rate:Q", title=label_text("learning_rate"))
    return [batch_tooltip(), rate]


def estimate_tooltip(name: str) -> list[alt.Tooltip]:
    """An estimate with its interval."""
    number = ".4~s" if shown_quantity(name).unit in ("s", "B", "1/s") else ".4~g"
    return [batch_tooltip(), *_number_tooltip(name, number, text("95 %, from"), text("to"))]


def curve_tooltip(metric: str) -> list[alt.Tooltip]:
    """A place along training, on all three clocks, with its numbers."""
    import altair as alt

    return [
        batch_tooltip(),
        alt.Tooltip("line:N", title=text("line")),
        alt.Tooltip("epoch:Q", title=label_text("epoch"), format=".4~g"),
        alt.Tooltip("step:Q", title=label_text("step"), format="d"),
        alt.Tooltip("equal_time_s:Q", title=axis_text("equal_time_s"), format=".3~g"),
        *spread_tooltip(metric),
    ]


def spread_tooltip(name: str) -> list[alt.Tooltip]:
    """A mean with its range."""
    number = ".4~s" if shown_quantity(name).unit else ".4~g"
    return _number_tooltip(name, number, text("lowest"), text("highest"))


def _number_tooltip(name: str, number: str, low: str, high: str) -> list[alt.Tooltip]:
    import altair as alt

    return [
        alt.Tooltip("mean:Q", title=axis_text(name), format=number),
        alt.Tooltip("low:Q", title=low, format=number),
        alt.Tooltip("high:Q", title=high, format=number),
        alt.Tooltip("n:Q", title=text("observations"), format="d"),
    ]
