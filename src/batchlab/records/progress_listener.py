"""ProgressListener: who is told how a long piece of work gets on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar


class ProgressListener(Protocol):
    """Who is told how the work gets on; what it does not override, it ignores."""

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        """A command begins on a subject; its stages, in order, will be told by `phase`."""
        return

    def phase(self, text: str) -> None:
        """A new part of the work begins: one of the stages, or something beside them."""
        return

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        """So much of the budget is spent by now; from here on it goes by the clock."""
        return

    def asked(self, runs: RunsAsked) -> None:
        """These runs are waited for."""
        return

    def best(self, best: BestSoFar | None) -> None:
        """This leads by now, None: nothing does."""
        return

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        """So much of the training is done; so many seconds are left, None: not known yet.

        `text` says what is done now.
        """
        return

    def warning(self, text: str) -> None:
        """Something the user should know."""
        return


class Silent(ProgressListener):
    """A listener that does nothing."""
