"""Tooltips: what a page says of the point under the pointer, in the words of its tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from batchlab.report.parts.charts.number_expression import number_expression
from batchlab.report.text import label_text, term_text
from batchlab.words.catalogue import text

# Fields of a row that say which point it is, in the order in which they are read.
_PLACES = ("learning_rate", "epoch", "step", "equal_time_s")


def point_tooltip(name: str, series: Sequence[str] = ()) -> str:
    """The Vega expression of what is said of a row: labels with their texts, in order.

    Args:
        name: the quantity on the vertical axis.
        series: values of the field `series` that are told apart.
    """
    return f"merge({', '.join(_parts(name, series))})"


def trial_tooltip() -> str:
    """The same for a trial that has no value."""
    return f"merge({', '.join((_batch(), _place('learning_rate'), _run(text('trial'))))})"


def _parts(name: str, series: Sequence[str]) -> Iterator[str]:
    yield _batch()
    if len(series) > 1:
        named = " : ".join(f"datum.series == '{s}' ? {_words(term_text(s))}" for s in series)
        yield _said_if("isValid(datum.series)", text("of"), f"{named} : null")
    yield _run(text("line"))
    yield _said_if(
        "indexof(['run', 'bound'], datum.kind) >= 0", text("of"), _words(text("one run"))
    )
    yield _said_if("datum.kind == 'as_is'", text("of"), _words(text("one run of yours as it is")))
    found = _words(text("what was found on fresh seeds"))
    yield _said_if("datum.kind == 'verified'", text("of"), found)
    yield _said_if("isValid(datum.seed)", text("seed"), "format(datum.seed, 'd')")
    for place in _PLACES:
        yield _place(place)
    value = number_expression(name, "datum.mean")
    bound = _filled(text("more than {bound}", bound="@"), value)
    yield _said(label_text(name), f"datum.kind == 'bound' ? {bound} : {value}")
    between = _filled(
        text("{low} to {high}", low="@low@", high="@high@"),
        low=number_expression(name, "datum.low"),
        high=number_expression(name, "datum.high"),
    )
    has_range = "isValid(datum.low) && datum.low != datum.high"
    estimated = "indexof(['point', 'open', 'verified'], datum.kind) >= 0"
    yield _said_if(f"{has_range} && {estimated}", text("95 % interval"), between)
    yield _said_if(f"{has_range} && !({estimated})", text("range"), between)
    yield _said_if("isValid(datum.n)", text("observations"), "format(datum.n, 'd')")


def _batch() -> str:
    return _said_if("isValid(datum.batch)", label_text("batch_size"), "datum.batch")


def _run(title: str) -> str:
    mean = _words(term_text("mean"))
    line = f"datum.run == 'mean' ? {mean} : datum.run"
    return _said_if("isString(datum.run) && datum.kind != 'curve'", title, line)


def _place(field: str) -> str:
    shown = number_expression(field, f"datum.{field}")
    return _said_if(f"isValid(datum.{field})", label_text(field), shown)


def _said(title: str, expression: str) -> str:
    return f"{{{_words(title)}: {expression}}}"


def _said_if(condition: str, title: str, expression: str) -> str:
    return f"({condition} ? {_said(title, expression)} : {{}})"


def _filled(words: str, value: str | None = None, **values: str) -> str:
    """Words with expressions in the places of their marks, whatever order a language has."""
    marks = {"@": value} if value is not None else {f"@{key}@": of for key, of in values.items()}
    expression = _words(words)
    for mark, of in marks.items():
        expression = f"replace({expression}, {_words(mark)}, {of})"
    return expression


def _words(words: str) -> str:
    """A literal of a Vega expression."""
    return json.dumps(words, ensure_ascii=False)
