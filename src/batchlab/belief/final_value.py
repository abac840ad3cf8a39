"""The final value of a run: its validation metric at the end, smoothed over evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from batchlab.laws.lines import StraightLine
from batchlab.laws.mean import known
from batchlab.records.quantities import Better
from batchlab.records.trial import Split, TrialRecord

Curve = Sequence[tuple[float, float | None]]
"""(examples seen, metric) of each evaluation after step 0, in order; None if not finite."""

V = TypeVar("V", float, float | None)

# A final value is the end of a line fitted to this last fraction of a run's evaluations.
_TAIL = 0.25
_BOUNDS = (1.0, 100.0)  # The largest possible accuracy, as a fraction and in percent.
# Fit a line to at least this many evaluations. With two, the line's error could not be estimated.
_FEWEST = 3
# If a training keeps its best model, use the best mean of this many successive evaluations.
_IN_A_ROW = 3


def final_value(curve: Curve, *, better: Better, keeps_best: bool = False) -> float | None:
    """Return the value at the end of a least-squares line through the last quarter of a run.

    A mean over the quarter would lag behind a metric that still improves. If the quarter has fewer
    than three evaluations, use the last three of the last half of the run, or the last value if the
    half has fewer than three. If all values lie within 0 and 1 (or 0 and 100), so does the result.

    Args:
        curve: the validation metric at each evaluation.
        better: whether "higher" or "lower" values are better.
        keeps_best: return the best mean of three successive evaluations instead, for trainings
            that keep their best model or overfit.

    Returns:
        None if there is no evaluation, or a value that the result depends on was not finite.
    """
    if not curve:
        return None
    if keeps_best:
        return _best(curve, better)
    late = _late(curve)
    if len(late) < _FEWEST:
        return late[-1][1]
    places, values = zip(*late, strict=True)
    if None in values:
        return None
    mean = math.fsum(values) / len(values)
    line = StraightLine.through(places, values)
    assert line.residual_sd is not None
    # Multiply the slope by 1 - (standard error / slope)², or by 0 if that is negative.
    error_sq, end = line.residual_sd**2 / line.spread, mean
    if line.slope:
        share = max(0.0, 1 - error_sq / line.slope**2)
        end += share * line.slope * (1.0 - line.mean_x)
    # A line may end above the largest possible accuracy or below a loss of 0, so limit its end.
    if min(values) >= 0:
        end = max(end, 0.0)
    for most in _BOUNDS:
        if max(values) <= most:
            return float(min(end, most))
    return float(end)


def final_of(
    record: TrialRecord,
    split: Split,
    metric: str,
    better: Better,
    *,
    steps: float = math.inf,
    keeps_best: bool = False,
) -> float | None:
    """Return the final value of a metric of one training.

    A validation metric is smoothed by `final_value`, using only evaluations until `steps`. Train
    and test metrics are evaluated too rarely to be smoothed, so return their last value.
    """
    if split != "validation":
        return record.last(split, metric)
    keeps_best = keeps_best or record.ended_by_patience
    curve: list[tuple[float, float | None]] = []
    for evaluation in reversed(record.evaluations):
        if curve and not keeps_best and evaluation.samples < curve[0][0] / 2:
            break  # A final value depends on no evaluation in the first half of a run.
        for score in evaluation.scores:
            if (score.split, score.metric) == (split, metric) and 0 < evaluation.step <= steps:
                curve.append((evaluation.samples, score.value))
    return final_value(curve[::-1], better=better, keeps_best=keeps_best)


def end_error(curve: Sequence[tuple[float, float]]) -> float | None:
    """Return the standard error of a run's final value.

    The final value is the end of a line through the last quarter of the run. Its standard error
    predicts how much final values differ by seed.

    Args:
        curve: (examples seen, validation metric) of each evaluation after step 0.

    Returns:
        The error, or None if the last quarter has fewer than four evaluations.
    """
    late = _late(curve)
    if len(late) <= _FEWEST:
        return None
    places, values = zip(*late, strict=True)
    # Shift x so that the run ends at 0, because the formula below gives the error at x = 0.
    line = StraightLine.through(np.subtract(places, 1), values)
    assert line.residual_sd is not None
    return line.residual_sd * math.sqrt(1 / line.n + line.mean_x**2 / line.spread)


def end_error_of(record: TrialRecord, metric: str) -> float | None:
    """Return the standard error of a run's final value; None if unknown or the run failed."""
    if not record.ended_well:
        return None
    curve = record.curve("validation", metric)
    return end_error([(at.samples, value) for at, value in curve if at.step])


def end_errors(records: Iterable[TrialRecord], metric: str) -> list[float]:
    """Return the standard errors of the runs' final values, without the unknown ones."""
    return known(end_error_of(record, metric) for record in records)


def _late(curve: Sequence[tuple[float, V]]) -> list[tuple[float, V]]:
    """Return (fraction of the run, value) of the evaluations to compute a final value from."""
    if not curve:
        return []
    last = curve[-1][0]
    late = [(samples / last, value) for samples, value in curve if samples >= last / 2]
    n_tail = sum(samples >= (1 - _TAIL) * last for samples, _ in curve)
    return late[-max(n_tail, _FEWEST) :]


def _best(curve: Curve, better: Better) -> float | None:
    values = known(value for _, value in curve)
    n = min(_IN_A_ROW, len(values))
    if n == 0:
        return None
    means = [math.fsum(values[i : i + n]) / n for i in range(len(values) - n + 1)]
    return max(means) if better == "higher" else min(means)
