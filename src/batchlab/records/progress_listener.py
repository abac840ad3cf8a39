"""ProgressListener: the receiver of a running command's progress messages."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.records.estimate import Reason
from batchlab.records.trial import Trial


class ProgressListener:
    """A receiver of a command's progress messages; this base class ignores every message."""

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        """Announce a command, the name of the workload, and the command's stages in order."""

    def phase(self, text: str) -> None:
        """Announce that a stage of the command starts.

        `text` names one of the stages given to `begins`, or an additional stage.
        """

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        """Announce the budget and the seconds spent; the time after this call counts as spent."""

    def asked(self, trials: Sequence[Trial], why: Reason) -> None:
        """Announce the trials whose runs are awaited, and why the runs were requested."""

    def best(self, batch_size: int, learning_rate: float) -> None:
        """Announce the batch size and learning rate of the configuration that leads at present."""

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        """Announce the fraction of all runs that is done, and the seconds left if known.

        `text` describes the current activity.
        """

    def warning(self, text: str) -> None:
        """Announce something that the user should know."""
