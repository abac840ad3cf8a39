"""FinalValue: the level of a validation metric at the end of a run, with its error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from batchlab.records.quantities import Better

Curve = Sequence[tuple[float, float | None]]
"""(samples, value) at each evaluation after the first step, ascending; None is not finite."""

# The last part of a run that a line is fitted to.
_TAIL = 0.25
# With fewer evaluations there, a slope says more about noise than about training.
_FEWEST = 4
# Of a run whose best model is kept: the best mean of so many evaluations in a row.
_IN_A_ROW = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalValue:
    """What a run ends with, in the metric's unit."""

    value: float
    error: float | None  # standard error by the scatter of evaluations; None: too few to tell
    n: int  # evaluations behind it


def final_value(curve: Curve, *, better: Better, keeps_best: bool = False) -> FinalValue | None:
    """Return the level at the end, from a least-squares line through the last quarter of a run.

    A mean over that quarter would lag behind whatever still improves. Where there are fewer than
    four evaluations in it, the mean is all that can be told.

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
    last = curve[-1][0]
    seen = [(samples / last, value) for samples, value in curve if samples >= (1 - _TAIL) * last]
    values = [value for _, value in seen if value is not None]
    if len(values) < len(seen):
        return None
    n = len(values)
    mean = math.fsum(values) / n
    if n < _FEWEST:
        spread = float(np.std(values, ddof=1)) if n > 1 else None
        return FinalValue(value=mean, error=spread and spread / math.sqrt(n), n=n)
    x = np.array([place for place, _ in seen])
    y, apart = np.array(values), x - x.mean()
    square = float(apart @ apart)
    slope = float(apart @ y) / square
    ahead = 1.0 - float(x.mean())
    residual = y - mean - slope * apart
    variance = float(residual @ residual) / (n - 2)
    # A slope that is no larger than its own error tells nothing: the mean is the better guess then.
    kept = max(0.0, 1 - variance / square / slope**2) if slope else 0.0
    # What is left of the slope may be too small, so it is no surer than the whole line's end.
    error = math.sqrt(variance * (1 / n + ahead**2 / square))
    return FinalValue(value=mean + kept * slope * ahead, error=error, n=n)


def _best(curve: Curve, better: Better) -> FinalValue | None:
    sign = 1 if better == "higher" else -1
    values = [value for _, value in curve if value is not None]
    if not values:
        return None
    n = min(_IN_A_ROW, len(values))
    rows = [values[i : i + n] for i in range(len(values) - n + 1)]
    best = max(rows, key=lambda row: sign * math.fsum(row))
    spread = float(np.std(best, ddof=1)) / math.sqrt(n) if n > 1 else None
    return FinalValue(value=math.fsum(best) / n, error=spread, n=n)
