"""Study: what ran in each configuration, and the belief that follows from it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from batchlab.advice.advice import EndLevel, Option
from batchlab.advice.level import final_value_of, level_of_ends
from batchlab.advice.run_log import CellKey, RunLog, is_whole
from batchlab.belief.outlook import Aim, Noise, Outlook, Scatter
from batchlab.belief.surface import Places, Surface, SurfacePrior, scatter_at
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status, TrialRecord

Array = NDArray[np.float64]

# Octaves of rate around the ridge through the reference that may be trained at.
_BELOW, _ABOVE = 4, 8
# What a failed training counts as, in margins; no final value counts as worse.
FAILED = 20.0
# The scatter of seeds that is expected before any was seen (octaves of cost, margins), and how many
# degrees of freedom that counts for.
_USUAL_SCATTER, _USUAL_DEGREES = Scatter(cost=0.22, end=0.7), 3.0
# Where ends lie so many margins apart from the reference's, their scatter says little about it.
_NEAR = 4.0
# A training that missed the level would have met it half an octave later, give or take as much.
_MISSED_BY = 0.5
# Beside a rate at which a training failed one in six does, before any was seen.
_HELD = 5
# The final value of a training that was cut tells less about the end of a whole one.
_CUT = 1.0


@dataclass(kw_only=True, eq=False)
class Configured:
    """One configuration and what its runs showed.

    Attributes:
        cell: batch size and learning rate.
        records: by seed.
        costs: log2 of the cost to the level by seed, and the error of that beside the scatter of
            seeds, a standard deviation.
        ends: by seed, by how many margins a whole training ended worse than the reference.
        is_over: whether there are no further seeds of it.
        failed: whether a training of it failed.
    """

    cell: CellKey
    records: dict[int, TrialRecord] = field(default_factory=dict)
    costs: dict[int, tuple[float, float]] = field(default_factory=dict)
    ends: dict[int, float] = field(default_factory=dict)
    is_over: bool = False
    failed: bool = False
    reached_on: set[int] = field(default_factory=set)  # seeds on which the level was met

    @property
    def reached(self) -> bool:
        """Whether a run of it met the level and none failed."""
        return bool(self.reached_on) and not self.failed


class Study:
    """What a study knows by now; `outlook` is the belief."""

    def __init__(self, log: RunLog, prior: SurfacePrior) -> None:
        """Take in what ran so far: the pilot."""
        question, engine = log.question, log.engine
        self.log, self.question, self._prior = log, question, prior
        own_size, own_rate = question.reference.batch_size, question.reference.learning_rate
        self.options: dict[int, Option] = {
            option.batch_size: option for option in question.options if option.runs
        }
        self.weight = {size: self._weight(size) for size in self.options}
        octaves: dict[int, set[float]] = {}
        for size in self.options:
            rates = engine.learning_rates(size)
            middle = round(prior.ridge * math.log2(size / own_size))
            octaves[size] = (
                set(range(middle - _BELOW, middle + _ABOVE + 1))
                if rates is None
                else {float(round(math.log2(rate / own_rate))) for rate in rates}
            )
        for size, rate, _ in log.records:
            octaves.setdefault(size, set()).add(round(math.log2(rate / own_rate), 3))
        cells = [(size, octave) for size in sorted(octaves) for octave in sorted(octaves[size])]
        self.places = Places(
            size=np.array([math.log2(size / own_size) for size, _ in cells]),
            rate=np.array([octave for _, octave in cells], dtype=float),
        )
        self.cells = [Configured(cell=(size, own_rate * 2.0**octave)) for size, octave in cells]
        self.own = cells.index((own_size, 0.0))
        self.same_size = [i for i, (size, _) in enumerate(cells) if size == own_size]
        self.sizes = np.array([size for size, _ in cells])
        log_weight = np.log2([self.weight[size] for size in self.sizes])
        self._before = Surface.before_any_run(prior, self.places, log_weight)
        self._noise = Noise.of(len(cells))
        self._whole_s: dict[int, float] = {}
        self.end: EndLevel | None = None

    def _weight(self, size: int) -> float:
        """What a step costs: its seconds, or its examples."""
        if self.question.objective == "samples":
            plan = self.log.plan(size)
            steps = plan.steps_in(1)
            return plan.samples_at(steps) / steps
        seconds = self.options[size].step_s.estimate
        assert seconds is not None
        return seconds

    # ---- places

    def nearest(self, size: int, octave: float) -> int:
        """The configuration of a batch size whose rate is nearest; of two as near the lower."""
        at = [i for i, other in enumerate(self.sizes) if other == size]
        return min(at, key=lambda i: (abs(self.places.rate[i] - octave), self.places.rate[i]))

    def beside(self, i: int, octaves: float) -> int | None:
        """The configuration with so many octaves more rate; None: there is none."""
        wanted = float(self.places.rate[i] + octaves)
        found = self.nearest(int(self.sizes[i]), wanted)
        return found if math.isclose(self.places.rate[found], wanted, abs_tol=0.01) else None

    # ---- lengths

    @property
    def fraction(self) -> float:
        """The part of a planned training that is seen; 1.0: all, or none is planned."""
        planned = self.question.longest_epochs
        if planned is None or self.whole_epochs >= planned:
            return 1.0
        return self.whole_epochs / planned

    @property
    def whole_epochs(self) -> float:
        """Passes of the trainings that are compared."""
        assert self.log.whole_epochs is not None
        return self.log.whole_epochs

    def whole_steps(self, i: int) -> int:
        """Steps of a training that is compared."""
        size = self.cells[i].cell[0]
        steps = self.log.plan(size).steps_in(self.whole_epochs)
        return max(1, min(steps, self.log.longest_steps(size)))

    def whole_s(self, i: int) -> float:
        """About what one whole training costs of the budget."""
        size = self.cells[i].cell[0]
        if size not in self._whole_s:
            self._whole_s[size] = self.log.run_s(size, self.whole_steps(i))
        return self._whole_s[size]

    def cost_of(self, i: int, steps: float) -> float:
        """What so many steps cost in the unit of the objective."""
        return steps * self.weight[self.cells[i].cell[0]]

    # ---- what runs show

    def take_in(
        self, i: int, seed: int, record: TrialRecord, *, guess: tuple[float, float] | None = None
    ) -> None:
        """Take in what a run showed.

        Args:
            i: the configuration.
            seed: of the run.
            record: the run, as far as it went.
            guess: log2 of the cost to the level of a run that was stopped before, and its error.
        """
        one, whole = self.cells[i], self.whole_steps(i)
        if not record.has_failed and len(record.evaluations) <= 1:
            one.is_over = True  # there is no such seed, or no time for it
            return
        one.records[seed] = record
        one.reached_on.discard(seed)
        if record.has_failed:
            one.failed = one.is_over = True
            one.costs[seed] = math.log2(self.cost_of(i, whole)) + 1.0, 1.0
            one.ends[seed] = FAILED
            return
        self._read(i, seed, guess)

    def _read(self, i: int, seed: int, guess: tuple[float, float] | None) -> None:
        one, whole = self.cells[i], self.whole_steps(i)
        record, level = one.records[seed], self.log.until
        came_to_end = is_whole(record, whole)
        crossing = None if level is None else record.crossing(level)
        if crossing is not None and (crossing.held or came_to_end):
            width = math.log2(crossing.step / crossing.least) if crossing.step else 0.0
            middle = max(crossing.middle, 0.5)
            one.costs[seed] = math.log2(self.cost_of(i, middle)), width / math.sqrt(12)
            one.reached_on.add(seed)
        elif came_to_end:
            cost = math.log2(self.cost_of(i, whole))
            one.costs[seed] = cost + _MISSED_BY, _MISSED_BY
        elif guess is not None:
            one.costs[seed] = guess
        if came_to_end:
            end = self.end_of(i, record)
            one.ends[seed] = FAILED if end is None else min(FAILED, self._margins_worse(end))

    def end_of(self, i: int, record: TrialRecord) -> float | None:
        """What a whole training ends with."""
        overfits = self.end is not None and self.end.ended_by == "overfitting"
        steps = self.whole_steps(i)
        found = final_value_of(self.question, record, keeps_best=overfits, steps=steps)
        return None if found is None else found.value

    def _margins_worse(self, end: float) -> float:
        assert self.end is not None
        return self.question.sign * (self.end.value - end) / self.end.margin

    def set_level(self) -> None:
        """Read the level from all whole trainings of the reference, and all runs by it."""
        assert self.end is not None
        ends = [self.end_of(self.own, r) for r in self.cells[self.own].records.values()]
        found = [end for end in ends if end is not None]
        if self.question.target is not None or len(found) < 2:
            return
        level = level_of_ends(self.question, self.end, found)
        if level == self.log.until:
            return
        self.log.until = level
        for i, one in enumerate(self.cells):
            for seed, record in one.records.items():
                if not record.has_failed and seed in one.ends:
                    one.reached_on.discard(seed)
                    self._read(i, seed, None)

    # ---- the belief

    def scatter(self) -> Scatter:
        """The scatter of seeds, pooled over configurations, with what is usual."""
        fine = [one for one in self.cells if not one.failed]
        costs = [
            [cost for seed, (cost, _) in one.costs.items() if seed in one.reached_on]
            for one in fine
        ]
        ends = [
            list(one.ends.values()) for one in fine if min(one.ends.values(), default=9) < _NEAR
        ]
        return Scatter(
            cost=_pooled(costs, _USUAL_SCATTER.cost), end=_pooled(ends, _USUAL_SCATTER.end)
        )

    def outlook(self, pending: Sequence[tuple[int, bool, bool]] = ()) -> Outlook:
        """Return what all runs say of every configuration."""
        n, scatter = len(self.cells), self.scatter()
        index, values, variances = [], [], []
        for i, one in enumerate(self.cells):
            if one.costs:
                weights = [1 / (scatter.cost**2 + error**2) for _, error in one.costs.values()]
                seen = zip(weights, one.costs.values(), strict=True)
                index.append(i)
                values.append(sum(w * cost for w, (cost, _) in seen) / sum(weights))
                variances.append(1 / sum(weights))
        for i, one in enumerate(self.cells):
            if one.ends:
                end = statistics.fmean(one.ends.values())
                sd = float(scatter_at(np.array(end), scatter.end / math.sqrt(len(one.ends))))
                index.append(n + i)
                values.append(math.asinh(end))
                variances.append(
                    sd**2 + (_CUT * (1 - self.fraction)) ** 2 + (1.0 if one.failed else 0.0)
                )
        surface = self._before
        if index:
            surface = surface.given(index, values, variances)
        whole = [math.log2(self.cost_of(i, self.whole_steps(i))) for i in range(n)]
        is_whole_seen = self.fraction == 1 and self.log.until is not None
        aim = Aim(
            own=self.own,
            same_size=self.same_size,
            is_tuned=False,
            ends_count=self.question.target is None,
            costs_count=self.question.objective != "quality",
            most_cost=np.array(whole) if is_whole_seen else np.full(n, np.inf),
        )
        failed = [i for i, one in enumerate(self.cells) if one.failed]
        return Outlook(
            surface, scatter, self._noise, aim, failed=failed, holds=self._holds(failed)
        )

    def _holds(self, failed: Sequence[int]) -> Array:
        """The probability that the next training does not fail: lower beside a rate that did."""
        above = self.places.rate[failed] - self.places.rate[:, None]
        same = self.sizes[failed] == self.sizes[:, None]
        beside = same & (above >= 0) & (above <= 1)
        held = np.array([len(one.ends) for one in self.cells]) + _HELD
        return np.where(np.any(beside, axis=1), held / (held + 1), 1.0)

    @property
    def nameable(self) -> list[int]:
        """Configurations that met the level, and the user's own."""
        found = [i for i, one in enumerate(self.cells) if one.reached and i != self.own]
        return [self.own, *found]

    def off_ridge(self, i: int, others: Sequence[int]) -> Array:
        """Octaves of rate between a configuration and the ridges through others."""
        size, rate = self.places.size, self.places.rate
        along = self._prior.ridge * (size[i] - size[list(others)])
        return np.asarray(rate[i] - rate[list(others)] - along)

    def is_new_size(self, size: int) -> bool:
        """Whether no run of the batch size was seen."""
        return not any(one.records for one in self.cells if one.cell[0] == size)

    def rule_out(self, size: int, why: Reason) -> None:
        """Train no more at a batch size that does not fit into memory."""
        self.log.ruled_out[size] = why
        for one in self.cells:
            if one.cell[0] == size:
                one.failed = one.is_over = True
                one.costs.clear()
                one.ends.clear()


def out_of_memory(record: TrialRecord) -> bool:
    """Whether a run ended for want of memory, which says nothing about its rate."""
    return record.status is Status.OOM


def _pooled(groups: Iterable[Sequence[float]], usual: float) -> float:
    total, degrees = _USUAL_DEGREES * usual**2, _USUAL_DEGREES
    for values in groups:
        if len(values) > 1:
            total += (len(values) - 1) * statistics.variance(values)
            degrees += len(values) - 1
    return math.sqrt(total / degrees)
