"""Reasons as text: what happened, and why something is as it is."""

from __future__ import annotations

from batchlab.records.estimate import Reason, Value
from batchlab.words.catalogue import Shown, sentence


def reason_text(reason: Reason | None) -> str:
    """Return a reason as a clause without its full stop; empty if there is none.

    A reason that another version of batchlab stored, with a code or values that this one lacks, is
    written as it was stored.
    """
    if reason is None:
        return ""
    words = _known_words(reason)
    if words is not None:
        return words
    if not reason.values:
        return reason.code
    values = ", ".join(f"{name} {_shown(value)}" for name, value in reason.values)
    return f"{reason.code.replace('_', ' ')} ({values})"


def has_words(reason: Reason) -> bool:
    """Return whether this batchlab knows its code and values, as other versions have others."""
    return _known_words(reason) is not None


def _known_words(reason: Reason) -> str | None:
    try:
        return sentence(reason.code, **{name: _shown(value) for name, value in reason.values})
    except (KeyError, ValueError, TypeError):
        return None


def _shown(value: Value) -> Shown:
    """Return a value as a text takes it: a reason that is quoted becomes its words."""
    if isinstance(value, Reason):
        return reason_text(value).rstrip(".")  # a user's error may end with a full stop
    if isinstance(value, tuple):
        return ", ".join(str(_shown(item)) for item in value)
    return value
