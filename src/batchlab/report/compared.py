"""Compared: what two studies have in common, each figure of both with how it differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import Any, NamedTuple, TypeVar

from scipy.special import ndtri

from batchlab.advice.advice import Advice
from batchlab.laws.scatter import PooledCells, mean_interval
from batchlab.laws.step_time import fit_step_time
from batchlab.measure.profile import SIZES_FOR_LAW, Profile
from batchlab.records.estimate import Estimate
from batchlab.records.study import MetricSummary, StepTiming, Study
from batchlab.records.trial import Crossing, Target, TrialRecord
from batchlab.report.cells import deciding_split
from batchlab.report.comparison import (
    OF_RUNS,
    Comparison,
    Figure,
    Setting,
)
from batchlab.words.document import plain

_MISSES = 0.05  # how often any one of all intervals may miss
Key = tuple[int, float | None]  # batch size, learning rate
Pair = tuple[Key, Key]  # of A, of B
Ends = dict[Key, tuple[float, list[float]]]  # epochs, and what whole trainings end with
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two, as far as it is known."""

    name: str
    study: Study | None = None
    profile: Profile | None = None
    advice: Advice | None = None

    @property
    def target(self) -> Target | None:
        """The level that its runs were to meet."""
        asked = self.advice or self.study
        return None if asked is None else asked.target

    @property
    def metric(self) -> MetricSummary | None:
        """The metric that counts."""
        return None if self.study is None else self.study.workload.metrics[0]

    @property
    def timings(self) -> list[StepTiming]:
        """The step times, a process each."""
        points = self.profile.points if self.profile else ()
        timed = [timing for point in points if point.ran for timing in point.timings]
        return timed if self.profile or not self.study else [*self.study.timings]

    @property
    def runs(self) -> list[TrialRecord]:
        """The runs that count: of an advice not those that chose a rate."""
        records = list(self.study.records) if self.study else []
        if self.advice is None:
            return records
        counted = {
            (run.batch_size, run.learning_rate, run.seed)
            for run in self.advice.tried
            if run.purpose not in ("tune", "cool_down")
        }
        constant = (record for record in records if not record.trial.cool_down)
        return [run for run in constant if (*_key(run), run.trial.seed) in counted]

    def settings(self, target: Target | None) -> dict[str, str]:
        """Workload, question, machine and versions by name; and the runs that tell nothing."""
        made = self.profile or self.study
        assert made is not None
        known: dict[str, Any] = plain((self.study or made).workload)
        known = {name.replace("_", " "): value for name, value in known.items()}
        known |= known.pop("settings", {})
        known["device"] = self.timings[0].device if self.timings else None
        if self.study is not None:
            well = [run for run in self.runs if not run.has_failed]
            missed = [run for run in well if target is not None and not run.crossing(target)]
            known["target"] = self.target and f"{self.target.metric}={self.target.value:.4g}"
            known["objective"] = self.advice and self.advice.objective
            known[f"{OF_RUNS}ended badly"] = len(self.runs) - len(well)
            known[f"{OF_RUNS}missed the target"] = len(missed)
        return {name: str(value) for name, value in (known | dict(made.environment)).items()}

    def step_s(self, wider: float) -> dict[Key, _Log]:
        """Seconds per step of each batch size, 95 % intervals made wider.

        What one process differs from the next by, a whole session may differ from another by.
        """
        timed = {timing.batch_size: timing.step_s for timing in self.timings}
        alone = {n: Estimate.of(s, n=1) for n, s in timed.items()}
        made, session = self.profile, 0.0
        if made is not None and (scatter := made.process_scatter) is not None:
            alone = {size: made.step_s(size) for size in timed if made.best_micro_batch(size)}
            session = scatter.half_width(1)
        elif len(timed) >= SIZES_FOR_LAW:
            # In one process each: how far these lie apart is seen around the law alone.
            law = fit_step_time([*alone.items()])
            alone = {size: law.step_s(size) for size in timed}
            session = float(ndtri(0.975)) * law.off_the_law_fraction
        return {
            (size, None): _Log(
                math.log(known.estimate or 0.0),
                None
                if (half := known.log_half_width) is None
                else math.hypot(wider * half, session),
                known.n,
            )
            for size, known in alone.items()
        }

    @property
    def peak_bytes(self) -> dict[Key, float]:
        """Peak memory of each batch size, as it ran fastest."""
        if self.profile is None:
            peaks = {timing.batch_size: timing.peak_bytes for timing in self.timings}
        else:
            best = (self.profile.best_micro_batch(p.batch_size) for p in self.profile.points)
            peaks = {point.batch_size: point.peak_bytes for point in best if point}
        return {(size, None): peak for size, peak in peaks.items() if peak}

    def crossings(self, target: Target | None) -> dict[Key, list[Crossing]]:
        """Where the runs of each batch size and rate met a target, if all of them did."""
        found: dict[Key, list[Crossing | None]] = {}
        for run in self.runs:
            if target is not None and run.status is not None and not run.has_failed:
                found.setdefault(_key(run), []).append(run.crossing(target))
        return {key: [c for c in met if c] for key, met in found.items() if all(met)}

    @property
    def ends(self) -> Ends:
        """The epochs of whole trainings and what they ended with, a seed each."""
        found: Ends = {}
        if self.advice is not None:
            endings = self.advice.endings
            endings = endings and (endings.at_constant_rate or endings)
            each = (endings.recommended, *endings.references) if endings else ()
            return {end.cell: (end.epochs, [*end.found]) for end in each if end.found}
        if self.study is not None:
            split, metric = deciding_split(self.study), self.study.workload.metrics[0].name
            for run in self.runs:
                value = run.final(split, metric) if run.ended_well else None
                if value is not None:
                    found.setdefault(_key(run), (run.epochs, []))[1].append(value)
        return found


def _key(run: TrialRecord) -> Key:
    return run.trial.batch_size, run.trial.learning_rate


def compared(a: Side, b: Side) -> Comparison:
    """What differs between the two."""
    target = _shared_target(a.target, b.target)
    ours, theirs = a.settings(target), b.settings(target)
    begun = [{(run.trial.trial_id, run.evaluations[1:2]) for run in side.runs} for side in (a, b)]
    return Comparison(
        a=a.name,
        b=b.name,
        n_shared=len({*a.timings} & {*b.timings}) + len(begun[0] & begun[1]),
        settings=tuple(
            Setting(name=name, a=ours[name], b=theirs[name])
            for name in ours
            if ours[name] != theirs.get(name, ours[name])
        ),
        target=target,
        figures=tuple(_figures(a, b, target)),
    )


def _shared_target(one: Target | None, other: Target | None) -> Target | None:
    """The easier of the two: runs to the harder one meet it on their way."""
    if one is None or other is None:
        return one or other
    if (one.metric, one.better) != (other.metric, other.better):
        return None
    return other if other.met_by(one.value) else one


class _Log(NamedTuple):
    """The logarithm of a figure, half its interval's width, and of how many observations."""

    value: float
    half: float | None
    n: int

    def times(self, other: _Log, power: int = 1) -> _Log:
        """The product with another, independent one; at power -1 the ratio to it."""
        is_told = self.half is not None and other.half is not None
        half = math.hypot(self.half or 0.0, other.half or 0.0) if is_told else None
        return _Log(self.value + power * other.value, half, min(self.n, other.n))

    @property
    def estimate(self) -> Estimate:
        low, high = (
            None if self.half is None else math.exp(self.value + side * self.half)
            for side in (-1, 1)
        )
        return Estimate.of(math.exp(self.value), interval=(low, high), n=self.n)


def _figures(a: Side, b: Side, target: Target | None) -> Iterator[Figure]:
    """Every figure that both have; the more of them there are, the wider is each interval."""
    met = a.crossings(target), b.crossings(target)
    ends = (a.ends, b.ends) if a.metric == b.metric else ({}, {})
    timed = {each.batch_size for each in a.timings} & {each.batch_size for each in b.timings}
    n = 1 + len(timed) + 2 * len(_sizes(*met)) + len(_sizes(*ends))
    confidence = 1 - _MISSES / n
    wider = float(ndtri((1 + confidence) / 2) / ndtri(1 - _MISSES / 2))
    step_s = [side.step_s(wider) for side in (a, b)]
    logs = [[math.log(each.middle) for each in cell] for one in met for cell in one.values()]
    pooled = PooledCells.of(logs, metric="steps_to_target", n_examples=0)
    steps = [{key: _steps(each, pooled, confidence) for key, each in one.items()} for one in met]
    times = [
        {key: log.times(alone[key[0], None]) for key, log in one.items() if (key[0], None) in alone}
        for one, alone in zip(steps, step_s, strict=True)
    ]
    peaks = [
        {key: _Log(math.log(peak), None, 1) for key, peak in side.peak_bytes.items()}
        for side in (a, b)
    ]
    yield from _and_all(_ratios("step_s", *step_s))
    yield from _and_all(_ratios("steps_to_target", *steps))
    yield from _and_all(_ratios("time_to_target_s", *times))
    yield from _and_all(_at_the_end(a, b, *ends, confidence))
    yield from _and_all(_ratios("peak_bytes", *peaks), confidence)


def _steps(crossings: list[Crossing], pooled: PooledCells, confidence: float) -> _Log:
    """The logarithm of the steps to a target."""
    logs = [math.log(each.middle) for each in crossings]
    known = pooled.mean(logs, confidence=confidence)
    # Where between two evaluations nobody knows, and all seeds may be at the same end.
    mark = max(math.log(each.step / each.least) for each in crossings) / 2
    half = None if known.high is None else math.hypot(known.high - fmean(logs), mark)
    return _Log(fmean(logs), half, known.n)


def _sizes(a: Mapping[Key, Any], b: Mapping[Key, Any]) -> list[int]:
    """The batch sizes of both."""
    return sorted({size for size, _ in a} & {size for size, _ in b})


def _pairs(a: Mapping[Key, T], b: Mapping[Key, T], worth: Callable[[T], float]) -> Iterator[Pair]:
    """Of each batch size the rate that is best for both together; of none in both each one's best.

    A rate chosen by one of them alone would look better there than it is.
    """

    def together(pair: Pair) -> tuple[bool, float]:
        return pair[0] == pair[1], worth(a[pair[0]]) + worth(b[pair[1]])

    for size in _sizes(a, b):
        yield max(((x, y) for x in a for y in b if x[0] == y[0] == size), key=together)


def _ratios(quantity: str, a: dict[Key, _Log], b: dict[Key, _Log]) -> list[Figure]:
    """A quantity above 0 of which less is better."""
    return [
        Figure(
            quantity=quantity,
            batch_size=x[0],
            learning_rates=(x[1], y[1]),
            a=a[x].estimate,
            b=b[y].estimate,
            change=b[y].times(a[x], -1).estimate,
            is_ratio=True,
        )
        for x, y in _pairs(a, b, lambda log: -log.value)
    ]


def _at_the_end(a: Side, b: Side, ours: Ends, theirs: Ends, confidence: float) -> list[Figure]:
    """The metric at the end of whole trainings."""
    if a.study is None or b.study is None:
        return []
    metric = a.study.workload.metrics[0]
    sign = 1 if metric.better == "higher" else -1
    pooled = PooledCells.of(
        [values for one in (ours, theirs) for _, values in one.values()],
        metric=metric.name,
        n_examples=min(side.study.workload.n_validation or 0 for side in (a, b) if side.study),
    )
    return [
        Figure(
            quantity=metric.name,
            batch_size=x[0],
            learning_rates=(x[1], y[1]),
            epochs=(ours[x][0], theirs[y][0]),
            a=pooled.mean(ours[x][1], confidence=confidence),
            b=pooled.mean(theirs[y][1], confidence=confidence),
            change=pooled.difference(theirs[y][1], ours[x][1], confidence=confidence),
            is_ratio=False,
        )
        for x, y in _pairs(ours, theirs, lambda end: sign * fmean(end[1]))
    ]


def _and_all(rows: list[Figure], confidence: float | None = None) -> Iterator[Figure]:
    """The rows of a quantity, and last the mean of its changes.

    Its bounds are the means of theirs, for a machine's mood is in all batch sizes. With a
    confidence they are those of the scatter of the changes: one peak alone shows none.
    """
    yield from rows
    values, lows, highs = (
        [x for row in rows if (x := getattr(row.change, part)) is not None]
        for part in ("estimate", "low", "high")
    )
    if not rows:
        return
    mean = geometric_mean if rows[0].is_ratio else fmean
    interval = (mean(lows), mean(highs)) if len(lows) == len(rows) else (None, None)
    if confidence is not None:
        logs = mean_interval([math.log(value) for value in values], confidence=confidence)
        if logs.low is not None and logs.high is not None:
            interval = math.exp(logs.low), math.exp(logs.high)
    change = Estimate.of(mean(values), interval=interval, n=len(rows))
    yield Figure(
        quantity=rows[0].quantity, batch_size=None, change=change, is_ratio=rows[0].is_ratio
    )
