"""WholeSituation: whole trainings with step times, some seeds to be seen, the others to judge.

An advisor and every habit see 9 of 14 seeds. What they name, and the optimum chosen on those very
seeds, are valued on the other 5. Here the optimum must end no worse than the reference. The level
is by the rule of the advice (`batchlab.advice.level`), but from many trainings of the reference.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import CellKey, Curve, GridHeader, RecordedGrid, RecordedRun

from batchlab.advice.advice import Configuration, Option, Question
from batchlab.advice.level import as_well_as
from batchlab.belief.final_value import final_value
from batchlab.belief.margin import margin_of
from batchlab.measure.profile import Profile
from batchlab.records.estimate import Estimate
from batchlab.records.trial import Status, Target

N_SEEN = 9
# A configuration that misses the level this often is no answer.
MOST_MISSES = 0.5
# How far a profile is off, log: by two processes and the law (benchmarks/results/coverage.md).
USUAL_STEP_TIME_SD = 0.02
STEP_TIME_SD = {"H200": 0.087}
# An evaluation takes as many steps of this batch size as it took where the grid was recorded.
_EVALUATED_LIKE = 256


# What is made up has this step time at the smallest batch size; regret does not depend on it.
FLAT_STEP_S = 0.001
PROFILES = ("cpu", "H200", "flat to 256", "flat to 1024", "flat to 8192")
# `batchlab profile benchmarks/regret/workloads.py:NAME --device cuda --batch-sizes ... --json`
MEASURED = Path(__file__).parents[1] / "profiles" / "h200"


def measured_profile(grid: RecordedGrid) -> Path:
    """Where the measured step times of the grid's workload are, if they were measured.

    A learning-rate shape does not change them.
    """
    return MEASURED / f"regret-{grid.header.workload.removesuffix('-cosine')}.json"


def step_times(grid: RecordedGrid, profile: str) -> dict[int, float]:
    """Seconds a step by batch size: as measured, or flat up to a batch size and linear after it.

    On the H200 those of the law through what was measured: one process lies off it by chance.
    """
    if profile == "cpu":
        return {size: grid.header.step_s[size] for size in grid.batch_sizes}
    if profile == "H200":
        law = Profile.from_json(measured_profile(grid).read_text()).step_time
        assert law is not None
        known = {size: law.step_s(size).estimate for size in grid.batch_sizes}
        return {size: step_s for size, step_s in known.items() if step_s is not None}
    knee = int(profile.removeprefix("flat to "))
    return {size: FLAT_STEP_S * max(1.0, size / knee) for size in grid.batch_sizes}


def profiles_of(grid: RecordedGrid) -> tuple[str, ...]:
    """The step times that there are for this grid."""
    has_measured = measured_profile(grid).exists()
    return tuple(name for name in PROFILES if name != "H200" or has_measured)


@dataclass(frozen=True, kw_only=True)
class WholeLevel:
    """The level to reach, and what it was taken from.

    Attributes:
        target: the level, to be met to stay.
        end: what trainings of the reference end with, their mean.
        margin: how much worse than it still counts as ending as well, in the metric's unit.
    """

    target: Target
    end: float
    margin: float

    def is_met_by(self, end: float) -> bool:
        """Whether a training that ends so ends at most a margin worse."""
        worse = self.end - end if self.target.better == "higher" else end - self.end
        return worse <= self.margin


def end_of(curve: Curve, header: GridHeader) -> float | None:
    """What a whole training ends with, as `batchlab.belief.final_value` reads it.

    Returns:
        None where a value that counts is not finite, or none was seen.
    """
    trained = [(step, value) for step, value in curve if step > 0]
    return final_value(trained, better=header.better, keeps_best=header.keeps_best)


def level_of(curves: Sequence[Curve], header: GridHeader) -> WholeLevel:
    """The level that whole trainings of the reference set; at least one of them has an end."""
    metric, better = header.metric, header.better
    ends = [end_of(curve, header) for curve in curves]
    end = statistics.fmean(end for end in ends if end is not None)
    margin = margin_of(end, metric=metric, better=better, untrained=untrained_value(curves[0]))
    target = as_well_as(end, margin, metric=metric, better=better)
    return WholeLevel(target=target, end=end, margin=margin)


def untrained_value(curve: Curve) -> float | None:
    """The metric before the first step, where it was seen."""
    return curve[0][1] if curve and curve[0][0] == 0 else None


@dataclass(frozen=True, kw_only=True)
class WholeSituation:
    """One question put to an advisor.

    Attributes:
        grid: the recorded whole trainings.
        profile: name of the step times.
        step_s: seconds a step, by batch size.
        timed: what a profile would know of them.
        eval_s: seconds an evaluation.
        seen: the seeds that may be seen, those that every cell has first.
        judging: the seeds that what was named is valued on.
        reference: the user's own configuration, the recorded one or with another rate.
    """

    grid: RecordedGrid
    profile: str
    step_s: Mapping[int, float]
    timed: Mapping[int, Estimate]
    eval_s: float
    seen: tuple[int, ...]
    judging: tuple[int, ...]
    reference: CellKey

    @property
    def header(self) -> GridHeader:
        """What the grid is."""
        return self.grid.header

    def engine(self, n_workers: int = 1) -> RecordedEngine:
        """A fresh engine that answers from the seeds that may be seen."""
        return RecordedEngine(
            self.grid,
            seeds=self.seen,
            step_s=self.step_s,
            eval_s=self.eval_s,
            n_workers=n_workers,
        )

    def question(self, budget_s: float, target: Target | None = None) -> Question:
        """Which batch size trains fastest, to the target or as well as the reference?"""
        header, own = self.header, self.reference
        return Question(
            objective="time",
            metric=header.metric,
            better=header.better,
            target=target,
            reference=Configuration(
                batch_size=own[0], micro_batch_size=own[0], learning_rate=own[1]
            ),
            options=tuple(
                Option(batch_size=size, micro_batch_size=size, step_s=known, peak_bytes=None)
                for size, known in self.timed.items()
            ),
            n_train=header.n_train,
            budget_s=budget_s,
            planned_epochs=header.epochs,
            at_most_epochs=header.epochs,  # no more were recorded
        )

    def whole_steps(self, batch_size: int) -> int:
        """Steps of a whole training."""
        return math.ceil(self.header.n_train / batch_size) * self.header.epochs

    @cached_property
    def level(self) -> WholeLevel:
        """The level to reach, from what all trainings of the reference end with."""
        return level_of(self.grid.curves(self.reference), self.header)

    @cached_property
    def tuned_reference(self) -> CellKey:
        """The reference batch size at the rate that is fastest to the level, on all seeds."""
        size = self.reference[0]
        cells = [(size, rate) for rate in self.grid.learning_rates(size)]
        return min(cells, key=lambda cell: (self.time_s(cell, self.grid.seeds), cell))

    def time_s(self, cell: CellKey, seeds: Collection[int], level: Target | None = None) -> float:
        """Mean seconds to the level over those of `seeds` that the cell has.

        A training that missed it counts as if it had met it at its end, a bound. With more than
        half of them missed, or none to count, it is infinite. Another level than that of all
        trainings of the reference can be given. With a schedule of the rate a training meets it at
        its end, or not: what it reaches before says nothing about a shorter one.
        """
        level = level or self.level.target
        runs = [self.grid.runs[*cell, seed] for seed in self._seeds(cell) if seed in seeds]
        found = [self._steps_to(run, level) if run.status is Status.OK else None for run in runs]
        if not runs or found.count(None) > MOST_MISSES * len(runs):
            return math.inf
        whole = self.whole_steps(cell[0])
        steps = [whole if each is None else each for each in found]
        return statistics.fmean(steps) * self.step_s[cell[0]]

    def _steps_to(self, run: RecordedRun, level: Target) -> float | None:
        if self.header.has_schedule:
            return run.steps if level.met_by(run.curve[-1][1]) else None
        return self.grid.steps_to(run, level)

    def time_error(self, cell: CellKey, seeds: Collection[int]) -> float:
        """The standard error of the time to the level over the reference's, as a fraction.

        By the scatter of both from seed to seed; infinite where one of them misses the level.
        """
        variance = 0.0
        for each in (cell, self.reference):
            times = [self.time_s(each, [seed]) for seed in self._seeds(each) if seed in seeds]
            met = [time for time in times if math.isfinite(time)]
            if len(met) < 2:
                return math.inf
            variance += statistics.variance(met) / statistics.fmean(met) ** 2 / len(met)
        return math.sqrt(variance)

    def end(self, cell: CellKey, seeds: Collection[int]) -> float | None:
        """What the cell's trainings with `seeds` end with, a mean; None: one failed, or none is."""
        runs = [self.grid.runs[*cell, seed] for seed in self._seeds(cell) if seed in seeds]
        ends = [end_of(run.curve, self.header) if run.status is Status.OK else None for run in runs]
        found = [end for end in ends if end is not None]
        return statistics.fmean(found) if found and len(found) == len(ends) else None

    def shortfall(self, cell: CellKey, seeds: Collection[int]) -> float:
        """How many margins worse than the better of the two references the cell ends.

        Negative where it ends better, infinite where a training of it failed.
        """
        return self._shortfall(cell, (self.reference, self.tuned_reference), seeds)

    def shortfall_of_own(self, cell: CellKey, seeds: Collection[int]) -> float:
        """The same beside the reference as it is alone: what the user's own training ends with."""
        return self._shortfall(cell, (self.reference,), seeds)

    def _shortfall(self, cell: CellKey, others: Sequence[CellKey], seeds: Collection[int]) -> float:
        mine = self.end(cell, seeds)
        if mine is None:
            return math.inf
        ends = [self.end(other, seeds) for other in others]
        sign = 1 if self.header.better == "higher" else -1
        best = max((end for end in ends if end is not None), key=lambda end: sign * end)
        curve = self.grid.curves(self.reference)[0]
        margin = margin_of(
            best,
            metric=self.header.metric,
            better=self.header.better,
            untrained=untrained_value(curve),
        )
        return sign * (best - mine) / margin

    def shortfall_error(self, cell: CellKey, seeds: Collection[int]) -> float:
        """The standard error of the shortfall, in margins.

        As if the cell's ends scattered as the reference's do: few seeds judge, and few cells have
        enough for a scatter of their own. Infinite where none of `seeds` is the cell's.
        """
        own, beside = (
            len(set(self._seeds(one)).intersection(seeds)) for one in (cell, self.reference)
        )
        return self.scatter * math.sqrt(1 / own + 1 / beside) if own else math.inf

    @cached_property
    def optimum(self) -> CellKey:
        """The fastest of the cells that end no worse, by the seeds that may be seen."""
        no_worse = [cell for cell in self.grid.cells if self.shortfall(cell, self.seen) <= 1]
        return min(no_worse, key=lambda cell: (self.time_s(cell, self.seen), cell))

    def regret(self, cell: CellKey | None) -> float:
        """How much longer `cell` takes than the optimum, a fraction; both on the judging seeds.

        Negative where the choice was lucky. None (not recorded) and a cell that fails are infinite.
        """
        if cell is None:
            return math.inf
        best_s = self.time_s(self.optimum, self.judging)
        if math.isinf(best_s):  # it misses the level on most judging seeds, by bad luck
            best_s = self.time_s(self.optimum, self.grid.seeds)
        time_s = self.time_s(cell, self.judging)
        # Where no configuration gets there, none is behind.
        return 0.0 if math.isinf(time_s) and math.isinf(best_s) else time_s / best_s - 1

    @property
    def tuned_reference_s(self) -> float:
        """Mean seconds to the level of the tuned reference, on all seeds."""
        return self.time_s(self.tuned_reference, self.grid.seeds)

    @property
    def whole_reference_s(self) -> float:
        """Seconds of the steps of one whole training of the reference."""
        size = self.reference[0]
        return self.whole_steps(size) * self.step_s[size]

    @cached_property
    def best_rate(self) -> float:
        """The rate at which the reference batch size ends best, on all seeds."""
        size = self.reference[0]
        sign = 1 if self.header.better == "higher" else -1
        ends = {
            rate: self.end((size, rate), self.grid.seeds) for rate in self.grid.learning_rates(size)
        }
        return max(
            (rate for rate, end in ends.items() if end is not None),
            key=lambda rate: sign * (ends[rate] or 0.0),
        )

    @property
    def rate_octaves(self) -> int:
        """How many octaves the reference's rate is above the best one of its batch size."""
        return round(math.log2(self.reference[1] / self.best_rate))

    def with_rate(self, octaves: int) -> WholeSituation:
        """Return the same question for a user whose rate is so far from the best one.

        Raises:
            TrialError: that rate was not recorded.
        """
        cell = self.grid.cell(self.reference[0], self.best_rate * 2.0**octaves)
        return replace(self, reference=cell)

    @cached_property
    def scatter(self) -> float:
        """How far the ends of the reference scatter from seed to seed, in margins."""
        return scatter_of_ends(self.grid, self.reference)

    def _seeds(self, cell: CellKey) -> tuple[int, ...]:
        return self.grid.cells[cell]


def whole_situation(grid: RecordedGrid, profile: str, *, draw: int) -> WholeSituation:
    """The grid with a profile, its seeds split by a random draw of its own.

    The seeds that every cell has, and the others, are shared out alike.
    """
    everywhere = sorted(set.intersection(*map(set, grid.cells.values())))
    elsewhere = sorted(set(grid.seeds) - set(everywhere))
    n_everywhere = min(
        math.ceil(N_SEEN * len(everywhere) / len(grid.seeds)), max(1, len(everywhere) - 1)
    )
    stream = random.Random(draw)
    seen = stream.sample(everywhere, n_everywhere)
    seen += stream.sample(elsewhere, N_SEEN - n_everywhere)
    step_s = step_times(grid, profile)
    header = grid.header
    return WholeSituation(
        grid=grid,
        profile=profile,
        step_s=step_s,
        timed=_timed(step_s, STEP_TIME_SD.get(profile, USUAL_STEP_TIME_SD), stream),
        eval_s=header.eval_s / header.step_s[_EVALUATED_LIKE] * step_s[_EVALUATED_LIKE],
        seen=tuple(seen),
        judging=tuple(seed for seed in grid.seeds if seed not in seen),
        reference=own_configuration(grid),
    )


def own_configuration(grid: RecordedGrid) -> CellKey:
    """Return the workload's own configuration."""
    return grid.cell(grid.header.reference_batch_size, grid.header.reference_learning_rate)


def _timed(step_s: Mapping[int, float], sd: float, stream: random.Random) -> dict[int, Estimate]:
    """Step times off by a random factor each, with the interval that says so."""
    half = math.exp(1.96 * sd)
    return {
        size: Estimate.of(off_s, interval=(off_s / half, off_s * half), n=8)
        for size, true_s in step_s.items()
        for off_s in [true_s * math.exp(stream.gauss(0.0, sd))]
    }


def reached_by_others(grid: RecordedGrid, *, n_seeds: int) -> float:
    """Which share of the reference's trainings reaches the level that `n_seeds` of them set.

    Asked for are nine of ten: a level that half of the user's own trainings miss is none to stand
    on. Over all others and all choices of `n_seeds` seeds; the worst of these counts.
    """
    cell = own_configuration(grid)
    levels = {
        seed: level_of([grid.runs[*cell, seed].curve], grid.header).target
        for seed in grid.cells[cell]
    }
    sign = 1 if grid.header.better == "higher" else -1
    reached = []
    for chosen in itertools.combinations(levels, n_seeds):
        worst = min((levels[seed] for seed in chosen), key=lambda level: sign * level.value)
        reached += [
            grid.steps_to(grid.runs[*cell, seed], worst) is not None
            for seed in levels
            if seed not in chosen
        ]
    return sum(reached) / len(reached)


def scatter_of_ends(grid: RecordedGrid, cell: CellKey) -> float:
    """Return the standard deviation, from seed to seed, of what a cell ends with, in margins."""
    curves = grid.curves(cell)
    ends = [end_of(curve, grid.header) for curve in curves]
    margin = level_of(curves, grid.header).margin
    return statistics.stdev(end for end in ends if end is not None) / margin
