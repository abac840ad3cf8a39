"""Number expression: how a chart's script writes a number, the same as the tables do."""

from __future__ import annotations

from batchlab.report.text import shown_quantity
from batchlab.words.numbers import COUNTS, SAME_RATE, THREE_DIGITS

_WHOLE = ("step", "batch_size", "seed")


def number_expression(name: str, value: str) -> str:
    """The Vega expression whose text is that of `quantity_text`, in English.

    A page's script writes the number under the pointer; the words of a thousand points would make
    the page twice as large. `tests/report/parts/test_number_expression.py` compares the two.

    Args:
        name: the quantity, as `shown_quantity` takes it.
        value: a Vega expression for the number.
    """
    unit = shown_quantity(name).unit
    if unit == "s":
        return _seconds(value)
    if unit in ("B", "1/s"):
        return _si(value, unit)
    if name in COUNTS:
        rounded = f"toNumber(format({value}, '.2e'))"
        return f"(abs({value}) >= 100 ? format({rounded}, ',.0f') : {_digits(value)})"
    if name in _WHOLE:
        return f"format({value}, 'd')"
    if name == "epoch":
        return _digits(value, 6)
    if name == "learning_rate":
        given = f"abs(toNumber(format({value}, '.2e')) - {value}) <= {SAME_RATE} * abs({value})"
        return f"({given} ? {_digits(value)} : {_digits(value, 2)})"
    if name in THREE_DIGITS:
        return _digits(value)
    if name == "generalization_gap":
        fixed = f"replace(format({value}, '.4f'), '−', '-')"
        return f"(abs({value}) < 10 ? {fixed} : {_digits(value)})"
    is_near_one = f"{value} == 0 || (abs({value}) >= 0.001 && abs({value}) < 10)"
    return f"({is_near_one} ? format({value}, '.4f') : {_digits(value)})"


def _digits(value: str, count: int = 3) -> str:
    """So many significant digits; exponents have two digits and a plain minus, as in Python."""
    # d3 has a minus sign of its own, and writes exponents below 1e-6 only; Python below 1e-4.
    plain = f"replace(format({value}, '.{count}~g'), '−', '-')"
    exponent = f"replace(format({value}, '.{count - 1}~e'), /−/g, '-')"
    exponent = f"replace({exponent}, /e(.)(.)$/, 'e$10$2')"
    shown = f"abs(toNumber(format({value}, '.{count - 1}e')))"
    return f"(({shown} != 0 && {shown} < 1e-4) || {shown} >= 1e{count} ? {exponent} : {plain})"


def _seconds(value: str) -> str:
    shown = f"abs(toNumber(format({value}, '.2e')))"  # 999.6 ms are shown as 1 s
    return (
        f"({value} == 0 ? '0 s'"
        f" : {shown} < 1e-3 ? {_digits(f'({value} * 1e6)')} + ' µs'"
        f" : {shown} < 1 ? {_digits(f'({value} * 1e3)')} + ' ms'"
        f" : {shown} < 120 ? {_digits(value)} + ' s'"
        f" : {shown} < 7200 ? {_digits(f'({value} / 60)')} + ' min'"
        f" : {_digits(f'({value} / 3600)')} + ' h')"
    )


def _si(value: str, unit: str) -> str:
    shown = f"abs(toNumber(format({value}, '.2e')))"
    after = "/s" if unit == "1/s" else unit
    alone = f" {after}" if unit == "B" else after
    return (
        f"({shown} >= 1e9 ? {_digits(f'({value} / 1e9)')} + ' G{after}'"
        f" : {shown} >= 1e6 ? {_digits(f'({value} / 1e6)')} + ' M{after}'"
        f" : {shown} >= 1e3 ? {_digits(f'({value} / 1e3)')} + ' k{after}'"
        f" : {_digits(value)} + '{alone}')"
    )
