"""Statements about cells from joint draws of their means, where higher is always better."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from batchlab.records.estimate import Estimate

Array = NDArray[np.float64]
Verdict = Literal["held", "did_not_hold", "cannot_tell"]

# A statement is made if its probability is at least this. The 95 % interval in the report then lies
# completely on the statement's side of the limit, so readers can check the verdict.
SURE = 0.975


def as_good(draws: Array, margin: float) -> list[int]:
    """Return the indices of the other cells that may be as good as the first, best cell.

    A cell is left out if it is surely worse than the first, but not surely within the margin.

    Args:
        draws: draws of the mean of every cell, shape (n_draws, cells).
        margin: a mean that is worse by up to this counts as no worse.
    """
    behind = draws[:, [0]] - draws
    may_be = (np.mean(behind > 0, axis=0) < SURE) | (np.mean(behind < margin, axis=0) >= SURE)
    return [i for i in range(1, len(may_be)) if may_be[i]]


def falls(draws: Array, margin: float) -> Verdict:
    """Judge whether the first cell is better than the last; gains below the margin are ignored."""
    return _is_better(draws[:, 0] - draws[:, -1], margin)


def better_than_all(draws: Array, margin: float) -> Verdict:
    """Judge whether the first cell is better than all others, ignoring gains below the margin."""
    return _is_better(draws[:, 0] - draws[:, 1:].max(axis=1), margin)


def no_worse_than_any(draws: Array, margin: float) -> Verdict:
    """Judge whether the first cell is no worse than the best of the others.

    A cell that is worse by less than the margin counts as no worse.
    """
    chance = np.mean(draws[:, 1:].max(axis=1) - draws[:, 0] < margin)
    if chance >= SURE:
        return "held"
    if chance <= 1 - SURE:
        return "did_not_hold"
    return "cannot_tell"


def _is_better(apart: Array, margin: float) -> Verdict:
    """Judge from draws of a difference whether it is an improvement.

    `apart` holds draws of how much better one cell is than another. Return "did_not_hold" if the
    difference is surely below the margin, "held" if it is surely above 0, else "cannot_tell".
    """
    if np.mean(apart < margin) >= SURE:
        return "did_not_hold"
    if np.mean(apart > 0) >= SURE:
        return "held"
    return "cannot_tell"


def rises(draws: Array) -> list[int]:
    """Return every i for which cell i + 1 is surely better than cell i (Bonferroni-corrected)."""
    chances = np.mean(np.diff(draws, axis=1) > 0, axis=0)
    is_sure = chances >= 1 - (1 - SURE) / max(len(chances), 1)
    return [*map(int, np.flatnonzero(is_sure))]


def seeds_to_tell(difference: Estimate, margin: float) -> float:
    """Estimate how many seeds per cell would decide a comparison; inf if unknown.

    A comparison is decided when the interval of the difference excludes 0 or the margin. The
    interval is assumed to shrink with the root of the number of seeds.
    """
    value, low, high = difference.estimate, difference.low, difference.high
    if value is None or low is None or high is None:
        return math.inf
    far = max(abs(value), margin - abs(value))
    if not far:
        return math.inf
    return math.ceil(difference.n / 2 * ((high - low) / 2 / far) ** 2)
