"""Numbers by seed, and what follows from them with a 95 % interval.

Every quantity is computed within each seed first. Its interval is Student's over the seeds, because
the seeds are the independent observations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Literal, TypeVar

import numpy as np
from scipy import stats

from batchlab import Estimate, Study, TrialRecord

T = TypeVar("T")
Seeds = Mapping[int, float]  # one number per seed
Records = tuple[TrialRecord, ...]
Better = Literal["higher", "lower"]

UNKNOWN = Estimate(estimate=None, low=None, high=None, n=0)

# ---- Which trials


def trials(
    study: Study, *, batch_size: int | None = None, learning_rate: float | None = None
) -> Records:
    """Return the trials of a study with this batch size and this rate."""
    return tuple(
        record
        for record in study.records
        if batch_size in (None, record.trial.batch_size)
        and learning_rate in (None, record.trial.learning_rate)
    )


def by_rate(study: Study, batch_size: int) -> dict[float, Records]:
    """Return the trials of a batch size by their rates, in ascending order."""
    rates = {record.trial.learning_rate for record in trials(study, batch_size=batch_size)}
    return {
        rate: trials(study, batch_size=batch_size, learning_rate=rate) for rate in sorted(rates)
    }


# ---- What they show


def by_seed(records: Records, value: Callable[[TrialRecord], float | None]) -> dict[int, float]:
    """Return one number per seed; a trial that ended badly, or has no such number, has none."""
    values = {record.trial.seed: value(record) for record in records if record.ended_well}
    return {seed: number for seed, number in values.items() if number is not None}


def final(
    records: Records,
    metric: str = "accuracy",
    split: Literal["train", "validation", "test"] = "test",
) -> dict[int, float]:
    """Return the metric at the end of each trial."""
    return by_seed(records, lambda record: record.last(split, metric))


def last_measured(records: Records, name: str) -> dict[int, float]:
    """Return a measurement of each model at its end."""
    return by_seed(records, lambda record: record.evaluations[-1].measurement(name))


def mean_measured(records: Records, name: str, *, at_epoch_ends: bool = False) -> dict[int, float]:
    """Return the mean of a measurement along each training, without the untrained model.

    A seed where one of its values is unknown has none. What a sweep measures on request is known
    only at the ends of epochs.
    """

    def mean_of(record: TrialRecord) -> float | None:
        values = [
            evaluation.measurement(name)
            for evaluation in record.evaluations
            if evaluation.step > 0
            and not (at_epoch_ends and record.trial.plan.position(evaluation.step)[1])
        ]
        known = [value for value in values if value is not None]
        return fmean(known) if known and len(known) == len(values) else None

    return by_seed(records, mean_of)


def each_seed(function: Callable[..., float], *parts: Seeds) -> dict[int, float]:
    """Apply a function of several numbers of the same seed, where all parts have that seed."""
    shared = set.intersection(*map(set, parts))
    return {seed: function(*(part[seed] for part in parts)) for seed in sorted(shared)}


# ---- Choose on one half of the seeds, judge on the other


def best_of(candidates: Mapping[T, Seeds], *, better: Better) -> T | None:
    """Return the candidate with the best mean over the even seeds, or None if there is none.

    Only the odd seeds may judge it. If each seed's candidate were chosen by all other seeds, the
    chosen values would depend on one another, and Student's interval would be too narrow.
    A candidate that lacks an even seed, because it diverged there, cannot be chosen.
    """
    even = {seed for seeds in candidates.values() for seed in seeds if seed % 2 == 0}
    if not even:
        return None
    means = {
        name: fmean(seeds[seed] for seed in even)
        for name, seeds in candidates.items()
        if even <= seeds.keys()
    }
    if not means:
        return None
    return (max if better == "higher" else min)(means, key=lambda name: means[name])


def judging(records: Records) -> Records:
    """Return the trials of odd seeds, or none of them if one ended badly."""
    odd = tuple(record for record in records if record.trial.seed % 2)
    return odd if all(record.ended_well for record in odd) else ()


# ---- With an interval


def mean(seeds: Seeds, *, resolution: float = 0.0) -> Estimate:
    """Return the mean over the seeds.

    The values scatter by no less than what they are rounded to makes, `resolution` squared over
    12, even if a few of them agree.
    """
    values = [*seeds.values()]
    if not values:
        return UNKNOWN
    middle, n = fmean(values), len(values)
    if n == 1:
        return Estimate.of(middle, n=1)
    variance = max(float(np.var(values, ddof=1)), resolution**2 / 12)
    half = float(stats.t.ppf(0.975, n - 1)) * math.sqrt(variance / n)
    return Estimate.of(middle, interval=(middle - half, middle + half), n=n)


def geometric_mean(seeds: Seeds) -> Estimate:
    """Return the geometric mean over the seeds of numbers above 0."""
    return ratio(seeds, dict.fromkeys(seeds, 1.0))


def difference(first: Seeds, second: Seeds, *, n_examples: int = 0) -> Estimate:
    """Return the mean of first minus second over the seeds that both have.

    A share of `n_examples` examples is known no better than to one of them.
    """
    resolution = math.sqrt(2) / n_examples if n_examples else 0.0
    return mean(each_seed(lambda one, other: one - other, first, second), resolution=resolution)


def ratio(first: Seeds, second: Seeds) -> Estimate:
    """Return the geometric mean of first over second, over the seeds where both are above 0."""
    first, second = ({s: v for s, v in part.items() if v > 0} for part in (first, second))
    log = mean(each_seed(lambda one, other: math.log(one / other), first, second))
    if log.estimate is None:
        return log
    low, high = (None if end is None else math.exp(end) for end in (log.low, log.high))
    return Estimate.of(math.exp(log.estimate), interval=(low, high), n=log.n)


def exponent(sizes: Sequence[float], values: Iterable[Seeds]) -> Estimate:
    """Return the power p of value = c size^p, by a line through each seed's logarithms."""
    logs = np.log(sizes)

    def slope(*values_of_seed: float) -> float:
        return float(np.polyfit(logs, np.log(values_of_seed), 1)[0])

    return mean(each_seed(slope, *values))


def ratio_of_estimates(first: Estimate, second: Estimate) -> Estimate:
    """Return the ratio of two independent estimates above 0, by the widths of their logarithms."""
    if not first.estimate or not second.estimate or min(first.estimate, second.estimate) < 0:
        return UNKNOWN
    quotient, n = first.estimate / second.estimate, min(first.n, second.n)
    squares = 0.0
    for part in (first, second):
        if not part.low or not part.high or part.low < 0:
            return Estimate.of(quotient, n=n)
        squares += (math.log(part.high / part.low) / 2) ** 2
    factor = math.exp(math.sqrt(squares))
    return Estimate.of(quotient, interval=(quotient / factor, quotient * factor), n=n)
