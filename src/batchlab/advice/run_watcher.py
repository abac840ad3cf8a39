"""RunWatcher: who looks on while an advice asks for runs; nothing is decided by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from batchlab.advice.parts import Purpose
from batchlab.records.runs_asked import RunsAsked

if TYPE_CHECKING:
    from batchlab.advice.run_log import RunLog


class RunWatcher(Protocol):
    """Who looks on while an advice asks for runs."""

    def asked(self, runs: RunsAsked, purpose: Purpose) -> None:
        """These runs are asked for now."""
        ...

    def answered(self, run_log: RunLog) -> None:
        """Runs have ended, or what follows from them was noted: the log has both."""
        ...


class Unwatched:
    """Nobody looks on."""

    def asked(self, runs: RunsAsked, purpose: Purpose) -> None:
        """Say nothing."""

    def answered(self, run_log: RunLog) -> None:
        """Say nothing."""
