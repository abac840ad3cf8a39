"""Axes: scale, ticks and title of a quantity on either side of a chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from batchlab.report.text import axis_text, label_text, shown_quantity

if TYPE_CHECKING:
    import altair as alt

View = Literal["epoch", "step", "equal_time_s"]
Domain = tuple[float, float]


def value_y(name: str, domain: Domain) -> alt.Y:
    """A vertical axis whose differences count; logarithmic where values span magnitudes."""
    axis = _value_axis(name, domain)
    return _y(domain, axis, is_log=_spans_magnitudes(domain), room=_VALUE_ROOM)


def ratio_y(name: str, domain: Domain) -> alt.Y:
    """A vertical axis whose ratios count: logarithmic where values span a factor of 2.5."""
    axis = _ratio_axis(name, domain)
    return _y(domain, axis, is_log=_is_ratio(domain), room=_RATIO_ROOM)


def measured_rates_x(rates: Sequence[float]) -> alt.X:
    """The axis of learning rates with a label at each one that was run."""
    import altair as alt

    axis = quantity_axis("learning_rate", grid=False, ticks=6)
    axis.values = list(rates)
    return alt.X("learning_rate:Q").scale(type="log", nice=False, padding=18).axis(axis)


def rate_range_x(rates: Sequence[float]) -> alt.X:
    """The axis of learning rates, `rates` in ascending order, with labels at round ones."""
    import altair as alt

    domain = (rates[0], rates[-1])
    return (
        alt.X("learning_rate:Q")
        .scale(type="log", nice=False, domain=[domain[0] / 1.3, domain[1] * 1.3])
        .axis(_ratio_axis("learning_rate", domain, grid=False))
    )


def view_x(view: View, places: Domain) -> alt.X:
    """The axis along training with a little room on the right, so that what ends there is whole.

    Epochs are linear, steps and time logarithmic.
    """
    import altair as alt

    first, last = places
    if view == "epoch":
        scale = alt.Scale(domain=[first, last + 0.02 * (last - first)], nice=False)
    else:
        scale = alt.Scale(type="log", domain=[first, last * (last / first) ** 0.02], nice=False)
    return alt.X(f"{view}:Q").scale(scale).axis(quantity_axis(view, grid=False, ticks=5))


def steps_x(last: int) -> alt.X:
    """The axis of steps from the initial weights on, with equal ratios far from them."""
    import altair as alt

    axis = quantity_axis("step", grid=False, ticks=5)
    axis.values = [0, *(10**power for power in range(len(str(max(1, last)))))]
    scale = alt.Scale(type="symlog", constant=1, domain=[0, max(1, last) * 1.05], nice=False)
    return alt.X("step:Q").scale(scale).axis(axis)


def time_x(view: View, places: Domain) -> alt.X:
    """The axis along training just as long as the runs, with labels at round places."""
    import altair as alt

    axis = _ratio_axis(view, places, grid=False)
    return alt.X(f"{view}:Q").scale(type="log", nice=False).axis(axis)


def configuration_x(configurations: Sequence[str]) -> alt.X:
    """The axis of a few configurations, from left to right; a bar breaks their lines."""
    import altair as alt

    return (
        alt.X("configuration:N")
        .scale(domain=list(configurations), type="point", padding=0.5)
        .axis(title=None, labelAngle=0, labelExpr="split(datum.label, '|')", labelOverlap=False)
    )


def quantity_axis(name: str, *, ticks: int, grid: bool = True) -> alt.Axis:
    """The axis of a quantity. Where labels carry the unit (2 ms, 30 MB) the title does not."""
    import altair as alt

    unit = shown_quantity(name).unit
    after = {"s": "s", "B": "B", "1/s": "/s"}.get(unit)
    title = axis_text(name) if after is None else label_text(name)
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


def _y(domain: Domain, axis: alt.Axis, *, is_log: bool, room: float) -> alt.Y:
    """A vertical axis; a logarithmic one has `room`, a share of it, free at both ends."""
    import altair as alt

    if is_log:
        low, high = _widened(domain, room)
        scale = alt.Scale(domain=[low, high], type="log", nice=False)
    else:
        scale = alt.Scale(domain=list(domain), type="linear", nice=True, zero=False)
    return alt.Y("mean:Q").scale(scale).axis(axis)


def _widened(domain: Domain, share: float) -> Domain:
    room = (domain[1] / domain[0]) ** share
    return domain[0] / room, domain[1] * room


def _round_values(powers: range, digits: Sequence[int], within: Domain) -> list[float]:
    values = [digit * 10.0**power for power in powers for digit in digits]
    return [value for value in values if within[0] <= value <= within[1]]


_VALUE_ROOM, _RATIO_ROOM = 0.04, 0.08
# How many decades an axis of ratios may span for these leading digits to have a label each.
_DIGITS: tuple[tuple[float, tuple[int, ...]], ...] = (
    (0.8, (1, 2, 3, 4, 6, 8)),
    (1.7, (1, 2, 5)),
    (3.5, (1, 3)),
    (math.inf, (1,)),
)


def _spans_magnitudes(domain: Domain) -> bool:
    """Whether a linear axis would hide the small values: a loss over its run, a step's time."""
    return domain[0] > 0 and domain[1] / domain[0] > 30


def _is_ratio(domain: Domain) -> bool:
    """Whether equal ratios should be equally far apart: where values span a factor of 2.5."""
    return domain[0] > 0 and domain[1] / domain[0] > 2.5


def _value_axis(name: str, domain: Domain) -> alt.Axis:
    """The axis of a quantity; a logarithmic one has a grid line at 1, 2 and 5 of a decade."""
    axis = quantity_axis(name, ticks=5)
    if _spans_magnitudes(domain):
        powers = range(math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1])))
        axis.values = _round_values(powers, (1, 2, 5) if len(powers) <= 2 else (1,), domain)
    return axis


def _ratio_axis(name: str, domain: Domain, *, grid: bool = True) -> alt.Axis:
    """Labels at 1, 2 and 5 of a decade, more of them where there is less than one decade."""
    axis = quantity_axis(name, ticks=5, grid=grid)
    if _is_ratio(domain):
        decades = math.log10(domain[1] / domain[0])
        digits = next(digits for most, digits in _DIGITS if decades < most)
        powers = range(math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1])) + 1)
        axis.values = _round_values(powers, digits, _widened(domain, _RATIO_ROOM))
        axis.tickCount = len(axis.values)  # of more values than it counts Vega drops every other
    return axis
