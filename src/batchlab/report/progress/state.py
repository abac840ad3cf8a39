"""ProgressState: where a command is, by what it has told so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar


class ProgressState:
    """Where a command is, by what it has told so far.

    It keeps what a `ProgressListener` is told; who shows it looks at the attributes.

    Attributes:
        command: the command that runs; "" before it has begun.
        subject: what it is about.
        stages: its stages, in order; empty for a command that has none.
        phase: what it is at: one of the stages, or something beside them.
        runs: the training runs that are waited for, None: it tells of none.
        lead: what leads so far, None: nothing yet.
        doing: what is done just now, in full and in fewer characters.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is told yet; `clock` is a monotonic one, in seconds."""
        self.command = ""
        self.subject = ""
        self.stages: tuple[str, ...] = ()
        self.phase = ""
        self.runs: RunsAsked | None = None
        self.lead: BestSoFar | None = None
        self.doing = ("", "")
        self._clock = clock
        self._began_s = clock()
        self._budget: tuple[float, float, float] | None = None
        self._part: tuple[float, float | None, float] | None = None

    # ---- what it is told

    def begins(self, command: str, subject: str, stages: Sequence[str]) -> None:
        """A command begins."""
        self.command, self.subject, self.stages = command, subject, tuple(stages)

    def enter(self, phase: str) -> None:
        """A new part begins; what was being done is done."""
        self.phase, self.runs, self.doing, self._part = phase, None, ("", ""), None

    def spend(self, spent_s: float, budget_s: float) -> None:
        """So much of the budget is spent by now.

        Of the same budget it is never less than before: who told first may know of more.
        """
        if (known := self.budget) is not None and known[1] == budget_s:
            spent_s = max(spent_s, known[0])
        self._budget = (spent_s, budget_s, self._clock())

    def work(self, done_fraction: float, left_s: float | None, text: str, short: str) -> None:
        """So much is done, and this is done now."""
        self._part = (done_fraction, left_s, self._clock())
        self.doing = (text, short or text)

    # ---- what is known of it now

    @property
    def stage_number(self) -> int | None:
        """Which of the stages it is at, from 1 on; None: at something beside them."""
        return self.stages.index(self.phase) + 1 if self.phase in self.stages else None

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began_s

    @property
    def budget(self) -> tuple[float, float] | None:
        """Seconds spent by now, and those that there are; None: the work is not cut by time."""
        if self._budget is None:
            return None
        spent_s, budget_s, told_s = self._budget
        return min(budget_s, spent_s + self._clock() - told_s), budget_s

    @property
    def done_fraction(self) -> float | None:
        """How much is done: of the budget where there is one, else of what is planned."""
        if (budget := self.budget) is not None:
            return budget[0] / budget[1]
        return None if self._part is None else min(1.0, max(0.0, self._part[0]))

    @property
    def left_s(self) -> float | None:
        """Seconds that the planned work still takes by now; None: not known yet."""
        if self._part is None:
            return None
        _, left_s, told_s = self._part
        if left_s is None:
            return None
        return max(0.0, left_s - (self._clock() - told_s))
