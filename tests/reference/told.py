"""A listener that keeps what a command tells while it works."""

from collections.abc import Sequence

from batchlab.records.estimate import Reason
from batchlab.records.trial import Trial


class Told:
    def __init__(self) -> None:
        self.begun: list[tuple[str, str, list[str]]] = []
        self.phases: list[str] = []
        self.warnings: list[str] = []
        self.fractions: list[float] = []
        self.left_s: list[float | None] = []
        self.texts: list[str] = []
        self.budgets: list[tuple[float, float]] = []
        self.reasons: list[Reason] = []
        self.phase, self.warning = self.phases.append, self.warnings.append

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        self.begun.append((command, subject, list(stages)))

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        self.budgets.append((spent_s, budget_s))

    def asked(self, trials: Sequence[Trial], why: Reason) -> None:
        self.reasons.append(why)

    def best(self, batch_size: int, learning_rate: float) -> None:
        """Nothing is kept of it."""

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        self.fractions.append(done_fraction)
        self.left_s.append(left_s)
        self.texts.append(text)
