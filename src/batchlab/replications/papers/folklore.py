"""folklore: what courses and blogs say of batch sizes, each statement on three workloads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from batchlab.laws.lines import StraightLine
from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, Form
from batchlab.records.study import StepTiming, Study
from batchlab.records.trial import Setting, Target, TrialRecord
from batchlab.replications.arms import (
    Place,
    Records,
    Seeds,
    by_rate,
    by_seed,
    chosen_by_others,
    drawing,
    each_seed,
    ended,
    exponent,
    final,
    less,
    level,
    times,
)
from batchlab.replications.experiment import Experiment, Measured, Studies
from batchlab.replications.tables import PublishedTable

_SMALL, _USUAL, _RULED, _LARGE = 16, 64, 512, 1024
_TUNED = (1, 2, _SMALL, _USUAL, 256, _LARGE)
_PLANNED = (32, 512)
_VARIANCE_SIZES = (4, 16, 64, 256)
_LONGER = 4  # times the epochs


@dataclass(frozen=True, kw_only=True, slots=True)
class _On:
    """One of the workloads; accuracy counts in each, of moby-dick that of the next character."""

    name: str
    epochs: int
    rate: float  # its own
    steps: int  # where equal steps are compared
    settings: tuple[tuple[str, Setting], ...] = ()
    full_batch_epochs: int = 0  # of one step each; 0: it is not run


_WORKLOADS = (
    _On(name="mnist-mlp", epochs=4, rate=0.01, steps=400, full_batch_epochs=60),
    _On(name="mnist-softmax", epochs=4, rate=0.01, steps=400, full_batch_epochs=120),
    _On(
        name="moby-dick",
        settings=(("context", 16), ("width", 16), ("layers", 1), ("heads", 2)),
        epochs=1,
        rate=0.003,
        steps=200,
    ),
)


# ---- what is trained


def _rates(on: _On, batch_size: int, *, factor: float = 1.0) -> tuple[float, ...]:
    """Four, a factor 3 apart, about one that grows with the root of the size; never its own."""
    middle = factor * on.rate * (batch_size / _USUAL) ** 0.5
    return tuple(float(f"{middle * 3.0**step:.3g}") for step in (-0.75, 0.25, 1.25, 2.25))


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
    return tuple(each for on in _WORKLOADS for each in _on_one(on, form))


def _on_one(on: _On, form: Form) -> Iterator[Experiment]:
    longer, seeds = (5, 5) if form == "full" else (1, 3)

    def of(name: str, sizes: Sequence[int], rates: Sequence[float], **how: object) -> Experiment:
        return Experiment(
            name=f"{on.name}, {name}",
            workload=on.name,
            settings=dict(on.settings),
            batch_sizes=tuple(sizes),
            learning_rates=tuple(rates),
            seeds=seeds,
            **how,  # type: ignore[arg-type]
        )

    epochs = longer * on.epochs
    for size in _TUNED:
        yield of(f"tuned {size}", (size,), _rates(on, size), epochs=epochs, timed=True)
    for size in (_SMALL, _LARGE):
        rates = _rates(on, size, factor=1.1)
        yield of(f"equal steps {size}", (size,), rates, steps=longer * on.steps)
    yield of("one rate", (_SMALL, _LARGE), (on.rate,), epochs=_LONGER * epochs)
    yield of("own", (_USUAL,), (on.rate,), epochs=epochs)
    yield of("linear rule", (_RULED,), (on.rate * _RULED / _USUAL,), epochs=epochs)
    yield of(
        "plans",
        _PLANNED,
        (on.rate,),
        epochs=2 * epochs,
        plans=("small", "large", "grow"),
        cuts=(0.4, 0.7),
        cut=4.0,
    )
    yield of("noise", _VARIANCE_SIZES, (on.rate / 3,), steps=1, measure=("gradient_variance",))
    if on.full_batch_epochs:
        yield Experiment(
            name=f"{on.name}, full batch",
            workload=on.name,
            batch_sizes=("full",),
            learning_rates=(10 * on.rate, 30 * on.rate),
            seeds=seeds,
            epochs=longer * on.full_batch_epochs,
        )


# ---- what it shows


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    return {
        f"{name}; {on.name}": estimate
        for on in _WORKLOADS
        for name, estimate in _Seen(on, studies).measured()
    }


class _Seen:
    """What the trainings of one workload show."""

    def __init__(self, on: _On, studies: Studies) -> None:
        self._on, self._studies = on, studies

    def _study(self, name: str) -> Study | None:
        return self._studies.get(f"{self._on.name}, {name}")

    def measured(self) -> Iterator[tuple[str, Estimate]]:
        """Each statement's number, as far as what it needs was trained."""
        if all(self._study(f"tuned {size}") for size in _TUNED):
            yield from self._of_tuned()
        small, large = (self._at_best_rate(f"equal steps {n}", n) for n in (_SMALL, _LARGE))
        yield "see more", less(final(large), final(small))
        yield "escape", less(*(final(of, "loss", "train") for of in (large, small)))
        yield from self._of_one_rate()
        ends = (final(ended(self._study(name))) for name in ("linear rule", "own"))
        yield "linear rule", less(*ends)
        growing = final(ended(self._study("plans"), grows=True))
        for name, size in zip(("small", "large"), _PLANNED, strict=True):
            constant = final(ended(self._study("plans"), batch_size=size, grows=False))
            yield f"growing; {name}", less(growing, constant)
        yield "noise", exponent(_VARIANCE_SIZES, map(self._variance, _VARIANCE_SIZES))
        if full := self._study("full batch"):
            yield from self._of_full_batch(full)

    def _at_best_rate(self, name: str, *sizes: int) -> Records:
        """The trial of each seed at the size and rate that the validation of the others chose."""
        names = [name.format(size) for size in sizes]
        cells = {
            (size, rate): records
            for size, study in zip(sizes, names, strict=True)
            for rate, records in by_rate(self._study(study), size).items()
        }
        ends = {cell: final(records, split="validation") for cell, records in cells.items()}
        chosen = chosen_by_others(ends, better="higher")
        return tuple(
            next(record for record in cells[cell] if record.trial.seed == seed)
            for seed, cell in chosen.items()
        )

    def tuned(self, *sizes: int) -> Records:
        """The same of the sizes that were tuned after equal epochs."""
        return self._at_best_rate("tuned {}", *sizes)

    def _of_tuned(self) -> Iterator[tuple[str, Estimate]]:
        records = {size: self.tuned(size) for size in _TUNED}
        ends = {size: final(of) for size, of in records.items()}
        yield "lower accuracy; tuned", less(ends[_SMALL], ends[_LARGE])
        for size in (1, 2):
            yield f"batch {size}", less(ends[size], ends[_USUAL])
        others = self.tuned(*(size for size in _TUNED if size != _USUAL))
        yield "first choice", less(ends[_USUAL], final(others))
        gaps = {
            size: each_seed(lambda a, b: a - b, final(of, split="train"), final(of))
            for size, of in records.items()
        }
        yield "overfit", less(gaps[_LARGE], gaps[_SMALL])
        timings = {size: self._timing(size) for size in _TUNED}
        small, large = timings[_SMALL], timings[_LARGE]
        if small is not None and large is not None:
            # Blocks of steps of one process each, alone on the machine, in place of seeds.
            blocks = (
                {i: s / each.block_steps / each.batch_size for i, s in enumerate(each.block_s)}
                for each in (large, small)
            )
            yield "epoch time", times(*blocks)
            step_s = {_SMALL: small.step_s, _LARGE: large.step_s}
            yield "time to level", time_to_level(records, step_s)
        yield from self._of_memory(timings)

    def _timing(self, size: int) -> StepTiming | None:
        study = self._study(f"tuned {size}")
        return None if study is None else study.timing(size)

    def _of_memory(self, timings: dict[int, StepTiming | None]) -> Iterator[tuple[str, Estimate]]:
        """A line through the logarithms of what is above one example's: a process a size."""
        peaks = {size: t.peak_bytes for size, t in timings.items() if t is not None}
        least = peaks.pop(1, None)
        if least is None:
            return
        above = [(n, peak - least) for n, peak in peaks.items() if peak is not None and n > 2]
        if len(above) == len(_TUNED) - 2 and min(more for _, more in above) > 0:
            points = np.log(np.array(above, dtype=float))
            line = StraightLine.through(points[:, 0].tolist(), points[:, 1].tolist())
            yield "memory", Estimate.of(line.slope, interval=line.slope_interval(), n=line.n)

    def _variance(self, size: int) -> Seeds:
        untrained = ended(self._study("noise"), batch_size=size)
        return by_seed(untrained, lambda r: r.evaluations[0].measurement("gradient_variance"))

    def _of_one_rate(self) -> Iterator[tuple[str, Estimate]]:
        small, large = (ended(self._study("one rate"), batch_size=n) for n in (_SMALL, _LARGE))
        if not (small and large):
            return
        # Of validation data: they are looked at after each epoch.
        last = round(small[0].epochs)
        gaps = [
            each_seed(lambda a, b: a - b, *(_at_epoch(of, epoch) for of in (small, large)))
            for epoch in (last // _LONGER, last)
        ]
        yield "lower accuracy; one rate", level(gaps[0])
        yield "longer", less(gaps[1], gaps[0])

    def _of_full_batch(self, full: Study) -> Iterator[tuple[str, Estimate]]:
        """The training loss at the better of its rates, over that of the tuned usual size."""
        (size,) = full.batch_sizes
        losses = {
            rate: final(records, "loss", "train") for rate, records in by_rate(full, size).items()
        }
        chosen = chosen_by_others(losses, better="lower")
        ours = {seed: losses[rate][seed] for seed, rate in chosen.items()}
        yield "full batch", times(ours, final(self.tuned(_USUAL), "loss", "train"))


def time_to_level(of: dict[int, Records], step_s: dict[int, float]) -> Estimate:
    """Seconds to the level that each of the trainings ends at, or above: large over small.

    It was met between two evaluations, and the interval reaches as far.
    """
    ends = [v for size in step_s for v in final(of[size], split="validation").values()]
    level = Target(metric="accuracy", value=min(ends), better="higher")

    def at(size: int, which: str) -> Seeds:
        def seconds(record: TrialRecord) -> float | None:
            crossing = record.crossing(level)
            return None if crossing is None else getattr(crossing, which) * step_s[size]

        return by_seed(of[size], seconds)

    middle = times(at(_LARGE, "middle"), at(_SMALL, "middle"))
    least = times(at(_LARGE, "after_step"), at(_SMALL, "step"))
    most = times(at(_LARGE, "step"), at(_SMALL, "after_step"))
    if middle.estimate is None:
        return middle
    # One that was there at its first evaluation may have been there at once.
    low = least.low if least.n == middle.n else 0.0
    high = most.high if most.n == middle.n else None
    return Estimate.of(middle.estimate, interval=(low, high), n=middle.n)


def _at_epoch(records: Records, epoch: int) -> Seeds:
    return by_seed(records, lambda r: r.at_epoch_ends("validation", "accuracy").get(epoch))


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    found = []
    for on in _WORKLOADS:
        seen = _Seen(on, studies)
        ends: dict[Place, Estimate] = {size: level(final(seen.tuned(size))) for size in _TUNED}
        title = f"{on.name}: test accuracy after equal epochs, the rate tuned at each batch size"
        found.append(drawing(title, "accuracy", {"tuned": ends}))
    return tuple(found)
