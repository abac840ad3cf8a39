"""Course: a run's best value so far at each cost, to compare runs before they reach the target."""

from __future__ import annotations

import math
from dataclasses import dataclass

from batchlab.advice.advice import Question
from batchlab.records.trial import TrialRecord


@dataclass(frozen=True, slots=True)
class Course:
    """The best value so far at each cost: (cost, value), both ascending; higher is better."""

    points: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, record: TrialRecord, question: Question, *, per_step: float) -> Course:
        """Return the course of a run, at a cost of `per_step` (such as seconds) per step."""
        points, best = [], -math.inf
        for evaluation, value in record.curve("validation", question.metric):
            best = max(best, question.sign * value)
            points.append((evaluation.step * per_step, best))
        return cls(tuple(points) or ((0.0, -math.inf),))

    @property
    def best(self) -> float:
        """The best value of the run, -inf if it was never evaluated."""
        return self.points[-1][1]

    @property
    def has_learned(self) -> bool:
        """Whether the run became better than at its first evaluation."""
        return self.best > self.points[0][1]

    @property
    def cost(self) -> float:
        """The cost of the run up to its last evaluation."""
        return self.points[-1][0]

    def cost_to(self, level: float) -> float:
        """Return the cost to reach `level`, interpolated between evaluations; infinite if never."""
        before = self.points[0]
        for cost, value in self.points:
            if value >= level:
                rise = value - before[1]
                share = (level - before[1]) / rise if rise > 0 else 1.0
                return before[0] + share * (cost - before[0])
            before = cost, value
        return math.inf


def slower_by(challenger: Course, leader: Course, *, most: float) -> float:
    """Return the challenger's cost to the best value both reached, divided by the leader's.

    Values better than `most` are not compared. The result is infinite if the challenger never
    improved on its first evaluation, and 0 if only the leader never improved.
    """
    if not challenger.has_learned:
        return math.inf
    if not leader.has_learned:
        return 0.0
    level = min(challenger.best, leader.best, most)
    leaders = leader.cost_to(level)
    if leaders <= 0:
        return math.inf
    return challenger.cost_to(level) / leaders
