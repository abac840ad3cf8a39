"""Median step time over blocks of steps, and its mean over processes, with 95 % intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.special import bdtr

from batchlab.laws.mean import mean_interval
from batchlab.records.estimate import Estimate

TIMED_S: Final = 0.15
"""Seconds for which a process times a batch size in blocks of steps, longer if a step is slow.

The 95 % interval of the median of fifteen blocks has the fourth smallest and fourth largest as
bounds, so three disturbed blocks do not affect the interval.
"""
# The minimum and maximum of n blocks of any distribution enclose the median with probability
# 1 - 2^(1 - n), which is at least 95 % from this number of blocks on.
_BLOCKS_FOR_ORDER = 6


def median_of_blocks(values: Sequence[float]) -> Estimate:
    """Return the median of one value per block, with a 95 % interval if there are two or more."""
    middle, n = statistics.median(values), len(values)
    if n >= _BLOCKS_FOR_ORDER:
        # Use the largest k for which the k-th smallest and k-th largest value form a 95 % interval.
        rank = np.count_nonzero(2 * bdtr(np.arange(n), n, 0.5) <= 0.05) - 1
        ordered = sorted(values)
        return Estimate.of(middle, interval=(ordered[rank], ordered[-1 - rank]), n=n)
    logs = mean_interval(list(map(math.log, values)))
    if logs.low is None or logs.high is None:
        return Estimate.of(middle, n=n)
    return Estimate.of(middle, interval=(math.exp(logs.low), math.exp(logs.high)), n=n)


def geometric_mean(times: Sequence[Estimate]) -> Estimate:
    """Return the geometric mean of independent times, with an interval if every time has one."""
    values, below, above, n = list[float](), list[float](), list[float](), 0
    for time in times:
        assert time.estimate is not None
        n += time.n
        values.append(time.estimate)
        if time.low is not None and time.high is not None:
            below.append(math.log(time.estimate / time.low))
            above.append(math.log(time.high / time.estimate))
    middle = statistics.geometric_mean(values)
    if len(below) < len(times):
        return Estimate.of(middle, n=n)
    low = middle * math.exp(-math.hypot(*below) / len(times))
    high = middle * math.exp(math.hypot(*above) / len(times))
    return Estimate.of(middle, interval=(low, high), n=n)
