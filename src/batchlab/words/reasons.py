"""Reasons: what every code says, and a reason as text in the language in use."""

from __future__ import annotations

from batchlab.records.reason import Reason, Value
from batchlab.words import others
from batchlab.words.catalogue import listing, message_text
from batchlab.words.message import Message

_TABLES = (others.MESSAGES,)  # one a subject; a code is in one of them only
MESSAGES: dict[str, Message] = {code: row for table in _TABLES for code, row in table.items()}


def reason_text(reason: Reason | None) -> str:
    """What a reason says, a clause without its full stop; empty where there is none."""
    if reason is None:
        return ""
    said = {name: _said(value) for name, value in reason.values}
    return message_text(MESSAGES[reason.code], **said)


def _said(value: Value) -> object:
    """A value as a text takes it: a reason that is quoted becomes its words."""
    if isinstance(value, Reason):
        return reason_text(value)
    if isinstance(value, tuple):
        return listing([str(_said(part)) for part in value])
    return value
