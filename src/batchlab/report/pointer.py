"""Pointer: the tooltip of the point under the pointer, in the words of a page's tables.

It is one Vega expression, because the words of a thousand points would double the page's size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence

from batchlab.records.quantities import FRACTION_METRICS
from batchlab.report.text import label_text, shown_quantity
from batchlab.words.catalogue import term_text, text
from batchlab.words.numbers import SAME_RATE, THREE_DIGITS

# These rows have a value but are no points: they place a line, a shade or words.
_NO_POINTS = ["span", "place", "level", "band", "rule", "line", "words", "named", "start"]
IS_POINT = f"isValid(datum.mean) && indexof({_NO_POINTS}, datum.kind) < 0"


def point_tooltip(quantity: str, series: Sequence[str]) -> str:
    """Return the expression for a point's tooltip, which names its series if there are several."""
    return _merged([*_batch(), *_parts(quantity, series)])


def _parts(quantity: str, series: Sequence[str]) -> Iterator[str]:
    if len(series) > 1:
        named = {name: term_text(name) for name in series}
        yield _said_if("isValid(datum.series)", text("of"), f"({_literal(named)})[datum.series]")
    yield _run(text("line"))
    kinds = {
        "run": text("one run"),
        "bound": text("one run"),
        "failed": text("one run that failed"),
        "expected": text("all runs together"),
        "verified": text("what is named"),
    }
    of = f"({_literal(kinds)})[datum.kind]"
    yield _said_if(f"isValid({of})", text("of"), of)
    yield _said_if("isValid(datum.seed)", text("seed"), "format(datum.seed, 'd')")
    for place in ("learning_rate", "epoch", "step", "equal_time_s"):
        yield _place(place)
    value = number_expression(quantity, "datum.mean")
    bound = _filled(text("more than {bound}", bound="@"), {"@": value})
    yield _said(label_text(quantity), f"datum.kind == 'bound' ? {bound} : {value}")
    low, high = (number_expression(quantity, f"datum.{end}") for end in ("low", "high"))
    between = _filled(
        text("{low} to {high}", low="@low", high="@high"), {"@low": low, "@high": high}
    )
    has_range = "isValid(datum.low) && datum.low != datum.high"
    is_estimate = "indexof(['point', 'verified', 'expected'], datum.kind) >= 0"
    yield _said_if(f"{has_range} && {is_estimate}", text("95 % interval"), between)
    yield _said_if(f"{has_range} && !({is_estimate})", text("range"), between)
    yield _said_if("isValid(datum.n)", text("observations"), "format(datum.n, 'd')")


def _batch() -> Iterator[str]:
    yield _said_if("isValid(datum.plan)", text("plan"), "datum.plan")
    size = "isValid(datum.plan) ? datum.batch_size : datum.batch"
    yield _said_if(f"isValid({size})", label_text("batch_size"), size)


def _run(title: str) -> str:
    line = f"datum.run == 'mean' ? {_literal(term_text('mean'))} : datum.run"
    return _said_if("isString(datum.run)", title, line)


def _place(field: str) -> str:
    shown = number_expression(field, f"datum.{field}")
    return _said_if(f"isValid(datum.{field})", label_text(field), shown)


def _merged(parts: Iterable[str]) -> str:
    return f"merge({', '.join(parts)})"


def _said(title: str, expression: str) -> str:
    return f"{{{_literal(title)}: {expression}}}"


def _said_if(condition: str, title: str, expression: str) -> str:
    return f"({condition} ? {_said(title, expression)} : {{}})"


def _filled(words: str, values: dict[str, str]) -> str:
    """Replace marks in words by expressions, whatever word order a language has."""
    expression = _literal(words)
    for mark, value in values.items():
        expression = f"replace({expression}, {_literal(mark)}, {value})"
    return expression


def _literal(value: object) -> str:
    """Return a value as a literal of a Vega expression."""
    return json.dumps(value, ensure_ascii=False)


def number_expression(quantity: str, value: str) -> str:
    """Return the Vega expression that writes the number `value` as `quantity_text` does."""
    unit = shown_quantity(quantity).unit
    if unit == "s":
        return f"({value} == 0 ? '0 s' : {_scaled(value, _SECONDS)})"
    if unit in ("B", "1/s"):
        after = "/s" if unit == "1/s" else unit
        prefixed = [(limit, factor, f" {prefix}{after}") for limit, factor, prefix in _PREFIXES]
        # A rate without a prefix has no space before its unit.
        prefixed[0] = (1e3, 1.0, after if unit == "1/s" else f" {after}")
        return _scaled(value, prefixed)
    if quantity in THREE_DIGITS:
        rounded = f"toNumber(format({value}, '.2e'))"
        return f"(abs({value}) >= 100 ? format({rounded}, ',.0f') : {_digits(value)})"
    if quantity in ("step", "batch_size", "seed"):
        return f"format({value}, 'd')"
    if quantity == "epoch":
        return _digits(value, 6)
    if quantity == "learning_rate":
        given = f"abs(toNumber(format({value}, '.2e')) - {value}) <= {SAME_RATE} * abs({value})"
        return f"({given} ? {_digits(value)} : {_digits(value, 2)})"
    if quantity in FRACTION_METRICS:
        percent = f"(abs({value}) <= 1 ? 100 * {value} : {value})"
        return f"(replace(format({percent}, '.2f'), '−', '-') + ' %')"
    if quantity == "generalization_gap":
        fixed = f"replace(format({value}, '.4f'), '−', '-')"
        return f"(abs({value}) < 10 ? {fixed} : {_digits(value)})"
    is_near_one = f"{value} == 0 || (abs({value}) >= 0.001 && abs({value}) < 10)"
    return f"({is_near_one} ? format({value}, '.4f') : {_digits(value)})"


def _digits(value: str, count: int = 3) -> str:
    """Write `count` significant digits, and exponents as in Python: two digits, a plain minus."""
    # d3 has its own minus sign, and writes exponents only below 1e-6, Python below 1e-4.
    plain = f"replace(format({value}, '.{count}~g'), '−', '-')"
    exponent = f"replace(format({value}, '.{count - 1}~e'), /−/g, '-')"
    exponent = f"replace({exponent}, /e(.)(.)$/, 'e$10$2')"
    shown = f"abs(toNumber(format({value}, '.{count - 1}e')))"
    return f"(({shown} != 0 && {shown} < 1e-4) || {shown} >= 1e{count} ? {exponent} : {plain})"


# A number whose three digits are below a limit is multiplied by the factor for its unit.
_SECONDS = [
    (1e-3, 1e6, " µs"),
    (1.0, 1e3, " ms"),
    (120.0, 1.0, " s"),
    (7200.0, 1 / 60, " min"),
    (math.inf, 1 / 3600, " h"),
]
_PREFIXES = [(1e3, 1.0, ""), (1e6, 1e-3, "k"), (1e9, 1e-6, "M"), (math.inf, 1e-9, "G")]


def _scaled(value: str, units: Sequence[tuple[float, float, str]]) -> str:
    shown = f"abs(toNumber(format({value}, '.2e')))"  # 999.6 ms are shown as 1 s
    *smaller, (_, factor, unit) = units
    expression = f"{_digits(f'({value} * {factor!r})')} + '{unit}'"
    for limit, factor, unit in reversed(smaller):
        scaled = f"{_digits(f'({value} * {factor!r})')} + '{unit}'"
        expression = f"{shown} < {limit!r} ? {scaled} : {expression}"
    return f"({expression})"
