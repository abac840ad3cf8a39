"""Numbers: writes measured numbers in English, with the units of their quantities."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from operator import attrgetter

from batchlab.records.quantities import FRACTION_METRICS, QUANTITIES, quantity

UNKNOWN = "–"
_OF_METRIC = "metric "
NAMED_QUANTITIES = frozenset(map(attrgetter("name"), QUANTITIES))
_SMALLER_THAN_S = ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7200.0, 1 / 60, "min"))
# Quantities that are not known more exactly than three digits: write 4,560, not 4.56e+03.
THREE_DIGITS = (
    *("steps_to_target", "samples_to_target", "critical_batch_size"),
    *("epochs_to_target", "ratio"),
)
# A learning rate is exact in three digits if rounding changes it by at most this fraction.
SAME_RATE = 1e-6
_SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def english_number(value: float, form: str) -> str:
    """Write a number in English.

    Args:
        value: the number, in the unit of its quantity.
        form: the name of a quantity of `batchlab.records.quantities`; one of `FORMS`; "metric NAME"
            for a value of the metric NAME; or a format of Python, such as ".3g" or ",".
    """
    if form.startswith(_OF_METRIC):
        form = form_of(form.removeprefix(_OF_METRIC), "")
    if form in FRACTION_METRICS:  # a value above 1 is taken to be in percent already
        return f"{value if abs(value) > 1 else 100 * value:.2f} %"
    if form in NAMED_QUANTITIES:
        return _quantity_text(form, value)
    if form in FORMS:
        return FORMS[form](value)
    return format(value, form)


def form_of(name: str, unit: str) -> str:
    """Return the key of the format in which `english_number` writes the quantity `name`.

    Some quantities and some units have their own format. The key is `name` if it is one of these
    quantities, else `unit` if it is one of these units, else "metric".
    """
    if name in NAMED_QUANTITIES or name in FRACTION_METRICS:
        return name
    if unit in _OF_UNIT:
        return unit
    return "metric"


def _quantity_text(name: str, value: float) -> str:
    """Return a quantity's value with its unit; the quantity decides how the value is rounded."""
    unit = quantity(name).unit
    if unit in _OF_UNIT:
        return _OF_UNIT[unit](value)
    if unit == "points":
        return f"{round(100 * value, 2) + 0.0:.2f} points"  # a tiny difference is 0, not -0
    if name == "epochs_to_target" and abs(value) < 100:
        return f"{value:#.3g}"  # keep zeros, so that a column aligns
    if name in THREE_DIGITS:
        return _rounded_text(value, 3)
    if isinstance(value, int) and name == "step":
        return f"{value:,}"
    if isinstance(value, int):
        return str(value)
    if name == "epoch":
        return f"{value:.6g}"
    if name == "learning_rate":
        return _rate_text(value)
    if name == "generalization_gap" and abs(value) < 10:
        return f"{round(value, 4) + 0.0:.4f}"  # a tiny difference is 0, not -0
    if 0.001 <= abs(value) < 10 or value == 0:
        return f"{value:.4f}"
    return f"{value:.3g}"


def _seconds_text(value_s: float) -> str:
    if value_s == 0:
        return "0 s"
    for limit, factor, unit in _SMALLER_THAN_S:
        if _as_shown(value_s) < limit:
            return f"{value_s * factor:.3g} {unit}"
    return f"{value_s / 3600:.3g} h"


def _as_shown(value: float) -> float:
    """Return |value| rounded to three digits, to choose the unit: 999.6 ms become 1 s."""
    return abs(float(f"{value:.3g}"))


def _rounded_text(value: float, n_digits: int) -> str:
    """Return a number rounded to two or three digits, without an exponent: "0.94", "4,560"."""
    rounded = float(f"{value:.{n_digits}g}")
    if abs(rounded) < 100:
        return f"{value:.{n_digits}g}"
    return f"{rounded:,.0f}"


def _si_text(value: float, unit: str) -> str:
    """Return a number with its unit, with k, M or G before the unit from 1,000 on."""
    for limit, prefix in _SI:
        if _as_shown(value) >= limit:
            return f"{value / limit:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def _compared_text(ratio: float) -> str:
    """Return a ratio with two decimals (below 1.2) or two digits: "0.94", "1.8", "210"."""
    return f"{ratio:.2f}" if ratio < 1.2 else _rounded_text(ratio, 2)


def _rate_text(learning_rate: float) -> str:
    """Return a learning rate in three digits if exact (0.125), else in two (0.11 for 0.113137).

    Rates found by search differ by at least a factor of 1.4, so two digits distinguish them.
    """
    digits = f"{learning_rate:.3g}"
    if math.isclose(float(digits), learning_rate, rel_tol=SAME_RATE):
        return digits
    return f"{learning_rate:.2g}"


_OF_UNIT: dict[str, Callable[[float], str]] = {
    "s": _seconds_text,
    "B": partial(_si_text, unit="B"),
    "1/s": partial(_si_text, unit="/s"),
}
FORMS: dict[str, Callable[[float], str]] = {
    "percent": lambda fraction: f"{100 * fraction:.3g} %",
    "times": _compared_text,
    "rate": _rate_text,
    "whole_percent": lambda fraction: f"{100 * fraction:.0f} %",
    "metric": lambda value: _quantity_text("metric", value),
    **_OF_UNIT,
}
