"""Catalogue: every sentence by its code, and functions that fill values into texts.

Whole sentences are in `sentences.toml`, and `sentence` fills them. Names, labels and headings are
literals in the Python code. If they contain values or the word "examples", `text` fills in the
values, and writes "tokens" instead of "examples" for workloads that count tokens.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeAlias

from batchlab.words.numbers import UNKNOWN, english_number

Shown: TypeAlias = str | float | None
"""A value to fill into a text, None if unknown; a value of another type would show its `repr`."""

TERMS: dict[str, str] = {
    "target_reached": "target reached",
    "oom": "out of memory",
    "nan": "not a number",
    "not_yet": "not yet",
    "cannot_tell": "can't tell",
    "did_not_hold": "did not hold",
    "not_tested": "not tested",
}
"""The words to show for a code in records, such as a status; other codes are shown unchanged."""


_TABLE = tomllib.loads(Path(__file__).with_name("sentences.toml").read_text(encoding="utf-8"))
CAUSES: dict[str, str] = _TABLE.pop("causes")
"""Why an accumulated gradient differs from the whole batch's, and the remedy, by the cause."""
SENTENCES: dict[str, str] = _TABLE
"""The text of every sentence, by its code."""


_COUNTED: ContextVar[str] = ContextVar("counted", default="examples")


@contextmanager
def counted_in(unit: str) -> Iterator[None]:
    """Make texts that are filled in the `with` block say `unit` instead of "examples"."""
    token = _COUNTED.set(unit)
    try:
        yield
    finally:
        _COUNTED.reset(token)


def sentence(code: str, /, **values: Shown) -> str:
    """Return the sentence of a code, filled with values.

    Raises:
        KeyError: no sentence has this code, or a value is missing.
    """
    return text(SENTENCES[code], **values)


def text(message: str, /, **values: Shown) -> str:
    """Fill a text with its values.

    Args:
        message: the text; `{name}` becomes the unchanged value, `{name:form}` a number in that
            form (see `english_number`), `{name:of_validation}` a metric ("validation accuracy", but
            "val_loss" unchanged), `{name:one run|# runs}` a count ("one run", "7 runs").
        values: each name's number or text, or None if unknown, which is written as a dash.
    """
    unit = _COUNTED.get()
    if unit != "examples":
        one = unit.removesuffix("s")
        message = re.sub(r"\ban example\b", f"a {one}", message)
        message = re.sub(r"\bexample(s?)\b", rf"{one}\1", message)
    return _WRITER.vformat(message, (), values)


def number_text(value: float | None, form: str) -> str:
    """Return a number in a form of `english_number`, or a dash if the number is unknown."""
    return UNKNOWN if value is None else english_number(value, form)


def listing(parts: Sequence[str]) -> str:
    """Join texts with commas and a final "and": "16, 32 and 64"."""
    *most, last = parts
    if not most:
        return last
    return f"{', '.join(most)} and {last}"


def term_text(key: str) -> str:
    """Return the words for a code such as a trial's status, or the code if it has no words."""
    return TERMS.get(key, key)


def capitalized(words: str) -> str:
    """Return the words with a capital first letter, as in a sentence or heading."""
    return f"{words[:1].upper()}{words[1:]}"


class _Writer(string.Formatter):
    """The formatter behind `text`, which knows the forms of numbers."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return UNKNOWN
        if format_spec == "of_validation":
            if str(value).lower().startswith(("val", "eval", "dev", "test")):
                return str(value)
            return f"validation {value}"
        if "|" in format_spec:
            one, more = format_spec.split("|")
            return one if value == 1 else more.replace("#", f"{value:,g}")
        if isinstance(value, bool | str):
            return str(value)
        return english_number(value, format_spec)


_WRITER = _Writer()
