"""Catalogue: a text of the source in the language in use, with its values written in it.

English is the language of the source, so it needs no file: the translations of English are none.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from batchlab.registry import row_module, row_names
from batchlab.words import languages as _LANGUAGES
from batchlab.words.language import Language
from batchlab.words.languages.english import LANGUAGE as ENGLISH
from batchlab.words.message import N_, Message, PluralMessage
from batchlab.words.moments import moment_text
from batchlab.words.numbers import UNKNOWN
from batchlab.words.terms import TERMS

_in_use: ContextVar[Language] = ContextVar("language", default=ENGLISH)


def languages() -> dict[str, Language]:
    """Every language that there is, by its name."""
    return {name: row_module(_LANGUAGES, name).LANGUAGE for name in row_names(_LANGUAGES)}


@contextmanager
def language(spoken: Language) -> Iterator[None]:
    """Speak another language inside the block."""
    token = _in_use.set(spoken)
    try:
        yield
    finally:
        _in_use.reset(token)


def text(message: str, /, **values: object) -> str:
    """A text in the language in use, with its values.

    Args:
        message: the English text; `{name}` is a value as it is, `{name:form}` a number in that
            form (see `english_number`), `{name:term}` a key of `TERMS`, `{name:moment}` a time
            (see `moment_text`).
        values: a number, text that is already in the language or needs none, or None for unknown.
    """
    return _WRITER.vformat(_in_use.get().translations.gettext(message), (), values)


def plural(singular: str, plural: str, n: int, /, **values: object) -> str:
    """The text for a count in the language in use; the count is its value `n`.

    Args:
        singular: the English text for one.
        plural: the English text for any other count.
        n: the count.
        values: the other values, as for `text`.
    """
    chosen = _in_use.get().translations.ngettext(singular, plural, n)
    return _WRITER.vformat(chosen, (), {"n": n, **values})


def message_text(message: Message, /, **values: object) -> str:
    """A message of a table in the language in use, with its values."""
    if not isinstance(message, PluralMessage):
        return text(message, **values)
    n = values[message.by]
    assert isinstance(n, int)
    return plural(message.singular, message.plural, n, **{"n": n, **values})


def number_text(value: float | None, form: str) -> str:
    """A number alone as the language in use writes it; a dash where it is not known."""
    return UNKNOWN if value is None else _in_use.get().number(value, form)


def listing(parts: Sequence[str]) -> str:
    """Several things in one phrase: "16, 32 and 64"."""
    *most, last = parts
    return text(N_("{most} and {last}"), most=", ".join(most), last=last) if most else last


def capitalized(words: str) -> str:
    """The words with their first letter in upper case."""
    place = next((i for i, character in enumerate(words) if character.isalpha()), 0)
    return words[:place] + words[place : place + 1].upper() + words[place + 1 :]


class _Writer(string.Formatter):
    """Writes the values of a text; only names stand in its braces, no attributes or items."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        return kwargs[field_name], field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return UNKNOWN
        if format_spec == "term":
            return text(TERMS.get(str(value), str(value)))
        if format_spec == "moment":
            return moment_text(str(value))
        if isinstance(value, bool | str):
            return str(value)
        return _in_use.get().number(value, format_spec)


_WRITER = _Writer()
