"""The mean of independent observations, with Student's 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.special import stdtrit

from batchlab.errors import UsageError
from batchlab.records.estimate import Estimate, Reason


def mean_interval(values: Sequence[float]) -> Estimate:
    """Return the mean of independent observations (one per seed) with its 95 % t interval.

    One observation gives a mean without an interval; an empty sequence gives only a reason.

    Raises:
        UsageError: a value is not finite, as for a trial that diverged.
    """
    require_finite(values)
    n = len(values)
    if n == 0:
        return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
    mean = float(np.mean(values))
    if n == 1:
        return Estimate.of(mean, n=1)
    variance = float(np.var(values, ddof=1))
    half = float(stdtrit(n - 1, 0.975)) * math.sqrt(variance / n)
    return Estimate.of(mean, interval=(mean - half, mean + half), n=n)


def known(values: Iterable[float | None]) -> list[float]:
    """Return the values that are not None, in their order."""
    return [value for value in values if value is not None]


def require_finite(values: Iterable[float]) -> None:
    """Raise a UsageError if a value is not finite: diverged trials must not be averaged."""
    if not all(math.isfinite(value) for value in values):
        raise UsageError(
            "a mean over values that are not finite was asked for; leave out the trials that "
            "diverged and name them"
        )
