"""Objective: what a run is worth to the question asked."""

from __future__ import annotations

import math

from batchlab.records.quantities import Better
from batchlab.records.trial import TrialRecord


def best_value(
    record: TrialRecord, metric: str, better: Better, *, within_samples: float = math.inf
) -> float | None:
    """The best validation value of the metric after the first step; None: there is none."""
    values = [
        value
        for evaluation, value in record.curve("validation", metric)
        if evaluation.step > 0 and evaluation.samples <= within_samples
    ]
    if not values:
        return None
    return max(values) if better == "higher" else min(values)


def distance(record: TrialRecord, metric: str, better: Better) -> float:
    """An order of runs by their best value, the best one first; infinite: never evaluated."""
    value = best_value(record, metric, better)
    if value is None:
        return math.inf
    return -value if better == "higher" else value


def shortfall(
    record: TrialRecord, metric: str, better: Better, *, n_validation: int | None = None
) -> float | None:
    """How far the best validation value is from perfect: 1 minus it, or for a loss itself.

    Args:
        record: the run.
        metric: whose values are compared.
        better: its direction.
        n_validation: examples that it is a mean over. A perfect value is short of perfect by half
            an example: so much is not seen of it. None: not known.

    Returns:
        None where that is no positive number (a metric outside 0 to 1): ratios of it mean nothing.
    """
    value = best_value(record, metric, better)
    if value is None:
        return None
    distance = 1 - value if better == "higher" else value
    if distance == 0 and n_validation:
        return 0.5 / n_validation
    return distance if distance > 0 else None
