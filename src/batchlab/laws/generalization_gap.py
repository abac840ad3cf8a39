"""GeneralizationGap: train less held-out share, with an interval over seeds and examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy.special import ndtri, stdtrit

from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

_FEWEST_SEEDS = 2


def generalization_gap(
    train: Sequence[float],
    held_out: Sequence[float],
    *,
    n_train: int,
    n_train_evaluated: int,
    n_held_out: int,
    confidence: float = 0.95,
) -> Estimate:
    """The mean gap of a share of examples, such as accuracy, with its interval.

    Held-out examples are a sample of all that there are; train examples of the training set, where
    only a part of it was evaluated; seeds of all seeds. The three distances are put together as the
    sides of a right angle. Examples count as if each seed had judged them alone, which is a little
    too wide: seeds agree on most.

    Args:
        train: the share of train examples, a seed each, in [0, 1].
        held_out: the share of held-out examples, of the same seeds.
        n_train: examples in the training set.
        n_train_evaluated: of these, how many the share is of.
        n_held_out: how many examples the held-out share is of.
        confidence: of the interval.

    Returns:
        The gap, with n the number of seeds; without bounds from one seed.

    Source: Wilson 1927, JASA 22(158), for one share; Newcombe 1998, Statistics in Medicine 17,
        method 10, and Zou and Donner 2008, doi:10.1002/sim.3095, for differences.
    """
    gaps = [one - other for one, other in zip(train, held_out, strict=True)]
    if not gaps:
        return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
    gap, n = fmean(gaps), len(gaps)
    if n < _FEWEST_SEEDS:
        return Estimate.of(gap, interval=(None, None), n=n)
    quantile = (1 + confidence) / 2
    of_seeds = float(stdtrit(n - 1, quantile)) * stdev(gaps) / math.sqrt(n)
    left = math.sqrt(max(0.0, 1 - n_train_evaluated / n_train))
    own, other = fmean(train), fmean(held_out)
    own_low, own_high = wilson_interval(own, n_train_evaluated, confidence=confidence)
    other_low, other_high = wilson_interval(other, n_held_out, confidence=confidence)
    below = math.hypot(left * (own - own_low), other_high - other, of_seeds)
    above = math.hypot(left * (own_high - own), other - other_low, of_seeds)
    return Estimate.of(gap, interval=(gap - below, gap + above), n=n)


def wilson_interval(share: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share of n examples, within [0, 1].

    Args:
        share: in [0, 1].
        n: at least 1.
        confidence: of the interval.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference",
        JASA 22(158).
    """
    z_sq = float(ndtri((1 + confidence) / 2)) ** 2
    middle = (share + z_sq / (2 * n)) / (1 + z_sq / n)
    half = math.sqrt(z_sq * (share * (1 - share) / n + z_sq / (4 * n**2))) / (1 + z_sq / n)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
