"""The final value of a run: the level of its validation metric at the end."""

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
"""(samples, value) at each evaluation after the first step, ascending; None is not finite."""

V = TypeVar("V", float, float | None)

# The last part of a run that a line is fitted to.
_TAIL = 0.25
_BOUNDS = (1.0, 100.0)  # the largest share, and the largest percentage
# A line goes exactly through fewer evaluations, so their scatter around it is unknown.
_FEWEST = 3
# A run whose best model is kept ends with the best mean of this many evaluations in a row.
_IN_A_ROW = 3


def final_value(curve: Curve, *, better: Better, keeps_best: bool = False) -> float | None:
    """Return the level at the end, from a least-squares line through the last quarter of a run.

    A mean over that quarter would lag behind a metric that still improves. If it has fewer than
    three evaluations, the line is fitted to the last three if they lie in the last half; otherwise
    the last value is returned. If all values lie within 0 and 1, or 0 and 100, so does the result.

    Args:
        curve: of the validation metric.
        better: its direction.
        keeps_best: whether the training keeps its best model, or overfits; then the best mean of
            three evaluations in a row counts.

    Returns:
        None if there is no evaluation, or one of those that count was not finite.
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
    # A slope that is no larger than its own error says nothing, so the mean is the better guess.
    error_sq, end = line.residual_sd**2 / line.spread, mean
    if line.slope:
        share = max(0.0, 1 - error_sq / line.slope**2)
        end += share * line.slope * (1.0 - line.mean_x)
    # A line may go beyond an accuracy of 1, 100 percent or a loss of 0, so its end is bounded.
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
    """Return the value that a training ends with, or would have ended with after `steps` steps.

    Train and test data are evaluated too rarely to fit a line, so their last value is returned.
    """
    if split != "validation":
        return record.last(split, metric)
    curve = []
    for evaluation in record.evaluations:
        for score in evaluation.scores:
            if (score.split, score.metric) == (split, metric) and 0 < evaluation.step <= steps:
                curve.append((evaluation.samples, score.value))
    return final_value(curve, better=better, keeps_best=keeps_best or record.ended_by_patience)


def end_error(curve: Sequence[tuple[float, float]]) -> float | None:
    """Return the standard error of the final value that a line gives.

    If evaluations scatter at the end of a run, final values scatter between seeds. The error is
    that of the least-squares line even if `final_value` follows another rule.

    Args:
        curve: (samples, value) of the validation metric after the first step.

    Returns:
        None with fewer than four evaluations in the last quarter.
    """
    late = _late(curve)
    if len(late) <= _FEWEST:
        return None
    places, values = zip(*late, strict=True)
    # The places are shifted so that the end of the run lies at 0.
    line = StraightLine.through(np.subtract(places, 1), values)
    assert line.residual_sd is not None
    return line.residual_sd * math.sqrt(1 / line.n + line.mean_x**2 / line.spread)


def end_error_of(record: TrialRecord, metric: str) -> float | None:
    """Return the error of a run's final value; None if the run failed or it is not known."""
    if not record.ended_well:
        return None
    curve = record.curve("validation", metric)
    return end_error([(at.samples, value) for at, value in curve if at.step])


def end_errors(records: Iterable[TrialRecord], metric: str) -> list[float]:
    """Return the known errors of the final values of runs."""
    return known(end_error_of(record, metric) for record in records)


def _late(curve: Sequence[tuple[float, V]]) -> list[tuple[float, V]]:
    """Return the evaluations that decide the final value, each with its fraction of the run."""
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
