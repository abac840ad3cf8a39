"""folklore: what courses and blogs say of batch sizes, each statement on three workloads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.replication import Drawing, Form
from batchlab.records.study import Study
from batchlab.records.trial import Setting, Split, TrialRecord
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
_AS_GOOD = 0.002
_MATTERS = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class _On:
    """One of the workloads, by the metric that counts."""

    name: str
    settings: tuple[tuple[str, Setting], ...]
    epochs: int
    rate: float  # its own
    metric: str = "accuracy"
    better: Better = "higher"
    full_batch_steps: int = 0  # of a full batch; 0: it is not run

    @property
    def sign(self) -> float:
        """So that more is better."""
        return 1.0 if self.better == "higher" else -1.0


_WORKLOADS = (
    _On(name="mnist-mlp", settings=(), epochs=4, rate=0.01, full_batch_steps=60),
    _On(name="mnist-softmax", settings=(), epochs=4, rate=0.01, full_batch_steps=120),
    _On(
        name="moby-dick",
        settings=(("context", 16), ("width", 16), ("layers", 1), ("heads", 2)),
        epochs=1,
        rate=0.001,
        metric="loss",
        better="lower",
    ),
)


# ---- what is trained


def _rates(on: _On, batch_size: int) -> tuple[float, ...]:
    """Around a rate that grows with the root of the batch size; never the workload's own."""
    middle = on.rate * (batch_size / _USUAL) ** 0.5
    return tuple(float(f"{middle * 3.0**step:.3g}") for step in (-0.75, 0.25, 1.25, 2.25))


def _tuned_name(on: _On, batch_size: int) -> str:
    return f"{on.name}, tuned, B = {batch_size}"


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
    return tuple(each for on in _WORKLOADS for each in _on_one(on, form))


def _on_one(on: _On, form: Form) -> Iterator[Experiment]:
    is_full = form == "full"
    epochs, seeds = (5 * on.epochs, 5) if is_full else (on.epochs, 3)

    def of(
        name: str,
        sizes: Sequence[int],
        rates: tuple[float, ...],
        epochs: int = epochs,
        **how: object,
    ) -> Experiment:
        return Experiment(
            name=name,
            workload=on.name,
            settings=dict(on.settings),
            batch_sizes=tuple(sizes),
            learning_rates=rates,
            seeds=seeds,
            epochs=epochs,
            **how,  # type: ignore[arg-type]
        )

    for size in _TUNED:
        yield of(_tuned_name(on, size), (size,), _rates(on, size), timed=True)
    longer = _LONGER * epochs
    yield of(f"{on.name}, one rate", (_SMALL, _LARGE), (on.rate,), longer)
    yield of(f"{on.name}, own", (_USUAL,), (on.rate,))
    yield of(f"{on.name}, linear rule", (_RULED,), (on.rate * _RULED / _USUAL,))
    plans = ("small", "large", "grow")
    yield of(f"{on.name}, plans", _PLANNED, (on.rate,), 2 * epochs, plans=plans,
             cuts=(0.4, 0.7, 0.9), cut=4.0)  # fmt: skip
    yield Experiment(
        name=f"{on.name}, noise",
        workload=on.name,
        settings=dict(on.settings),
        batch_sizes=_VARIANCE_SIZES,
        learning_rates=(on.rate / 3,),
        seeds=seeds,
        steps=1,
        measure=("gradient_variance",),
    )
    if on.full_batch_steps:
        yield Experiment(
            name=f"{on.name}, full batch",
            workload=on.name,
            settings=dict(on.settings),
            batch_sizes=("full",),
            learning_rates=tuple(on.rate * factor for factor in (10.0, 30.0)),
            seeds=seeds,
            steps=on.full_batch_steps * (5 if is_full else 1),
        )


# ---- what it shows


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    found: dict[str, Estimate] = {}
    for on in _WORKLOADS:
        for name, estimate in _Seen(on, studies).measured():
            found[f"{name}; {on.name}"] = estimate
    return found


class _Seen:
    """What the trainings of one workload show; "more is better" throughout."""

    def __init__(self, on: _On, studies: Studies) -> None:
        self._on, self._studies = on, studies

    def _study(self, name: str) -> Study | None:
        return self._studies.get(f"{self._on.name}, {name}")

    def _tuned_study(self, size: int) -> Study | None:
        return self._studies.get(_tuned_name(self._on, size))

    def measured(self) -> Iterator[tuple[str, Estimate]]:
        """Each statement's number, as far as what it needs was trained."""
        if all(self._tuned_study(size) for size in _TUNED):
            yield from self._of_tuned()
        if one_rate := self._study("one rate"):
            yield from self._of_one_rate(one_rate)
        own, ruled = ended(self._study("own")), ended(self._study("linear rule"))
        if own and ruled:
            yield "linear rule", less(self._end(ruled), self._end(own))
        if plans := self._study("plans"):
            growing = ended(plans, grows=True)
            for name, size in zip(("small", "large"), _PLANNED, strict=True):
                constant = ended(plans, batch_size=size, grows=False)
                if growing and constant:
                    yield f"growing; {name}", less(self._end(growing), self._end(constant))
        if noise := self._study("noise"):
            variances = [_first(noise, size, "gradient_variance") for size in _VARIANCE_SIZES]
            yield "noise", exponent(_VARIANCE_SIZES, variances)
        if full := self._study("full batch"):
            yield from self._of_full_batch(full)

    def _end(self, records: Records, split: Split = "test", metric: str = "") -> Seeds:
        metric = metric or self._on.metric
        sign = self._on.sign if metric == self._on.metric else 1.0
        return {seed: sign * value for seed, value in final(records, metric, split).items()}

    def _chosen(self, size: int) -> dict[int, TrialRecord]:
        """The trial of each seed at the rate that the validation of the others chose."""
        cells = by_rate(self._tuned_study(size), size)
        ends = {rate: self._end(records, "validation") for rate, records in cells.items()}
        chosen = chosen_by_others(ends, better="higher")
        return {
            seed: next(record for record in cells[rate] if record.trial.seed == seed)
            for seed, rate in chosen.items()
        }

    def tuned_ends(self) -> dict[Place, Estimate]:
        """The test metric as it is, by batch size."""
        return {
            size: level(final(tuple(self._chosen(size).values()), self._on.metric))
            for size in _TUNED
            if self._tuned_study(size) is not None
        }

    def _of_tuned(self) -> Iterator[tuple[str, Estimate]]:
        chosen = {size: self._chosen(size) for size in _TUNED}
        records = {size: tuple(of.values()) for size, of in chosen.items()}
        ends = {size: self._end(of) for size, of in records.items()}
        yield "lower accuracy; tuned", less(ends[_SMALL], ends[_LARGE])
        for size in (1, 2):
            yield f"batch {size}", less(ends[size], ends[_USUAL])
        others = {size: self._end(records[size], "validation") for size in _TUNED if size != _USUAL}
        best_of = chosen_by_others(others, better="higher")
        best = {seed: ends[size][seed] for seed, size in best_of.items()}
        yield "first choice", less(ends[_USUAL], best)
        gaps = {
            size: each_seed(lambda a, b: a - b, self._end(of, "train"), self._end(of))
            for size, of in records.items()
        }
        yield "overfit", less(gaps[_LARGE], gaps[_SMALL])
        steps = min(record.steps for record in records[_LARGE])
        at = {size: self._at_step(records[size], steps, "validation", self._on.metric)
              for size in (_SMALL, _LARGE)}  # fmt: skip
        sign = self._on.sign
        yield "see more", less(*({s: sign * v for s, v in at[size].items()}
                                 for size in (_LARGE, _SMALL)))  # fmt: skip
        fits = [self._fit_at(records[size], steps) for size in (_LARGE, _SMALL)]
        yield "escape", less(*fits)
        yield from self._of_time(records)

    def _fit_at(self, records: Records, step: int) -> Seeds:
        """The mean loss of the training batches of the evaluations up to a step, from its half."""

        def value(record: TrialRecord) -> float | None:
            near = [
                each.batch_loss
                for each in record.evaluations
                if step / 2 < each.step <= step and each.batch_loss is not None
            ]
            return fmean(near) if near else None

        return by_seed(records, value)

    def _at_epoch(self, records: Records, epoch: int) -> Seeds:
        """The validation metric at the end of an epoch."""
        metric = self._on.metric
        return by_seed(records, lambda r: r.at_epoch_ends("validation", metric).get(epoch))

    def _at_step(self, records: Records, step: int, split: Split, metric: str) -> Seeds:
        """The metric at the last evaluation up to a step."""

        def value(record: TrialRecord) -> float | None:
            known = [v for each, v in record.curve(split, metric) if 0 < each.step <= step]
            return known[-1] if known else None

        return by_seed(records, value)

    def _of_time(self, records: dict[int, Records]) -> Iterator[tuple[str, Estimate]]:
        timings = {size: study.timing(size) for size in _TUNED
                   if (study := self._tuned_study(size)) is not None}  # fmt: skip
        small, large = timings.get(_SMALL), timings.get(_LARGE)
        if small is None or large is None:
            return
        blocks = [
            dict(
                enumerate(block_s / each.block_steps / each.batch_size for block_s in each.block_s)
            )
            for each in (large, small)
        ]
        yield "epoch time", times(*blocks)
        reached = self._time_to_level(records, {_SMALL: small.step_s, _LARGE: large.step_s})
        yield "time to level", times(reached[_LARGE], reached[_SMALL])
        peaks = {size: timing.peak_bytes for size, timing in timings.items() if timing is not None}
        if all(peaks.values()):
            least = float(peaks[1] or 0)
            above = [(size, float(peaks[size] or 0) - least) for size in (_USUAL, 256, _LARGE)]
            if all(value > 0 for _, value in above):
                sizes, values = zip(*above, strict=True)
                # One process was timed a batch size: there is no scatter to make an interval of.
                yield "memory", exponent(sizes, [{0: value} for value in values])

    def _time_to_level(
        self, records: dict[int, Records], step_s: dict[int, float]
    ) -> dict[int, Seeds]:
        """Seconds until the level that both sizes reach at their end is first met."""
        sign, metric = self._on.sign, self._on.metric
        worst = min(
            value for size in step_s for value in self._end(records[size], "validation").values()
        )

        def first(record: TrialRecord) -> float | None:
            for each, value in record.curve("validation", metric):
                if each.step and sign * value >= worst:
                    return each.step * step_s[record.trial.batch_size]
            return None

        return {size: by_seed(records[size], first) for size in step_s}

    def _of_one_rate(self, study: Study) -> Iterator[tuple[str, Estimate]]:
        small, large = (ended(study, batch_size=size) for size in (_SMALL, _LARGE))
        if not (small and large):
            return
        # Of validation data: they are looked at after each epoch.
        last = round(small[0].epochs)
        gaps = []
        for epoch in (last // _LONGER, last):
            ends = (self._at_epoch(of, epoch) for of in (small, large))
            gaps.append(each_seed(lambda a, b: self._on.sign * (a - b), *ends))
        yield "lower accuracy; one rate", level(gaps[0])
        yield "longer", less(gaps[1], gaps[0])

    def _of_full_batch(self, full: Study) -> Iterator[tuple[str, Estimate]]:
        """The training loss at the better of its rates, over that of 64 after as many examples."""
        (size,) = full.batch_sizes
        cells = by_rate(full, size)
        losses = {rate: final(records, "loss", "train") for rate, records in cells.items()}
        chosen = chosen_by_others(losses, better="lower")
        ours = {seed: losses[rate][seed] for seed, rate in chosen.items()}
        usual = tuple(self._chosen(_USUAL).values()) if self._tuned_study(_USUAL) else ()
        if ours and usual:
            yield "full batch", times(ours, final(usual, "loss", "train"))


def _first(study: Study, size: int, name: str) -> Seeds:
    return by_seed(
        ended(study, batch_size=size), lambda record: record.evaluations[0].measurement(name)
    )


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    return tuple(
        drawing(
            f"{on.name}: test {on.metric} after equal epochs, tuned at each batch size",
            on.metric,
            {"tuned": _Seen(on, studies).tuned_ends()},
        )
        for on in _WORKLOADS
    )
