"""ProgressListener: the receiver of news about a long piece of work."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar


class ProgressListener:
    """A receiver of news about the work; it ignores what it does not override."""

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        """Announce a command, its subject, and the stages that `phase` will announce in order."""

    def phase(self, text: str) -> None:
        """Announce a new part of the work: one of the stages, or something in addition."""

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        """Announce how much of the budget is spent; from here on it is spent by the clock."""

    def asked(self, runs: RunsAsked) -> None:
        """Announce the runs that are waited for."""

    def best(self, best: BestSoFar | None) -> None:
        """Announce what leads by now, or None if nothing does."""

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        """Announce how much of the training is done, and the seconds left if they are known.

        `text` says what is done now.
        """

    def warning(self, text: str) -> None:
        """Announce something that the user should know."""
