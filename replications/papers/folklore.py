"""folklore: what courses and blogs say about batch sizes, each statement on three workloads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from batchlab import Estimate, Study, Target, TrialRecord
from replications.experiment import Experiment, Measured, Studies
from replications.seeds import (
    UNKNOWN,
    Records,
    best_of,
    by_rate,
    by_seed,
    difference,
    each_seed,
    exponent,
    final,
    judging,
    mean,
    ratio,
    trials,
)

Array = NDArray[np.float64]

_SMALL, _USUAL, _RULED, _LARGE = 16, 64, 512, 1024
_TUNED = (1, 2, _SMALL, _USUAL, 256, _LARGE)
_GROWING = (8, 512)  # a sweep's plan grows by 4 three times, so the rate is never cut
_VARIANCE_SIZES = (4, 16, 64, 256)
_LONGER = 4  # times the epochs


@dataclass(frozen=True, kw_only=True, slots=True)
class _On:
    """One of the workloads. Accuracy counts, of moby-dick that of the next character."""

    name: str
    epochs: int
    rate: float  # the workload's own
    steps: int  # at which equal steps are compared
    settings: Mapping[str, int]
    full_batch_epochs: int  # of one step each; 0: full batch is not run


_WORKLOADS = (
    _On(name="mnist-mlp", epochs=4, rate=0.01, steps=400, settings={}, full_batch_epochs=60),
    _On(name="mnist-softmax", epochs=4, rate=0.01, steps=400, settings={}, full_batch_epochs=120),
    _On(
        name="moby-dick",
        settings={"context": 16, "width": 16, "layers": 1, "heads": 2},
        epochs=1,
        rate=0.003,
        steps=200,
        full_batch_epochs=0,
    ),
)


# ---- What is trained


def _rates(on: _On, batch_size: int, *, factor: float = 1.0) -> tuple[float, ...]:
    """Return four rates, a factor 3 apart, around the root rule's; none is the workload's own."""
    middle = factor * on.rate * (batch_size / _USUAL) ** 0.5
    return tuple(float(f"{middle * 3.0**step:.3g}") for step in (-0.75, 0.25, 1.25, 2.25))


def experiments(is_quick: bool) -> tuple[Experiment, ...]:
    """Return the sweeps."""
    return tuple(each for on in _WORKLOADS for each in _on_one(on, is_quick))


def _on_one(on: _On, is_quick: bool) -> Iterator[Experiment]:
    longer, seeds = (1, 3) if is_quick else (5, 5)

    def of(
        name: str, sizes: Sequence[int], rates: Sequence[float], *, seeds: int = seeds, **how: Any
    ) -> Experiment:
        return Experiment(
            name=f"{on.name}, {name}",
            workload=on.name,
            settings=on.settings,
            batch_sizes=tuple(sizes),
            learning_rates=tuple(rates),
            seeds=seeds,
            **how,
        )

    epochs = longer * on.epochs
    for size in _TUNED:
        yield of(f"tuned {size}", (size,), _rates(on, size), seeds=6, epochs=epochs)
    for size in (_SMALL, _LARGE):
        rates = _rates(on, size, factor=1.1)
        yield of(f"equal steps {size}", (size,), rates, seeds=6, steps=longer * on.steps)
    yield of("one rate", (_SMALL, _LARGE), (on.rate,), epochs=_LONGER * epochs)
    yield of("own", (_USUAL,), (on.rate,), epochs=epochs)
    yield of("linear rule", (_RULED,), (on.rate * _RULED / _USUAL,), epochs=epochs)
    yield of("constant", _GROWING, (on.rate,), epochs=2 * epochs)
    yield of("growing", _GROWING, (on.rate,), epochs=2 * epochs, plans=("grow",))
    yield of("noise", _VARIANCE_SIZES, (on.rate / 3,), steps=1, measure=("gradient_variance",))
    if on.full_batch_epochs:
        yield Experiment(
            name=f"{on.name}, full batch",
            workload=on.name,
            batch_sizes=("full",),
            learning_rates=(10 * on.rate, 30 * on.rate),
            seeds=6,
            epochs=longer * on.full_batch_epochs,
        )


# ---- What it shows


def measured(studies: Studies) -> Measured:
    """Return what they show, by name."""
    return {
        f"{name}; {on.name}": number
        for on in _WORKLOADS
        for name, number in _OnOne(on, studies).measured()
    }


class _OnOne:
    """What the trainings of one workload show."""

    def __init__(self, on: _On, studies: Studies) -> None:
        self._on, self._studies = on, studies

    def _study(self, name: str) -> Study:
        return self._studies[f"{self._on.name}, {name}"]

    def measured(self) -> Iterator[tuple[str, Estimate]]:
        """Yield each statement's number."""
        yield from self._of_tuned()
        small, large = (self._at_best_rate(f"equal steps {n}", n) for n in (_SMALL, _LARGE))
        yield "see more", difference(final(large), final(small))
        yield from self._of_one_rate()
        yield "linear rule", difference(*(self._ends(name) for name in ("linear rule", "own")))
        for name, size in zip(("small", "large"), _GROWING, strict=True):
            constant = final(trials(self._study("constant"), batch_size=size))
            yield f"growing; {name}", difference(self._ends("growing"), constant)
        yield "noise", exponent(_VARIANCE_SIZES, map(self._variance, _VARIANCE_SIZES))
        if self._on.full_batch_epochs:
            yield "full batch", self._of_full_batch()

    def _ends(self, name: str) -> dict[int, float]:
        return final(trials(self._study(name)))

    def _at_best_rate(self, name: str, *sizes: int) -> Records:
        """Return the judging trials at the size and rate with the best validation accuracy."""
        cells = {
            (size, rate): records
            for size in sizes
            for rate, records in by_rate(self._study(name.format(size)), size).items()
        }
        ends = {cell: final(records, split="validation") for cell, records in cells.items()}
        best = best_of(ends, better="higher")
        return () if best is None else judging(cells[best])

    def _tuned(self, *sizes: int) -> Records:
        return self._at_best_rate("tuned {}", *sizes)

    def _of_tuned(self) -> Iterator[tuple[str, Estimate]]:
        records = {size: self._tuned(size) for size in _TUNED}
        ends = {size: final(of) for size, of in records.items()}
        yield "lower accuracy; tuned", difference(ends[_SMALL], ends[_LARGE])
        yield "escape", loss_left(records[_LARGE], beside=records[_SMALL])
        for size in (1, 2):
            yield f"batch {size}", difference(ends[size], ends[_USUAL])
        others = self._tuned(*(size for size in _TUNED if size != _USUAL))
        yield "first choice", difference(ends[_USUAL], final(others))
        gaps = {
            size: each_seed(lambda a, b: a - b, final(of, split="train"), final(of))
            for size, of in records.items()
        }
        yield "overfit", difference(gaps[_LARGE], gaps[_SMALL])
        timings = {size: self._study(f"tuned {size}").timing(size) for size in _TUNED}
        small, large = timings[_SMALL], timings[_LARGE]
        if small is not None and large is not None:
            # Blocks of steps of one process each, alone on the machine, take the place of seeds.
            blocks = (
                {i: s / each.block_steps / each.batch_size for i, s in enumerate(each.block_s)}
                for each in (large, small)
            )
            yield "epoch time", ratio(*blocks)
            step_s = {_SMALL: small.step_s, _LARGE: large.step_s}
            yield "time to level", time_to_level(records, step_s)
        yield "memory", memory_exponent({n: t.peak_bytes for n, t in timings.items() if t})

    def _variance(self, size: int) -> dict[int, float]:
        untrained = trials(self._study("noise"), batch_size=size)
        return by_seed(untrained, lambda r: r.evaluations[0].measurement("gradient_variance"))

    def _of_one_rate(self) -> Iterator[tuple[str, Estimate]]:
        small, large = (trials(self._study("one rate"), batch_size=n) for n in (_SMALL, _LARGE))
        # On validation data, because those are evaluated after each epoch.
        last = round(small[0].epochs)
        gaps = [
            each_seed(lambda a, b: a - b, *(_at_epoch(of, epoch) for of in (small, large)))
            for epoch in (last // _LONGER, last)
        ]
        yield "lower accuracy; one rate", mean(gaps[0])
        yield "longer", difference(gaps[1], gaps[0])

    def _of_full_batch(self) -> Estimate:
        """Return the training loss at the better of its rates, over that of the tuned 64."""
        study = self._study("full batch")
        rates = by_rate(study, *study.batch_sizes)
        losses = {rate: final(records, "loss", "train") for rate, records in rates.items()}
        best = best_of(losses, better="lower")
        records = () if best is None else judging(rates[best])
        return ratio(final(records, "loss", "train"), final(self._tuned(_USUAL), "loss", "train"))


def _at_epoch(records: Records, epoch: int) -> dict[int, float]:
    return by_seed(records, lambda r: r.at_epoch_ends("validation", "accuracy").get(epoch))


def loss_left(records: Records, *, beside: Records) -> Estimate:
    """Return the final training loss less that of `beside`.

    It is unknown unless all of them saw as many examples: after as many steps the larger batch
    has seen more, and fits its training data better for that reason alone.
    """
    if len({round(record.epochs, 2) for record in (*records, *beside)}) != 1:
        return UNKNOWN
    return difference(*(final(of, "loss", "train") for of in (records, beside)))


def memory_exponent(peak_bytes: Mapping[int, int | None]) -> Estimate:
    """Return the power of the batch size with which memory above a constant grows.

    What a process needs apart from its batches scatters by more than small batches of a small model
    need. So the constant is fitted too, and the large batches decide. The interval is unknown if
    memory does not grow.
    """
    known = {size: peak for size, peak in peak_bytes.items() if peak is not None}
    if len(known) < len(_TUNED):
        return UNKNOWN
    sizes, peaks = np.array(list(known), dtype=float), np.array(list(known.values()), dtype=float)
    span = float(np.ptp(peaks))
    if peaks[np.argmax(sizes)] < peaks.max() or not span:
        return UNKNOWN

    def law(size: Array, least: float, most: float, power: float) -> Array:
        return np.asarray(least + most * (size / sizes.max()) ** power)

    bounds = ([-np.inf, 0.0, 0.01], [np.inf, np.inf, 10.0])
    (*_, power), errors = optimize.curve_fit(
        law, sizes, (peaks - peaks.min()) / span, p0=[0.0, 1.0, 1.0], bounds=bounds
    )
    half = float(stats.t.ppf(0.975, len(sizes) - 3)) * math.sqrt(errors[2, 2])
    power = float(power)
    return Estimate.of(power, interval=(power - half, power + half), n=len(sizes))


def time_to_level(of: Mapping[int, Records], step_s: Mapping[int, float]) -> Estimate:
    """Return the seconds to the lowest final accuracy of all trainings, large over small.

    A training got there between two evaluations, and the interval reaches as far.
    """
    ends = [v for size in step_s for v in final(of[size], split="validation").values()]
    if not ends:
        return UNKNOWN
    level = Target(metric="accuracy", value=min(ends), better="higher")

    def at(size: int, which: str) -> dict[int, float]:
        def seconds(record: TrialRecord) -> float | None:
            crossing = record.crossing(level)
            return None if crossing is None else getattr(crossing, which) * step_s[size]

        return by_seed(of[size], seconds)

    middle = ratio(at(_LARGE, "middle"), at(_SMALL, "middle"))
    least = ratio(at(_LARGE, "after_step"), at(_SMALL, "step"))
    most = ratio(at(_LARGE, "step"), at(_SMALL, "after_step"))
    if middle.estimate is None:
        return middle
    # A training that was there at its first evaluation may have been there at once.
    low = least.low if least.n == middle.n else 0.0
    high = most.high if most.n == middle.n else None
    return Estimate.of(middle.estimate, interval=(low, high), n=middle.n)
