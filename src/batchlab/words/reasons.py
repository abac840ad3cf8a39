"""Reasons as text: the explanation of an event or a result in words."""

from __future__ import annotations

from batchlab.records.estimate import Reason, Value
from batchlab.words.catalogue import Shown, sentence


def reason_text(reason: Reason | None) -> str:
    """Return a reason as a clause without its full stop, or "" if the reason is None.

    A reason that another version of batchlab stored, whose code or values this version does not
    know, is written as it was stored.
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


def _known_words(reason: Reason) -> str | None:
    try:
        return sentence(reason.code, **{name: _shown(value) for name, value in reason.values})
    except (KeyError, ValueError, TypeError):
        return None


def _shown(value: Value) -> Shown:
    """Return a reason's value as texts show it; a nested reason becomes its words."""
    if isinstance(value, Reason):
        return reason_text(value).rstrip(".")  # drop the full stop of an error message
    if isinstance(value, tuple):
        return ", ".join(str(_shown(item)) for item in value)
    return value
