"""Reason clause: a reason as part of a sentence, or as a sentence of its own."""

from __future__ import annotations

from batchlab.records.estimate import Reason
from batchlab.words.reasons import reason_text


def whole_sentence(reason: Reason) -> str:
    """A reason or caveat as a sentence of its own: a capital, and a full stop at the end."""
    words = clause(reason)
    return f"{with_a_capital(words)}." if words else ""


def clause(reason: Reason | None) -> str:
    """A reason as part of a sentence: without the full stop of its own."""
    return reason_text(reason).strip().rstrip(".")


def with_a_capital(words: str) -> str:
    """The words as a sentence or a heading begins."""
    return f"{words[:1].upper()}{words[1:]}"
