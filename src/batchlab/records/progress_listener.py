"""ProgressListener: the receiver of news about a long piece of work."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar


class ProgressListener:
    """A receiver of news about the work; news whose method is not overridden is ignored."""

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        """Announce a command, its subject, and the stages that `phase` will announce in order."""

    def phase(self, text: str) -> None:
        """Announce a new part of the work: one of the stages, or an additional part."""

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        """Announce the part of the budget that is spent; from here on, clock time is spent."""

    def asked(self, runs: RunsAsked) -> None:
        """Announce the runs that the work waits for."""

    def best(self, best: BestSoFar | None) -> None:
        """Announce the leading configuration, or None if there is none."""

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        """Announce the fraction of the training that is done, and the seconds left if known.

        `text` says what is done now.
        """

    def warning(self, text: str) -> None:
        """Announce something that the user should know."""
