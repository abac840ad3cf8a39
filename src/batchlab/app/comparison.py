"""The arithmetic of a comparison: what two studies measured, and how far they differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import Any

from scipy.special import ndtri

from batchlab.advice.advice import Advice
from batchlab.belief.cell_means import CellMeans
from batchlab.belief.final_value import end_errors, final_of
from batchlab.laws.lines import SIZES_FOR_LAW
from batchlab.laws.mean import mean_interval
from batchlab.laws.step_time import fit_step_time
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.study import StepTiming, Study
from batchlab.records.trial import Crossing, Split, Target, TrialRecord
from batchlab.report.short_reports import (
    ENDED_BADLY,
    MISSED_TARGET,
    ComparedFigure,
    Comparison,
    DifferingSetting,
)
from batchlab.words.document import plain

_MISSES = 0.05  # the share of comparisons in which any of the intervals may miss
_NORMAL_95 = float(ndtri(0.975))
SizeAndRate = tuple[int, float | None]  # batch size, learning rate
Estimates = Mapping[SizeAndRate, Estimate]
Crossings = dict[SizeAndRate, list[Crossing]]
Ends = dict[SizeAndRate, tuple[float, list[float]]]  # epochs and final values of whole trainings


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two studies, as far as it is known: a study or a profile at least."""

    name: str
    study: Study | None = None
    profile: Profile | None = None
    advice: Advice | None = None

    @property
    def target(self) -> Target | None:
        """The level that its runs had to reach."""
        source = self.advice or self.study
        return source.target if source else None

    @property
    def timings(self) -> list[StepTiming]:
        """The step times, one per process."""
        if self.profile is not None:
            return [timing for p in self.profile.points if p.ran for timing in p.timings]
        if self.study is None:
            return []
        return [*self.study.timings]

    @property
    def runs(self) -> list[TrialRecord]:
        """The runs to compare, which are those without a plan and without a tuned weight decay."""
        if self.study is None:
            return []
        trials = [(run, run.trial) for run in self.study.records]
        return [run for run, t in trials if not t.stages and t.weight_decay_factor == 1]

    def settings(self, target: Target | None) -> dict[str, str]:
        """Return workload, target, machine and versions by name, and how many runs are unusable."""
        measured = self.profile or self.study
        assert measured is not None
        fields: dict[str, Any] = plain((self.study or measured).workload)
        settings = {name.replace("_", " "): value for name, value in fields.items()}
        settings |= settings.pop("settings", {})
        settings["device"] = self.timings[0].device if self.timings else None
        if self.study is not None:
            ended = [run for run in self.runs if not run.has_failed]
            missed = [run for run in ended if target is not None and not run.crossing(target)]
            settings["target"] = self.target and f"{self.target.metric}={self.target.value:.4g}"
            settings["objective"] = self.advice and self.advice.objective
            settings[ENDED_BADLY] = len(self.runs) - len(ended)
            settings[MISSED_TARGET] = len(missed)
        settings |= dict(measured.environment)
        return {name: str(value) for name, value in settings.items()}

    def step_s(self, wider: float) -> Estimates:
        """Return seconds per step of each batch size; `wider` scales their 95 % intervals.

        Whole sessions may differ from each other by as much as single processes do.
        """
        times = {t.batch_size: Estimate.of(t.step_s, n=1) for t in self.timings}
        session = 0.0
        if self.profile is not None and (scatter := self.profile.process_scatter) is not None:
            fitting = [size for size in times if self.profile.best_micro_batch(size)]
            times = {size: self.profile.step_s(size) for size in fitting}
            session = scatter.half_width(1)
        elif len(times) >= SIZES_FOR_LAW:
            # With one process per size, only their residuals from the law show their scatter.
            law = fit_step_time([*times.items()])
            times = {size: law.step_s(size) for size in times}
            session = _NORMAL_95 * law.off_the_law_fraction
        values: dict[SizeAndRate, Estimate] = {}
        for size, time in times.items():
            half = time.log_half_width
            if half is not None:
                half = math.hypot(wider * half, session)
            values[size, None] = Estimate.of_log(_log(time), half, n=time.n)
        return values

    @property
    def peak_bytes(self) -> Estimates:
        """The peak memory of each batch size, in the form that ran fastest."""
        peaks = {timing.batch_size: timing.peak_bytes for timing in self.timings}
        if self.profile is not None:
            best = [self.profile.best_micro_batch(p.batch_size) for p in self.profile.points]
            peaks = {point.batch_size: point.peak_bytes for point in best if point}
        return {(size, None): Estimate.of(peak, n=1) for size, peak in peaks.items() if peak}

    def crossings(self, target: Target | None) -> Crossings:
        """Return where the runs of each batch size and rate met a target, if all of them did."""
        met: dict[SizeAndRate, list[Crossing | None]] = {}
        for run in self.runs:
            if target is not None and run.status is not None and not run.has_failed:
                met.setdefault(self._key(run), []).append(run.crossing(target))
        return {key: [c for c in of_key if c] for key, of_key in met.items() if all(of_key)}

    @property
    def ends(self) -> Ends:
        """The epochs of whole trainings and their final values, one per seed."""
        ends: Ends = {}
        if self.advice is not None:
            if self.advice.endings is not None:
                for training in self.advice.endings.trainings:
                    if training.found and training.weight_decay_factor == 1:
                        ends[training.cell] = (training.epochs, [*training.found])
            return ends
        for run in self.runs:
            assert self.study is not None
            metric = self.study.workload.metrics[0]
            split: Split = "validation" if self.study.workload.has_validation else "train"
            end = final_of(run, split, metric.name, metric.better)
            if run.ended_well and end is not None:
                ends.setdefault(self._key(run), (run.epochs, []))[1].append(end)
        return ends

    def _key(self, run: TrialRecord) -> SizeAndRate:
        if self.study is not None and not self.study.workload.takes_rate:
            return run.trial.batch_size, None
        return run.trial.batch_size, run.trial.learning_rate


def compared(a: Side, b: Side) -> Comparison:
    """Return what differs between the two sides."""
    target = _shared_target(a.target, b.target)
    ours, theirs = a.settings(target), b.settings(target)
    begun = [{(run.trial.trial_id, run.evaluations[1:2]) for run in side.runs} for side in (a, b)]
    return Comparison(
        a=a.name,
        b=b.name,
        n_shared=len({*a.timings} & {*b.timings}) + len(begun[0] & begun[1]),
        settings=tuple(
            DifferingSetting(name=name, a=ours[name], b=theirs[name])
            for name in ours
            if ours[name] != theirs.get(name, ours[name])
        ),
        target=target,
        figures=tuple(_figures(a, b, target)),
    )


def _shared_target(one: Target | None, other: Target | None) -> Target | None:
    """Return the easier target, because runs to the harder one meet it on their way."""
    if one is None or other is None:
        return one or other
    if (one.metric, one.better) != (other.metric, other.better):
        return None
    return other if other.met_by(one.value) else one


def _figures(a: Side, b: Side, target: Target | None) -> Iterator[ComparedFigure]:
    """Yield every figure that both have. The more there are, the wider each interval is."""
    met = [a.crossings(target), b.crossings(target)]
    ends = (a.ends, b.ends)
    timed = {t.batch_size for t in a.timings} & {t.batch_size for t in b.timings}
    # One more interval is that of the mean change of memory.
    n_intervals = len(timed) + 2 * len(_sizes(*met)) + len(_sizes(*ends)) + 1
    confidence = 1 - _MISSES / n_intervals
    wider = float(ndtri((1 + confidence) / 2)) / _NORMAL_95
    step_s = a.step_s(wider), b.step_s(wider)
    steps = _steps(met, confidence)
    times = _times(steps[0], step_s[0]), _times(steps[1], step_s[1])
    yield from _with_mean(_ratios("step_s", *step_s))
    yield from _with_mean(_ratios("steps_to_target", *steps))
    yield from _with_mean(_ratios("time_to_target_s", *times))
    yield from _with_mean(_final_values(a, b, *ends, confidence))
    peaks = _ratios("peak_bytes", a.peak_bytes, b.peak_bytes)
    yield from _with_mean(peaks, confidence_by_scatter=confidence)


def _sizes(a: Mapping[SizeAndRate, object], b: Mapping[SizeAndRate, object]) -> list[int]:
    """Return the batch sizes that both sides have."""
    return sorted({size for size, _ in a} & {size for size, _ in b})


def _steps(met: list[Crossings], confidence: float) -> list[Estimates]:
    """Return the steps to a target for each side, by batch size and rate."""
    keys = [(side, key) for side, crossings in enumerate(met) for key in crossings]
    logs = [[math.log(crossing.middle) for crossing in met[side][key]] for side, key in keys]
    means = CellMeans.of_steps(logs)
    steps: list[dict[SizeAndRate, Estimate]] = [{} for _ in met]
    for i, (side, key) in enumerate(keys):
        mean = means.mean(i, confidence=confidence)
        half = None
        if mean.high is not None:
            # A crossing lies anywhere between two evaluations, for all seeds perhaps at one end.
            apart = max(math.log(crossing.step / crossing.least) for crossing in met[side][key]) / 2
            half = math.hypot(mean.high - fmean(logs[i]), apart)
        steps[side][key] = Estimate.of_log(fmean(logs[i]), half, n=mean.n)
    return [*steps]


def _times(steps: Estimates, step_s: Estimates) -> Estimates:
    """Return the time to a target for each batch size whose step time is known."""
    timed = [key for key in steps if (key[0], None) in step_s]
    return {key: _product(steps[key], step_s[key[0], None]) for key in timed}


def _log(known: Estimate) -> float:
    assert known.estimate is not None
    return math.log(known.estimate)


def _product(one: Estimate, other: Estimate, power: int = 1) -> Estimate:
    """Return the product of two independent estimates; with power -1, the first over the second."""
    halves = one.log_half_width, other.log_half_width
    half = None
    if halves[0] is not None and halves[1] is not None:
        half = math.hypot(halves[0], halves[1])
    return Estimate.of_log(_log(one) + power * _log(other), half, n=min(one.n, other.n))


def _ratios(quantity: str, a: Estimates, b: Estimates) -> list[ComparedFigure]:
    return _rows(quantity, a, b, lambda x, y: _product(b[y], a[x], -1))


def _final_values(
    a: Side, b: Side, ours: Ends, theirs: Ends, confidence: float
) -> list[ComparedFigure]:
    """Return the figures of the metric at the end of whole trainings."""
    if a.study is None or b.study is None:
        return []
    metric = a.study.workload.metrics[0]
    if metric != b.study.workload.metrics[0]:
        return []
    n_examples = min(side.workload.n_validation or 0 for side in (a.study, b.study))
    means = CellMeans.of(
        [values for ends in (ours, theirs) for _, values in ends.values()],
        metric=metric.name,
        better=metric.better,
        n_examples=n_examples or None,
        end_errors=end_errors((*a.runs, *b.runs), metric.name),
    )
    place_a = {key: i for i, key in enumerate(ours)}
    place_b = {key: i for i, key in enumerate(theirs, start=len(ours))}
    return _rows(
        metric.name,
        {key: means.mean(i, confidence=confidence) for key, i in place_a.items()},
        {key: means.mean(i, confidence=confidence) for key, i in place_b.items()},
        lambda x, y: means.difference(place_b[y], place_a[x], confidence=confidence),
        is_ratio=False,
        better=metric.better,
        epochs=({x: n for x, (n, _) in ours.items()}, {y: n for y, (n, _) in theirs.items()}),
    )


def _rows(
    quantity: str,
    a: Estimates,
    b: Estimates,
    change: Callable[[SizeAndRate, SizeAndRate], Estimate],
    *,
    is_ratio: bool = True,
    better: Better = "lower",
    epochs: tuple[Mapping[SizeAndRate, float], Mapping[SizeAndRate, float]] = ({}, {}),
) -> list[ComparedFigure]:
    """Return a figure for each batch size, at the best shared rate, or else at each side's best.

    A rate chosen by only one of the sides would look better there than it is.
    """
    sign = 1 if better == "higher" else -1

    def worth(pair: tuple[SizeAndRate, SizeAndRate]) -> tuple[bool, float]:
        x, y = pair
        return x == y, sign * ((a[x].estimate or 0.0) + (b[y].estimate or 0.0))

    rows = []
    for size in _sizes(a, b):
        x, y = max(((x, y) for x in a for y in b if x[0] == y[0] == size), key=worth)
        row = ComparedFigure(
            quantity=quantity,
            batch_size=size,
            learning_rates=(x[1], y[1]),
            epochs=(epochs[0].get(x), epochs[1].get(y)),
            a=a[x],
            b=b[y],
            change=change(x, y),
            is_ratio=is_ratio,
        )
        rows.append(row)
    return rows


def _with_mean(
    rows: list[ComparedFigure], *, confidence_by_scatter: float | None = None
) -> Iterator[ComparedFigure]:
    """Yield the rows of a quantity, then the mean of its changes.

    Its bounds are the means of theirs, because the state of a machine affects all batch sizes.
    With a confidence they are from the scatter of ratios that have no interval of their own.
    """
    yield from rows
    if not rows:
        return
    first, changes = rows[0], [row.change for row in rows]
    mean = geometric_mean if first.is_ratio else fmean
    lows = [change.low for change in changes if change.low is not None]
    highs = [change.high for change in changes if change.high is not None]
    interval: tuple[float | None, float | None] = (None, None)
    if len(lows) == len(highs) == len(rows):
        interval = (mean(lows), mean(highs))
    middle = mean([change.estimate or 0.0 for change in changes])
    change = Estimate.of(middle, interval=interval, n=len(rows))
    if confidence_by_scatter is not None:
        logs = mean_interval(list(map(_log, changes)), confidence=confidence_by_scatter)
        half = None
        if logs.high is not None:
            half = logs.high - _log(change)
        change = Estimate.of_log(_log(change), half, n=len(rows))
    yield ComparedFigure(
        quantity=first.quantity, batch_size=None, change=change, is_ratio=first.is_ratio
    )
