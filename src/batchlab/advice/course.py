"""Compare two runs by the costs at which they first reached the same value."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from batchlab.advice.advice import Question
from batchlab.records.trial import TrialRecord

Array = NDArray[np.float64]


def course_of(record: TrialRecord, question: Question, *, per_step: float) -> Array:
    """Return a run's cost and best value until each of its n evaluations, shape (2, n).

    A step costs `per_step`. Values are negated if lower is better. A run without evaluations gets
    cost 0 and value -inf.
    """
    curve = list(record.curve("validation", question.metric))
    costs = [evaluation.step * per_step for evaluation, _ in curve] or [0.0]
    values = [question.sign * value for _, value in curve] or [-math.inf]
    return np.array([costs, np.maximum.accumulate(values)])


def slower_by(challenger: Array, leader: Array, *, most: float) -> float:
    """Return the challenger's cost to reach a value / the leader's cost to reach the same value.

    The value is the best that both runs reached, but at most `most`. The result is infinite if the
    challenger never improved after its first evaluation, and 0 if only the leader never improved.
    """
    if challenger[1, -1] <= challenger[1, 0]:
        return math.inf
    if leader[1, -1] <= leader[1, 0]:
        return 0.0
    level = min(challenger[1, -1], leader[1, -1], most)
    leaders = _cost_to(level, leader)
    return _cost_to(level, challenger) / leaders if leaders > 0 else math.inf


def _cost_to(level: float, course: Array) -> float:
    """Return the cost at which a run reached `level`, interpolated between two evaluations."""
    costs, values = course
    k = int(np.searchsorted(values, level))
    if k == 0:
        return float(costs[0])
    share = (level - values[k - 1]) / (values[k] - values[k - 1])
    return float(costs[k - 1] + share * (costs[k] - costs[k - 1]))
