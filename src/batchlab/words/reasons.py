"""Reasons as text: the explanation of an event or a result in words."""

from __future__ import annotations

from batchlab.records.estimate import Reason, Value
from batchlab.words.catalogue import Shown, sentence


def reason_text(reason: Reason | None) -> str:
    """Return a reason in words: its sentence filled with its values, or "" for None.

    If this version of batchlab does not know the code or the values, because another version
    stored the reason, the code and the values are written instead.
    """
    if reason is None:
        return ""
    values = {name: _shown(value) for name, value in reason.values}
    try:
        return sentence(reason.code, **values)
    except (KeyError, ValueError, TypeError):
        return " ".join([reason.code, *(f"{name}={value}" for name, value in values.items())])


def _shown(value: Value) -> Shown:
    """Convert one of a reason's values to a form that can be filled into a sentence.

    A nested reason becomes its sentence, and a tuple becomes its items, separated by commas.
    """
    if isinstance(value, Reason):
        return reason_text(value).rstrip(".")  # drop the full stop of an error message
    if isinstance(value, tuple):
        return ", ".join(str(_shown(item)) for item in value)
    return value
