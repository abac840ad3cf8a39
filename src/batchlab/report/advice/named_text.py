"""NamedText: what a configuration is called that an answer names."""

from __future__ import annotations

from batchlab.advice.advice import Advice
from batchlab.words.catalogue import text


def named_text(advice: Advice) -> str:
    """In a table or at a mark: whether it is certain."""
    return text("recommended") if advice.recommendation else text("best so far")
