"""Arms: what the trials of a study ended with, seed by seed, and what follows with an interval.

A quantity is always made within each seed first; the interval is Student's over the seeds, which
are the independent observations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import TypeVar

from batchlab.laws.lines import StraightLine
from batchlab.laws.scatter import mean_interval
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import Better
from batchlab.records.replication import Drawing, DrawnPoint
from batchlab.records.study import Study
from batchlab.records.trial import Split, TrialRecord

T = TypeVar("T")
Seeds = Mapping[int, float]  # one number a seed
Records = tuple[TrialRecord, ...]


# ---- which trials


def ended(
    study: Study | None,
    *,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    grows: bool | None = None,
) -> Records:
    """The trials that ended well: of a batch size, a rate, of plans that grow or do not."""
    return tuple(
        record
        for record in (() if study is None else study.records)
        if record.ended_well
        and batch_size in (None, record.trial.batch_size)
        and learning_rate in (None, record.trial.learning_rate)
        and grows in (None, record.trial.largest_batch_size > record.trial.batch_size)
    )


def by_rate(study: Study | None, batch_size: int) -> dict[float, Records]:
    """The trials of a batch size that ended well, by their rates, ascending."""
    found: dict[float, Records] = {}
    for record in ended(study, batch_size=batch_size):
        rate = record.trial.learning_rate
        found[rate] = (*found.get(rate, ()), record)
    return dict(sorted(found.items()))


# ---- what they show


def final(records: Records, metric: str = "accuracy", split: Split = "test") -> Seeds:
    """A metric at the end of each."""
    return by_seed(records, lambda record: record.final(split, metric))


def last_measured(records: Records, name: str) -> Seeds:
    """What was measured of each model at its end."""
    return by_seed(records, lambda record: record.evaluations[-1].measurement(name))


def mean_measured(records: Records, name: str, *, at_epoch_ends: bool = False) -> Seeds:
    """The mean along each training, the untrained model left out; all of it has to be known.

    What is measured on request is so where an epoch ends.
    """

    def value(record: TrialRecord) -> float | None:
        found = [
            each.measurement(name)
            for each in record.evaluations
            if each.step > 0
            and (not at_epoch_ends or record.trial.plan.position(each.step)[1] == 0)
        ]
        known = [each for each in found if each is not None]
        return fmean(known) if known and len(known) == len(found) else None

    return by_seed(records, value)


def by_seed(records: Records, value: Callable[[TrialRecord], float | None]) -> Seeds:
    """One number of each, by its seed; a seed without one is left out."""
    found = {record.trial.seed: value(record) for record in records}
    return {seed: each for seed, each in found.items() if each is not None}


def chosen_by_others(candidates: Mapping[T, Seeds], *, better: Better) -> dict[int, T]:
    """For each seed the candidate that is best in the mean over the other seeds.

    So what chose is not what is valued. A candidate that lacks a seed, for it diverged there, is
    not among them.
    """
    seeds = set().union(*candidates.values())
    whole = {name: values for name, values in candidates.items() if values.keys() == seeds}
    sign = 1.0 if better == "higher" else -1.0
    if len(seeds) < 2:
        return {}
    return {
        seed: max(
            whole, key=lambda name: sign * fmean(v for s, v in whole[name].items() if s != seed)
        )
        for seed in sorted(seeds)
        if whole
    }


def each_seed(function: Callable[..., float], *parts: Seeds) -> Seeds:
    """A function of several numbers of the same seed."""
    shared = set.intersection(*map(set, parts)) if parts else set()
    return {seed: function(*(part[seed] for part in parts)) for seed in sorted(shared)}


# ---- with an interval


def level(seeds: Seeds, *, resolution: float = 0.0) -> Estimate:
    """The mean over the seeds."""
    if not seeds:
        return Estimate.cannot_tell(Reason.of("not_measured"))
    return mean_interval([*seeds.values()], resolution=resolution)


def middle(seeds: Seeds) -> Estimate:
    """The geometric mean over the seeds of what is above 0 and scatters by factors."""
    return times(seeds, dict.fromkeys(seeds, 1.0))


def less(first: Seeds, second: Seeds, *, n_examples: int = 0) -> Estimate:
    """The first less the second, in the mean over the seeds that both have.

    A share of so many examples is no finer than one of them.
    """
    apart = each_seed(lambda one, other: one - other, first, second)
    return level(apart, resolution=math.sqrt(2) / n_examples if n_examples else 0.0)


def times(first: Seeds, second: Seeds) -> Estimate:
    """The first over the second, both above 0: the geometric mean over the seeds."""
    positive = {seed for part in (first, second) for seed, value in part.items() if value <= 0}
    logs = [
        math.log(first[seed] / second[seed])
        for seed in first
        if seed in second and seed not in positive
    ]
    found = level(dict(enumerate(logs)))
    if found.estimate is None:
        return found
    low, high = (None if end is None else math.exp(end) for end in (found.low, found.high))
    return Estimate.of(math.exp(found.estimate), interval=(low, high), n=found.n)


def exponent(at: Sequence[float], values: Iterable[Seeds]) -> Estimate:
    """The power p of value = c at^p, by a line through the logarithms of each seed's values."""
    places = [math.log(place) for place in at]

    def slope(*of_seed: float) -> float:
        return StraightLine.through(places, [math.log(value) for value in of_seed]).slope

    return level(each_seed(slope, *values))


def over(first: Estimate, second: Estimate) -> Estimate:
    """The ratio of two independent estimates above 0, by the widths of their logarithms."""
    for each in (first, second):
        if each.estimate is None or each.estimate <= 0:
            return each if each.estimate is None else Estimate.cannot_tell(Reason.of("no_bound"))
    ratio = (first.estimate or 0.0) / (second.estimate or 1.0)
    one, other = first.log_half_width, second.log_half_width
    half = None if one is None or other is None else math.hypot(one, other)
    return Estimate.of_log(math.log(ratio), half, n=min(first.n, second.n))


# ---- drawn

Place = str | int  # an arm, whose words a bar breaks, or a batch size


def drawing(
    title: str,
    quantity: str,
    series: Mapping[str, Mapping[Place, Estimate]],
    *,
    published: Iterable[tuple[Place, float]] = (),
    note: str = "",
) -> Drawing:
    """A figure of what was measured, by series and place, with the published numbers on it."""
    points = [
        DrawnPoint(series=name, at=at, value=value)
        for name, of in series.items()
        for at, value in of.items()
        if value.estimate is not None
    ]
    points += [
        DrawnPoint(series="published", at=at, value=Estimate.of(value, n=1), is_published=True)
        for at, value in published
    ]
    over = "batch_size" if all(isinstance(point.at, int) for point in points) else "configuration"
    return Drawing(title=title, over=over, quantity=quantity, points=tuple(points), note=note)
