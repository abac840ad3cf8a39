"""Catalogue: every sentence by its code, and the filling of texts with values.

Sentences are kept in `sentences.toml` and filled by `sentence`. Names, labels and headings are
literals in the code, filled by `text` if they have numbers, counts or the word "examples".
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
"""The values that a text may show; others would appear as their repr. None is unknown."""

TERMS: dict[str, str] = {
    "target_reached": "target reached",
    "oom": "out of memory",
    "nan": "not a number",
    "not_yet": "not yet",
    "cannot_tell": "can't tell",
    "did_not_hold": "did not hold",
    "not_tested": "not tested",
}
"""Keys that records hold and people read in other words."""


_TABLE = tomllib.loads(Path(__file__).with_name("sentences.toml").read_text(encoding="utf-8"))
CAUSES: dict[str, str] = _TABLE.pop("causes")
"""Why an accumulated gradient differs and what to do about it, by the code of the cause."""
SENTENCES: dict[str, str] = _TABLE
"""The text of every sentence, by its code."""


_COUNTED: ContextVar[str] = ContextVar("counted", default="examples")


@contextmanager
def counted_in(unit: str) -> Iterator[None]:
    """Let texts have `unit`, in which batch sizes are counted, in place of "examples"."""
    token = _COUNTED.set(unit)
    try:
        yield
    finally:
        _COUNTED.reset(token)


def sentence(code: str, /, **values: Shown) -> str:
    """Return a sentence with its values.

    Raises:
        KeyError: there is no such sentence, or a value is missing.
    """
    return text(SENTENCES[code], **values)


def text(message: str, /, **values: Shown) -> str:
    """Fill a text with its values.

    Args:
        message: the text; `{name}` is a value as it is, `{name:form}` a number in that
            form (see `english_number`), `{name:of_validation}` a metric ("validation accuracy", but
            just "val_loss"), `{name:one run|# runs}` the words for a count.
        values: a number, a text, or None for unknown.
    """
    unit = _COUNTED.get()
    if unit != "examples":
        one = unit.removesuffix("s")
        message = re.sub(r"\ban example\b", f"a {one}", message)
        message = re.sub(r"\bexample(s?)\b", rf"{one}\1", message)
    return _WRITER.vformat(message, (), values)


def number_text(value: float | None, form: str) -> str:
    """Write a number as people read it, or a dash if it is not known."""
    return UNKNOWN if value is None else english_number(value, form)


def listing(parts: Sequence[str]) -> str:
    """Join texts in one phrase: "16, 32 and 64"."""
    *most, last = parts
    if not most:
        return last
    return f"{', '.join(most)} and {last}"


def term_text(key: str) -> str:
    """Return the words that people read for a key in records."""
    return text(TERMS.get(key, key))


def capitalized(words: str) -> str:
    """Begin the words with a capital, like a sentence or a heading."""
    return f"{words[:1].upper()}{words[1:]}"


class _Writer(string.Formatter):
    """A writer of values into a text whose braces hold only names, no attributes or items."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        return kwargs[field_name], field_name

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
