"""Comparisons of configurations, from random draws of their mean metrics (higher is better)."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from batchlab.records.estimate import Estimate

Array = NDArray[np.float64]
Verdict = Literal["held", "did_not_hold", "cannot_tell"]

# A statement is made if its probability is at least this. The 95 % interval in the report then
# excludes all values that contradict the statement, so readers can check it.
SURE = 0.975


def as_good(draws: Array, margin: float) -> list[int]:
    """Return the indices of the configurations that may be as good as the first, the best one.

    A configuration that is surely worse than the first counts if it is surely within the margin.

    Args:
        draws: draws of the mean of every configuration, shape (n_draws, configurations).
        margin: a mean that is worse by up to this counts as no worse.
    """
    behind = draws[:, [0]] - draws
    may_be = (np.mean(behind > 0, axis=0) < SURE) | (np.mean(behind < margin, axis=0) >= SURE)
    return [i for i in range(1, len(may_be)) if may_be[i]]


def falls(draws: Array, margin: float) -> Verdict:
    """Judge whether the first configuration is better than the last (see `_is_better`)."""
    return _is_better(draws[:, 0] - draws[:, -1], margin)


def better_than_all(draws: Array, margin: float) -> Verdict:
    """Judge whether the first configuration is better than all others (see `_is_better`)."""
    return _is_better(draws[:, 0] - draws[:, 1:].max(axis=1), margin)


def no_worse_than_any(draws: Array, margin: float) -> Verdict:
    """Judge whether the first configuration is no worse than the best of the others.

    A configuration that is worse by less than the margin counts as no worse.
    """
    chance = np.mean(draws[:, 1:].max(axis=1) - draws[:, 0] < margin)
    if chance >= SURE:
        return "held"
    if chance <= 1 - SURE:
        return "did_not_hold"
    return "cannot_tell"


def _is_better(apart: Array, margin: float) -> Verdict:
    """Judge whether one configuration is better than another.

    `apart` holds draws of how much better it is. Return "did_not_hold" if that is surely less than
    the margin, else "held" if that is surely more than 0, else "cannot_tell".
    """
    if np.mean(apart < margin) >= SURE:
        return "did_not_hold"
    if np.mean(apart > 0) >= SURE:
        return "held"
    return "cannot_tell"


def rises(draws: Array) -> list[int]:
    """Return each i for which configuration i + 1 is surely better than configuration i."""
    # The limit of "surely" is Bonferroni-corrected for the number of comparisons.
    chances = np.mean(np.diff(draws, axis=1) > 0, axis=0)
    is_sure = chances >= 1 - (1 - SURE) / max(len(chances), 1)
    return [*map(int, np.flatnonzero(is_sure))]


def seeds_to_tell(difference: Estimate, margin: float) -> float:
    """Estimate how many seeds per configuration would decide a comparison; inf if unknown.

    A comparison is decided if the interval of the difference excludes 0 or the margin. The interval
    is assumed to shrink with the root of the number of seeds.
    """
    value, low, high = difference.estimate, difference.low, difference.high
    if value is None or low is None or high is None:
        return math.inf
    far = max(abs(value), margin - abs(value))
    if not far:
        return math.inf
    return math.ceil(difference.n / 2 * ((high - low) / 2 / far) ** 2)
