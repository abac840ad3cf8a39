"""Reasons: what every code says, and a reason as text."""

from __future__ import annotations

from batchlab.records.reason import Reason, Value
from batchlab.words import (
    advice,
    advice_steps,
    checks,
    commands,
    diagnoses,
    laws,
    monitor,
    others,
    profile,
    trials,
)
from batchlab.words.catalogue import message_text
from batchlab.words.message import Message

# One a subject; a code is in one of them only.
_TABLES = (
    laws.MESSAGES,
    diagnoses.MESSAGES,
    profile.MESSAGES,
    trials.MESSAGES,
    advice.MESSAGES,
    advice_steps.MESSAGES,
    others.MESSAGES,
    monitor.MESSAGES,
    commands.MESSAGES,
    checks.MESSAGES,
)
MESSAGES: dict[str, Message] = {code: row for table in _TABLES for code, row in table.items()}


def reason_text(reason: Reason | None) -> str:
    """What a reason says, a clause without its full stop; empty where there is none."""
    if reason is None:
        return ""
    said = {name: _said(value) for name, value in reason.values}
    return message_text(MESSAGES[reason.code], **said)


def has_words(reason: Reason) -> bool:
    """Whether this batchlab can say it: another version may know other codes and values."""
    try:
        reason_text(reason)
    except (KeyError, ValueError, TypeError, AssertionError):
        return False
    return True


def _said(value: Value) -> object:
    """A value as a text takes it: a reason that is quoted becomes its words."""
    if isinstance(value, Reason):
        return reason_text(value).rstrip(".")  # an error of the user's code may end with a stop
    if isinstance(value, tuple):
        return ", ".join(str(_said(part)) for part in value)
    return value
