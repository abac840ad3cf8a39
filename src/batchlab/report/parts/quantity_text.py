"""Quantity text: a measured number as people read it, with the unit of its quantity."""

from __future__ import annotations

from batchlab.records.quantities import quantity

UNKNOWN = "–"
_SMALLER_THAN_S = ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7200.0, 1 / 60, "min"))
# Counts that are estimates: three digits are all that is known of them.
_COUNTS = ("steps_to_target", "samples_to_target", "critical_batch_size")
_SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity_text(name: str, value: float | str | None) -> str:
    """`value` of the quantity called `name` in three or four significant digits, with its unit.

    Args:
        name: a name of `batchlab.records.quantities`, or a user's own metric.
        value: in that quantity's unit; None: not known. Words are returned as they are.
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value
    unit = quantity(name).unit
    if unit == "s":
        return _seconds_text(value)
    if unit in ("B", "1/s"):
        return _si_text(value, unit)
    if name in _COUNTS:
        return _count_text(value)
    if isinstance(value, int):
        return str(value)
    if name in ("learning_rate", "epoch"):
        return f"{value:.6g}"
    if name in ("epochs_to_target", "ratio"):
        return f"{value:.3g}"
    return f"{value:.4f}" if 0.001 <= abs(value) < 10 or value == 0 else f"{value:.3g}"


def range_text(name: str, low: float, high: float) -> str:
    """The range of a quantity over seeds, "0.961 to 0.972"."""
    return f"{quantity_text(name, low)} to {quantity_text(name, high)}"


def _seconds_text(value_s: float) -> str:
    if value_s == 0:
        return "0 s"
    for limit, factor, unit in _SMALLER_THAN_S:
        if _as_shown(value_s) < limit:
            return f"{value_s * factor:.3g} {unit}"
    return f"{value_s / 3600:.3g} h"


def _as_shown(value: float) -> float:
    """Its size in three digits: 999.6 ms are shown as 1 s, not as 1e+03 ms."""
    return abs(float(f"{value:.3g}"))


def _count_text(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _si_text(value: float, unit: str) -> str:
    after = "/s" if unit == "1/s" else unit
    for limit, prefix in _SI:
        if _as_shown(value) >= limit:
            return f"{value / limit:.3g} {prefix}{after}"
    return f"{value:.3g} {after}" if unit == "B" else f"{value:.3g}{after}"
