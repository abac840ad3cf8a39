"""Compare: `batchlab.compare` reports differences between two studies, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from operator import attrgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from scipy.special import ndtri

from batchlab.advice.advice import Advice
from batchlab.app.argument_values import read_profile
from batchlab.app.report import Advised, stored
from batchlab.belief.cell_means import CellMeans
from batchlab.belief.final_value import end_errors, final_of
from batchlab.errors import UsageError
from batchlab.laws.lines import SIZES_FOR_LAW
from batchlab.laws.step_time import fit_step_time
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import Better
from batchlab.records.study import StepTiming, Study
from batchlab.records.trial import Crossing, Split, Target, TrialRecord
from batchlab.report.short_reports import ComparedFigure, Comparison, DifferingSetting
from batchlab.words.document import plain

Comparable = Study | Profile | str | Path
_MISSES = 0.05  # The probability that any interval of a comparison misses the true value.
_NORMAL_95 = float(ndtri(0.975))
# A batch size and a learning rate; the rate is None if a quantity does not depend on the rate.
SizeAndRate = tuple[int, float | None]
Estimates = Mapping[SizeAndRate, Estimate]


def compare(a: Comparable, b: Comparable, *, store: str | Path = "batchlab.db") -> Comparison:
    """Compare two studies; return differences, with intervals that show which exceed noise.

    Args:
        a: a study or a profile. Or a path: of a store, whose last study is compared, or of a .json
            file with the output of `batchlab profile --json`. Or the first characters of a study's
            id in `store`.
        b: the other study, in any form that `a` may have.
        store: the SQLite file with the study, if `a` or `b` is an id.

    Raises:
        BatchlabError: `a` and `b` are the same study, or a study is missing or has no answer yet.
    """
    one, other = _side(a, Path(store)), _side(b, Path(store))
    if (one.study, one.profile) == (other.study, other.profile):
        raise UsageError(f"A and B are both {one.name}; give another study to compare it with")
    settings, theirs = [], other.settings
    for name, value in one.settings.items():
        if theirs.get(name, value) != value:
            settings.append(DifferingSetting(name=name, a=value, b=theirs[name]))
    target = _shared_target(one.target, other.target)
    figures = tuple(_figures(one, other, target))
    return Comparison(
        a=one.name, b=other.name, settings=tuple(settings), target=target, figures=figures
    )


def _side(given: Comparable, store: Path) -> Side:
    """Return one side of a comparison; read it from disk if it is given as a path or an id."""
    study = None
    if isinstance(given, Study):
        return Side(name=f"study {given.study_id}", study=given)
    if isinstance(given, Profile):
        return Side(name=f"a profile of {given.workload.name}", profile=given)
    path = Path(given)
    if path.suffix == ".json":
        return Side(name=str(path), profile=read_profile(path))
    if path.exists() or path.suffix or len(path.parts) > 1:
        store = path
    elif store.exists():
        study = str(given)
    else:
        raise UsageError(
            f"{given}: no such file, and no store at {store} that could hold such a study; give "
            "--store"
        )
    shown = stored(store, study)
    if isinstance(shown, Advised):
        name = f"study {shown.study.study_id} of {store}"
        return Side(name=name, study=shown.study, profile=shown.profile, advice=shown.advice)
    name = f"study {shown.study_id} of {store}"
    if shown.awaits_answer:
        raise UsageError(f"{name} has no answer yet; to go on: {shown.command}")
    return Side(name=name, study=shown)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a comparison: a study, a profile, or a study with its profile and advice."""

    name: str
    study: Study | None = None
    profile: Profile | None = None
    advice: Advice | None = None

    @property
    def target(self) -> Target | None:
        """The target of the advice; if this side has no advice, the target of the study."""
        source = self.advice or self.study
        return source.target if source else None

    @property
    def timings(self) -> list[StepTiming]:
        """The step times, with one `StepTiming` for each process that timed a batch size."""
        timings: list[StepTiming] = []
        if self.profile is not None:
            for point in self.profile.points:
                if point.ran:
                    timings += point.timings
        elif self.study is not None:
            timings += self.study.timings
        return timings

    @property
    def runs(self) -> list[TrialRecord]:
        """The study's runs, except runs in which the batch size or learning rate changes."""
        if self.study is None:
            return []
        return [run for run in self.study.records if not run.trial.stages]

    @property
    def settings(self) -> dict[str, str]:
        """Settings whose differences are reported: workload, target, machine and versions."""
        measured = self.profile or self.study
        assert measured is not None
        fields: dict[str, Any] = plain((self.study or measured).workload)
        settings = {name.replace("_", " "): value for name, value in fields.items()}
        settings |= settings.pop("settings", {})
        settings["device"] = self.timings[0].device if self.timings else None
        if self.study is not None:
            settings["target"] = self.target and f"{self.target.metric}={self.target.value:.4g}"
            settings["objective"] = self.advice and self.advice.objective
        settings |= dict(measured.environment)
        return dict(zip(settings, map(str, settings.values()), strict=True))

    def step_s(self, wider: float) -> Estimates:
        """Return the seconds per step by batch size; the factor `wider` scales their intervals.

        Step times also scatter between sessions, by an unknown amount. As a substitute for this
        amount, each interval includes the scatter between processes.
        """
        times: dict[int, Estimate] = {}
        session = 0.0
        if self.profile is not None and (scatter := self.profile.process_scatter) is not None:
            for size in dict.fromkeys(map(attrgetter("batch_size"), self.timings)):
                if self.profile.best_micro_batch(size):
                    times[size] = self.profile.step_s(size)
            session = scatter.half_width(1)
        else:
            for timing in self.timings:
                times[timing.batch_size] = Estimate.of(timing.step_s, n=1)
            if len(times) >= SIZES_FOR_LAW:
                # One process per batch size does not show the scatter between processes, so use
                # the deviations of the step times from the fitted law instead.
                law = fit_step_time([*times.items()])
                times = dict(zip(times, map(law.step_s, times), strict=True))
                session = _NORMAL_95 * law.off_the_law_fraction
        values: dict[SizeAndRate, Estimate] = {}
        for size, time in times.items():
            half = time.log_half_width
            if half is not None:
                half = math.hypot(wider * half, session)
            values[size, None] = Estimate.of_log(_log(time), half, n=time.n)
        return values

    def crossings(self, target: Target | None) -> dict[SizeAndRate, list[Crossing]]:
        """Return where runs reached the target, by (batch size, rate); omit pairs with a miss."""
        met: dict[SizeAndRate, list[Crossing]] = {}
        missed: set[SizeAndRate] = set()
        for run in self.runs:
            if target is None or run.status is None or run.has_failed:
                continue
            crossing = run.crossing(target)
            if crossing is None:
                missed.add(self._key(run))
            else:
                met.setdefault(self._key(run), []).append(crossing)
        return {key: crossings for key, crossings in met.items() if key not in missed}

    @cached_property
    def ends(self) -> dict[SizeAndRate, list[float]]:
        """The final metric values of complete trainings, by (batch size, learning rate)."""
        ends: dict[SizeAndRate, list[float]] = {}
        if self.advice is not None:
            for tried in self.advice.tried:
                if tried.end is not None and tried.epochs is None:
                    ends.setdefault((tried.batch_size, tried.learning_rate), []).append(tried.end)
            return ends
        for run in self.runs:
            assert self.study is not None
            metric = self.study.workload.metrics[0]
            split: Split = "validation" if self.study.workload.has_validation else "train"
            end = final_of(run, split, metric.name, metric.better)
            if run.ended_well and end is not None:
                ends.setdefault(self._key(run), []).append(end)
        return ends

    def _key(self, run: TrialRecord) -> SizeAndRate:
        if self.study is not None and not self.study.workload.takes_rate:
            return run.trial.batch_size, None
        return run.trial.batch_size, run.trial.learning_rate


def _shared_target(one: Target | None, other: Target | None) -> Target | None:
    """Return the easier of two targets, or the only one; None if their metrics differ."""
    if one is None or other is None:
        return one or other
    if (one.metric, one.better) != (other.metric, other.better):
        return None
    return other if other.met_by(one.value) else one


def _figures(a: Side, b: Side, target: Target | None) -> Iterator[ComparedFigure]:
    """Yield all compared quantities, with intervals widened by Bonferroni's correction."""
    met, ends = (a.crossings(target), b.crossings(target)), (a.ends, b.ends)
    timed = [{timing.batch_size for timing in side.timings} for side in (a, b)]
    n_intervals = len(timed[0] & timed[1]) + 2 * len(_sizes(*met)) + len(_sizes(*ends))
    confidence = 1 - _MISSES / max(1, n_intervals)
    wider = float(ndtri((1 + confidence) / 2)) / _NORMAL_95
    step_s, steps = (a.step_s(wider), b.step_s(wider)), _steps(*met, confidence)
    times = _times(steps[0], step_s[0]), _times(steps[1], step_s[1])
    yield from _rows("step_s", *step_s)
    yield from _rows("steps_to_target", *steps)
    yield from _rows("time_to_target_s", *times)
    yield from _final_values(a, b, confidence)


def _sizes(a: Mapping[SizeAndRate, object], b: Mapping[SizeAndRate, object]) -> list[int]:
    """Return the batch sizes that occur on both sides, in ascending order."""
    return sorted({size for size, _ in a} & {size for size, _ in b})


def _steps(
    a: Mapping[SizeAndRate, list[Crossing]],
    b: Mapping[SizeAndRate, list[Crossing]],
    confidence: float,
) -> tuple[Estimates, Estimates]:
    """Return each side's mean steps to the target; all runs together give their scatter."""
    met = [*a.values(), *b.values()]
    logs = [[math.log(crossing.middle) for crossing in crossings] for crossings in met]
    means, steps = CellMeans.of_steps(logs), []
    for i, crossings in enumerate(met):
        mean = means.mean(i, confidence=confidence)
        half = None
        if mean.high is not None:
            # A run reaches the target at an unknown step between two evaluations. The error of the
            # assumed step may be equal for all seeds, so an average over seeds does not reduce it.
            apart = max(math.log(crossing.step / crossing.least) for crossing in crossings) / 2
            half = math.hypot(mean.high - fmean(logs[i]), apart)
        steps.append(Estimate.of_log(fmean(logs[i]), half, n=mean.n))
    return dict(zip(a, steps, strict=False)), dict(zip(b, steps[len(a) :], strict=True))


def _final_values(a: Side, b: Side, confidence: float) -> Iterator[ComparedFigure]:
    """Compare mean final metric values; their variance over seeds is estimated from all runs."""
    if a.study is None or b.study is None:
        return
    metric = a.study.workload.metrics[0]
    if metric != b.study.workload.metrics[0]:
        return
    ends, other_ends = a.ends, b.ends
    n_examples = min(a.study.workload.n_validation or 0, b.study.workload.n_validation or 0)
    means = CellMeans.of(
        [*ends.values(), *other_ends.values()],
        metric=metric.name,
        better=metric.better,
        n_examples=n_examples or None,
        end_errors=end_errors((*a.runs, *b.runs), metric.name),
    )
    of_cell = [means.mean(i, confidence=confidence) for i in range(len(means.cells))]
    of_a = dict(zip(ends, of_cell, strict=False))
    of_b = dict(zip(other_ends, of_cell[len(ends) :], strict=True))

    def difference(x: SizeAndRate, y: SizeAndRate) -> Estimate:
        i, j = [*other_ends].index(y) + len(ends), [*ends].index(x)
        return means.difference(i, j, confidence=confidence)

    yield from _rows(metric.name, of_a, of_b, difference, better=metric.better)


def _times(steps: Estimates, step_s: Estimates) -> Estimates:
    """Return the time to the target (steps × step time), where the step time is known."""
    times = {}
    for (size, rate), of_size in steps.items():
        if (size, None) in step_s:
            times[size, rate] = _product(of_size, step_s[size, None])
    return times


def _log(known: Estimate) -> float:
    assert known.estimate is not None
    return math.log(known.estimate)


def _product(one: Estimate, other: Estimate, power: int = 1) -> Estimate:
    """Return the product of two independent estimates, or their quotient if `power` is -1."""
    halves = one.log_half_width, other.log_half_width
    half = None
    if halves[0] is not None and halves[1] is not None:
        half = math.hypot(halves[0], halves[1])
    return Estimate.of_log(_log(one) + power * _log(other), half, n=min(one.n, other.n))


def _rows(
    quantity: str,
    a: Estimates,
    b: Estimates,
    difference: Callable[[SizeAndRate, SizeAndRate], Estimate] | None = None,
    *,
    better: Better = "lower",
) -> Iterator[ComparedFigure]:
    """Yield a comparison for each batch size on both sides, at the best common learning rate.

    The best common rate has the best mean over both sides. If the sides have no rate in common,
    use the best rate of each side. `difference` computes the change from a to b; without it, the
    change is the ratio b / a.
    """
    sign = 1 if better == "higher" else -1

    def worth(pair: tuple[SizeAndRate, SizeAndRate]) -> tuple[bool, float]:
        x, y = pair
        return x == y, sign * ((a[x].estimate or 0.0) + (b[y].estimate or 0.0))

    for size in _sizes(a, b):
        x, y = max(product(_of_size(a, size), _of_size(b, size)), key=worth)
        change = difference(x, y) if difference else _product(b[y], a[x], -1)
        yield ComparedFigure(
            quantity=quantity,
            batch_size=size,
            learning_rates=(x[1], y[1]),
            a=a[x],
            b=b[y],
            change=change,
            is_ratio=difference is None,
        )


def _of_size(figures: Estimates, size: int) -> list[SizeAndRate]:
    return [key for key in figures if key[0] == size]
