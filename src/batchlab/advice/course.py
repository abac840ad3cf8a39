"""Course: how good a run had become at what cost, so that runs of any length can be compared.

Two runs of different length, batch size and rate have one thing in common: the best level that both
have reached. What each took to it says which is sooner, before either has met the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchlab.advice.question import Question
from batchlab.records.trial import TrialRecord


@dataclass(frozen=True, slots=True)
class Course:
    """The best value so far, by cost.

    Attributes:
        points: (cost, best value so far), ascending in both; signed so that higher is better.
    """

    points: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, record: TrialRecord, question: Question, *, per_step: float) -> Course:
        """The course of a run.

        Args:
            record: the run.
            question: whose metric it is, on validation data.
            per_step: what a step costs: seconds, or examples.
        """
        sign = 1 if question.better == "higher" else -1
        points, best = [], -math.inf
        for evaluation, value in record.curve("validation", question.metric):
            best = max(best, sign * value)
            points.append((evaluation.step * per_step, best))
        return cls(tuple(points))

    @property
    def start(self) -> float:
        """The value of its first evaluation, -inf where it has none."""
        return self.points[0][1] if self.points else -math.inf

    @property
    def best(self) -> float:
        """The best value of all, -inf where it has none."""
        return self.points[-1][1] if self.points else -math.inf

    @property
    def cost(self) -> float:
        """Of the whole run, to its last evaluation."""
        return self.points[-1][0] if self.points else 0.0

    def cost_to(self, level: float) -> float:
        """What it took to a level, on a line between two evaluations; infinite: not reached."""
        before: tuple[float, float] | None = None
        for cost, value in self.points:
            if value >= level:
                if before is None:
                    return cost
                share = (level - before[1]) / (value - before[1])
                return before[0] + share * (cost - before[0])
            before = cost, value
        return math.inf


def slower_by(challenger: Course, leader: Course, *, most: float) -> float:
    """How many times as long a run took as the leader to the best level that both have reached.

    Args:
        challenger: the run.
        leader: the one that it is compared with.
        most: levels beyond this one are not compared.

    Returns:
        Infinite where the challenger is no better than at its start, 0 where the leader is not.
    """
    if challenger.best <= challenger.start:
        return math.inf
    if leader.best <= leader.start:
        return 0.0
    level = min(challenger.best, leader.best, most)
    leaders = leader.cost_to(level)
    return challenger.cost_to(level) / leaders if leaders > 0 else math.inf
