"""A listener that keeps what a command tells while it works."""

from collections.abc import Sequence

from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str, list[str]]] = []
        self.phases: list[str] = []
        self.warnings: list[str] = []
        self.fractions: list[float] = []
        self.texts: list[str] = []
        self.budgets: list[tuple[float, float]] = []
        self.runs: list[RunsAsked] = []
        self.leads: list[BestSoFar | None] = []

    def begins(self, *, command: str, subject: str, stages: Sequence[str]) -> None:
        self.begun.append((command, subject, list(stages)))

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def budget(self, *, spent_s: float, budget_s: float) -> None:
        self.budgets.append((spent_s, budget_s))

    def asked(self, runs: RunsAsked) -> None:
        self.runs.append(runs)

    def best(self, best: BestSoFar | None) -> None:
        self.leads.append(best)

    def progress(self, *, done_fraction: float, left_s: float | None, text: str) -> None:
        self.fractions.append(done_fraction)
        self.texts.append(text)
