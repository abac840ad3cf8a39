"""The critical batch size from branches: how many examples larger batch sizes waste at one place.

Branches train on from one checkpoint with other batch sizes, over the same examples. A branch that
ends with a worse loss than the unchanged batch size B_0 has wasted examples: B_0 needs fewer to get
to that loss. By the law S(B) = S_min (1 + B_crit/B), batch size B needs
(1 + B/B_crit) / (1 + B_0/B_crit) times as many examples as B_0.

Sources: branches are from Merrill et al. 2025, arXiv:2505.23971, and the law is equation 2.11 of
McCandlish et al. 2018, arXiv:1812.06162.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.special import stdtrit

from batchlab.records.estimate import Estimate, Reason

# The least standard deviation of log examples, by the seeds of `benchmarks/branches.py`.
_LEAST_SD = 0.1
# The least and the greatest B_crit that are tried, over the batch size in use.
_LOWEST, _HIGHEST = 1 / 64, 1024
_FEWEST = 2  # batch sizes, or there is no estimate


def examples_to(loss: float, own: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the least and most examples with which the batch size in use gets to a loss.

    Both are equal if two branches of that batch size enclose the loss: the number is interpolated,
    with the loss as a line over the log of the examples.

    Args:
        loss: the loss that another branch ended with.
        own: examples and final loss of branches with the batch size in use, sorted by examples.
    """
    if not loss <= own[0][1]:  # also true for a loss of NaN
        return 0.0, own[0][0]
    for (fewer, worse), (more, better) in pairwise(own):
        if better <= loss <= worse:
            fraction = (worse - loss) / (worse - better) if worse > better else 0.0
            examples = fewer * (more / fewer) ** fraction
            return examples, examples
    return own[-1][0], math.inf


def critical_batch_size(batch_size: int, wasted: Sequence[tuple[float, float, float]]) -> Estimate:
    """Return B_crit by the law, with a 95 % interval by profile likelihood, or only a bound.

    Args:
        batch_size: the batch size in use.
        wasted: for each other batch size, its ratio to the one in use, and the least and most
            examples that it takes per example of the one in use; the most may be infinite.
    """
    reason = Reason.of("too_few", what="batch sizes of branches", n=len(wasted), needed=_FEWEST)
    if len(wasted) < _FEWEST:
        return Estimate.cannot_tell(reason, n=len(wasted))
    times, least, most = np.array(wasted, dtype=float).T
    places = np.geomspace(_LOWEST * batch_size, _HIGHEST * batch_size, 800)
    per_place = batch_size / places
    law = np.log((1 + np.outer(per_place, times)) / (1 + per_place)[:, None])
    below, above = np.log(np.maximum(least, 1e-9)), np.log(most)
    off = (np.maximum(np.maximum(below - law, law - above), 0) ** 2).sum(axis=1)
    sd = max(_LEAST_SD, math.sqrt(float(off.min()) / len(wasted)))
    reach = float(stdtrit(len(wasted) - 1, 0.975)) ** 2 * sd**2
    inside = places[off <= off.min() + reach]
    best = np.exp(np.log(places[off <= off.min() + 1e-9 * sd**2]).mean())
    low, high = float(inside[0]), float(inside[-1])
    if inside[-1] < places[-1]:
        return Estimate.of(float(best), interval=(low, high), n=len(wasted))
    if inside[0] > places[0]:
        return Estimate.cannot_tell(Reason.of("steps_still_fall"), n=len(wasted), low=low)
    return Estimate.cannot_tell(reason, n=len(wasted))
