"""Sentence: one thing that a study has shown, or could not show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

ClaimVerdict = Literal["held", "did_not_hold", "cannot_tell", "not_tested"]
VERDICT_WORDS: dict[ClaimVerdict, str] = {
    "held": "held",
    "did_not_hold": "did not hold",
    "cannot_tell": "can't tell",
    "not_tested": "not tested",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """One finding in plain words.

    Attributes:
        topic: what it is about, a few words: a text of the catalogue, and its key.
        text: the finding with its numbers.
        verdict: of a claim that was tested; None where nothing was claimed.
        command: a whole command that does what the text says, on a line of its own; empty: none.
    """

    topic: str
    text: str
    verdict: ClaimVerdict | None = None
    command: str = ""

    def __str__(self) -> str:
        return self.text

    def with_note(self, note: str) -> Sentence:
        """The same finding with one more sentence of text."""
        return replace(self, text=f"{self.text} {note}")
