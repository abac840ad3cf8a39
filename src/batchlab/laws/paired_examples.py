"""PairedExamples: how far two configurations' shares of right examples lie apart, and how sure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

Right = NDArray[np.bool_]
_FEWEST_SEEDS = 2


def paired_difference(
    first: Sequence[Right], second: Sequence[Right], *, confidence: float = 0.95
) -> Estimate:
    """The share of right examples of one configuration less that of another.

    Both were asked about the same examples, which are a sample of all that there are: the variance
    is that of the examples' own differences, over their number, plus that of the seeds' shares,
    over theirs. The luck of a seed with single examples is in both, so the interval is a little too
    wide; without it in the second, few seeds would make it too narrow.

    Args:
        first: a seed each, one for each example, shape (n,).
        second: the same.
        confidence: of the interval.

    Returns:
        The difference, with n the number of examples; without bounds where one of the two has
        fewer than two seeds.

    Source: two-way crossed random effects; Owen 2007, "The pigeonhole bootstrap", Annals of Applied
        Statistics 1(2), section 3; the degrees of freedom by Satterthwaite 1946.
    """
    if not first or not second:
        return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
    ours, theirs = np.stack(first).astype(float), np.stack(second).astype(float)
    apart = ours.mean(0) - theirs.mean(0)
    n, estimate = apart.size, float(apart.mean())
    if min(len(ours), len(theirs)) < _FEWEST_SEEDS or n < 2:
        return Estimate.of(estimate, interval=(None, None), n=n)
    parts = [(float(apart.var(ddof=1)) / n, n - 1)]
    parts += [(_of_seeds(shares), len(shares) - 1) for shares in (ours.mean(1), theirs.mean(1))]
    variance = math.fsum(part for part, _ in parts)
    if variance == 0:
        return Estimate.of(estimate, interval=(estimate, estimate), n=n)
    degrees = variance**2 / math.fsum(part**2 / freedom for part, freedom in parts)
    half = float(stdtrit(degrees, (1 + confidence) / 2)) * math.sqrt(variance)
    return Estimate.of(estimate, interval=(estimate - half, estimate + half), n=n)


def _of_seeds(shares: NDArray[np.float64]) -> float:
    """The variance of the mean of the seeds' shares."""
    return float(shares.var(ddof=1)) / len(shares)
