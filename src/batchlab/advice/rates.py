"""The search for one batch size's learning rate, and what the rates of others tell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from batchlab.advice.run_log import CellKey, RunLog, pooled_sd
from batchlab.laws.steps_curve import MonotoneTest, monotone_test
from batchlab.records.estimate import Reason
from batchlab.records.trial import TrialRecord
from batchlab.runs.contract import Engine

# A run that has not met the target after this multiple of the best steps so far is stopped: with
# 10 % of scatter between seeds it lies three standard deviations behind.
CANNOT_WIN = 1.35
# The best of a search was lucky with its seed: on another seed it may take up to so much longer.
_ANOTHER_SEED = 2.0
_MOST_RUNS = 10
# A rate that was valued is given up for one that promises to save at least so much (a log ratio):
# its runs would have to be done again.
WORTH_A_MOVE = 0.01
# Half of a rate beside one that diverges is taken where it takes at most so much longer (log).
_HARDLY_SLOWER = 0.1


Place = tuple[int, int]
"""Batch size, and octaves above the reference rate."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The places that an engine can train at."""

    reference_rate: float  # octave 0
    engine: Engine  # some have certain rates only

    @classmethod
    def of(cls, run_log: RunLog) -> Lattice:
        """The lattice of a study."""
        return cls(run_log.question.reference.learning_rate, run_log.engine)

    def rate(self, octave: float) -> float:
        """The rate so many octaves above the reference rate."""
        return self.reference_rate * math.exp2(octave)

    def octave_of(self, rate: float) -> float:
        """How many octaves a rate lies above the reference rate."""
        return math.log2(rate / self.reference_rate)

    def cell(self, place: Place) -> CellKey:
        """Batch size and learning rate."""
        return place[0], self.rate(place[1])

    def beside(self, place: Place, octaves: int) -> Place | None:
        """The rate so many octaves away; None: the engine has none there."""
        wanted = place[1] + octaves
        return (place[0], wanted) if self.nearest(place[0], wanted) == wanted else None

    def as_scaled(self, place: Place, batch_size: int) -> Place:
        """Another batch size at the rate of the square-root rule, to an octave."""
        octave = place[1] + round(math.log2(batch_size / place[0]) / 2)
        return batch_size, self.nearest(batch_size, octave)

    def nearest(self, batch_size: int, octave: float) -> int:
        """The octave nearest to the one wanted; of two recorded ones as near, the lower."""
        rates = self.engine.learning_rates(batch_size)
        if rates is None:
            return round(octave)
        known = {round(self.octave_of(rate)) for rate in rates}
        return min(known, key=lambda other: (abs(other - octave), other))


@dataclass(kw_only=True)
class RateSearch:
    """The search at one batch size: `run` finds a rate, `confirm` asks a further seed."""

    run_log: RunLog  # asked for the runs
    batch_size: int  # examples per step
    # The rate chosen; None: no rate met the target in the steps allowed.
    learning_rate: float | None = None
    learning_cost: float | None = None
    finished: bool = False  # whether the best rate was compared with both its neighbours
    seeds: list[int] = field(default_factory=list)  # the seeds asked so far
    # Rates chosen before a further seed moved the choice, each with its cost.
    former: list[tuple[float, float]] = field(default_factory=list)
    _records: dict[tuple[int, int], TrialRecord] = field(default_factory=dict)

    @property
    def records(self) -> list[TrialRecord]:
        """Every run of the search."""
        return list(self._records.values())

    def run(
        self, *, start: float, limit_steps: int, seed: int, strides: Iterable[int] = (1,)
    ) -> None:
        """Search from `start` (octaves above the reference rate) with each stride in turn."""
        self.seeds.append(seed)
        here = self._nearest(start)
        for stride in strides:
            first = [here]
            if self.run_log.engine.n_workers > 1:
                first.append(self._nearest(here + stride))
            if not self._evaluate(first, limit_steps):
                break
            here = self._climb(stride, limit_steps)
        self._choose()

    def confirm(self, *, limit_steps: int, seed: int) -> bool:
        """Ask one more seed about the best rate and its neighbours, and choose by all seeds.

        Returns:
            False: the budget did not reach for it.
        """
        if not self._learning_costs():
            return False
        self.seeds.append(seed)
        here = self._best()
        beside = [self._nearest(here + 1), self._nearest(here - 1)]
        # Alone the best goes first: where it ends on this seed, its neighbours can be cut.
        groups = [[here, *beside]] if self.run_log.engine.n_workers > 1 else [[here], beside]
        if not self._evaluate(groups[0], limit_steps):
            self.seeds.pop()
            return False
        for octaves in groups[1:]:
            self._evaluate(octaves, limit_steps)
        self._choose()
        return True

    @property
    def may_be_a_slow_seed(self) -> bool:
        """Whether no rate met the target, and not because all failed."""
        missed = any(not record.has_failed for record in self._records.values())
        return self.run_log.until is not None and missed and not self._learning_costs()

    def nearest_on_another_seed(self, seed: int, *, limit_steps: int) -> int | None:
        """Ask another seed about the rate that came nearest to the target.

        Returns:
            Its octave where it met the target in as many steps; None: it did not, or the budget
            did not reach for it.
        """
        nearest = self._best()
        self.seeds.append(seed)
        if self._evaluate([nearest], limit_steps):
            if self.run_log.learning_cost(self._records[nearest, seed]) is not None:
                return nearest
        return None

    def step_down(self) -> None:
        """Take the next lower rate that met the target: the one chosen failed on a fresh seed."""
        assert self.learning_rate is not None
        chosen = self._lattice.octave_of(self.learning_rate)
        lower = {o: cost for o, cost in self._learning_costs().items() if o < chosen - 0.25}
        self.learning_rate = self.learning_cost = None
        if lower:
            self._take(max(lower), lower[max(lower)])

    def further_seed_saves(self, sd: float) -> float:
        """What one more seed is expected to save by moving the rate, as a log ratio of found_costs.

        The lowest point of a parabola that rises by h an octave on either side is known to a
        variance of sd^2 / (8 h^2 n) from n seeds, which costs h times that.
        """
        here = self._best()
        rises = [self._height(here + side, here) for side in (-1, +1)]
        known = [rise for rise in rises if rise is not None and rise > 0]
        if len(known) < len(rises):
            return math.inf
        n = len(self.seeds)
        return sd**2 / (4 * sum(known)) * (1 / n - 1 / (n + 1))

    @property
    def failed(self) -> int:
        """How many runs diverged or ended badly."""
        return sum(record.has_failed for record in self._records.values())

    def _climb(self, stride: int, limit_steps: int) -> int:
        while True:
            here = self._best()
            missing = [
                octave
                for octave in (self._nearest(here + stride), self._nearest(here - stride))
                if (octave, self.seeds[-1]) not in self._records
            ]
            if not missing:
                self.finished = True
                return here
            # One worker looks at one side first: where that is better, the other is known already.
            at_a_time = max(1, self.run_log.engine.n_workers)
            self.finished = False
            too_many = len(self._records) >= _MOST_RUNS
            if too_many or not self._evaluate(missing[:at_a_time], limit_steps):
                return here

    def _evaluate(self, octaves: Iterable[int], limit_steps: int) -> bool:
        """Run what is new on the last seed; False if the budget does not reach for it."""
        seed, steps = self.seeds[-1], limit_steps
        if self.run_log.until is not None:
            steps = min(steps, self._cut_steps(seed, otherwise=limit_steps))
        new = [o for o in dict.fromkeys(octaves) if (o, seed) not in self._records]
        requests = [
            self.run_log.request(
                batch_size=self.batch_size,
                learning_rate=self._lattice.rate(octave),
                seed=seed,
                steps=steps,
            )
            for octave in new
        ]
        if self.run_log.expected_s(requests) > self.run_log.left_s():
            return False
        for octave, record in zip(new, self.run_log.run(requests, "tune"), strict=True):
            if record.evaluations or record.has_failed:
                self._records[octave, seed] = record
        return any((octave, seed) in self._records for octave in new) or not new

    def _cut_steps(self, seed: int, *, otherwise: int) -> int:
        """Where a run of `seed` cannot win any more; seeds differ, so only its own runs tell."""
        found_costs = [
            cost
            for (_, other), record in self._records.items()
            if other == seed and (cost := self.run_log.learning_cost(record)) is not None
        ]
        if found_costs:
            return math.ceil(CANNOT_WIN * min(found_costs))
        if self._learning_costs():
            return math.ceil(_ANOTHER_SEED * min(self._learning_costs().values()))
        return otherwise

    @property
    def _lattice(self) -> Lattice:
        return Lattice.of(self.run_log)

    def _nearest(self, octave: float) -> int:
        return self._lattice.nearest(self.batch_size, octave)

    # ---- what the runs say

    def _log_learning_costs(self, octave: int) -> dict[int, float | None]:
        """By seed: the log cost of a rate; None: it missed the target or failed."""
        found = {}
        for (other, seed), record in self._records.items():
            if other == octave:
                cost = self.run_log.learning_cost(record)
                found[seed] = None if cost is None else math.log(cost)
        return found

    def _learning_costs(self) -> dict[int, float]:
        """Geometric mean cost of the rates that met the target on every seed they were given."""
        found_costs = {}
        for octave in {octave for octave, _ in self._records}:
            logs = list(self._log_learning_costs(octave).values())
            known = [value for value in logs if value is not None]
            if len(known) == len(logs):
                found_costs[octave] = math.exp(sum(known) / len(known))
        return found_costs

    def _best(self) -> int:
        found_costs = self._learning_costs()
        if found_costs:
            # A rate seen by more seeds is preferred to one that had a single lucky one.
            n = {octave: len(self._log_learning_costs(octave)) for octave in found_costs}
            return min(found_costs, key=lambda octave: (-n[octave], found_costs[octave], octave))
        # None met the target: the one that came nearest to it, a failed one last.
        return min(self._records, key=self._distance)[0]

    def _distance(self, key: tuple[int, int]) -> tuple[bool, float, tuple[int, int]]:
        record = self._records[key]
        far = self.run_log.question.distance(record)
        return record.has_failed or math.isinf(far), far, key

    def _choose(self) -> None:
        """Take the lowest point of the parabola through the best rate and its neighbours.

        Half an octave is as fine as one seed tells rates apart, a quarter where there are more; an
        engine that has certain rates only gets the nearest of them. A neighbour that was cut or
        failed lies at least where it was cut: that pushes the lowest point away from it.
        """
        found_costs = self._learning_costs()
        if not found_costs:
            return
        here = self._best()
        below, above = (self._height(here + side, here) for side in (-1, +1))
        if below is not None and below <= _HARDLY_SLOWER and self._diverged(here + 1):
            self._take(here - 1, found_costs.get(here - 1, found_costs[here]))
            return
        if below is None and above is None:  # a coarse search alone
            alike = [octave for octave, cost in found_costs.items() if cost == found_costs[here]]
            here = max(alike, key=self._beyond_the_target)
        offset = 0.0
        if below is not None and above is not None and below + above > 0:
            offset = min(max((below - above) / (2 * (below + above)), -1.0), 1.0)
            if self.learning_rate is not None:
                away = self._lattice.octave_of(self.learning_rate) - here - offset
                if (below + above) / 2 * away**2 < WORTH_A_MOVE:
                    self.learning_cost = found_costs[here]
                    return
        if self.run_log.engine.learning_rates(self.batch_size) is not None:
            self._take(self._nearest(here + offset), found_costs[here])
        else:
            parts = 2 if len(self.seeds) == 1 else 4
            self._take(here + round(parts * offset) / parts, found_costs[here])

    def _beyond_the_target(self, octave: int) -> float:
        """How far a rate was beyond the target where it met it, in the metric's unit, a mean."""
        target = self.run_log.until
        if target is None:
            return 0.0
        sign = 1 if target.better == "higher" else -1
        beyond = []
        for (other, _), record in self._records.items():
            crossing = record.crossing(target) if other == octave else None
            for evaluation in record.evaluations:
                if crossing is not None and evaluation.step == crossing.step:
                    value = evaluation.score("validation", target.metric)
                    beyond += [] if value is None else [sign * (value - target.value)]
        return sum(beyond) / len(beyond) if beyond else 0.0

    def _diverged(self, octave: int) -> bool:
        return any(
            other == octave and record.has_diverged for (other, _), record in self._records.items()
        )

    def _take(self, octave: float, cost: float) -> None:
        self.learning_rate, self.learning_cost = self._lattice.rate(octave), cost

    def _height(self, octave: int, here: int) -> float | None:
        """Log cost of a rate above that of the best, over the seeds of both; None: not tried."""
        mine, best = self._log_learning_costs(octave), self._log_learning_costs(here)
        heights = []
        for seed, log_cost in mine.items():
            centre = best.get(seed)
            if centre is not None:
                # Cut or failed: worse than CANNOT_WIN, by how much is not known.
                worse = math.log(CANNOT_WIN) if log_cost is None else log_cost - centre
                heights.append(worse)
        return sum(heights) / len(heights) if heights else None


# Before two batch sizes are tuned: how the best rate follows the batch size, in octaves an octave.
# Between the rules "sqrt" and "linear" for SGD, above what was measured for Adam.
_PRIOR_EXPONENT = 0.5
_PRIOR_WEIGHT = 2.0  # in squared octaves of batch size: a factor of 4 between two sizes counts 2
_LARGEST_EXPONENT = 1.2


def rate_trend(
    points: Sequence[tuple[float, float]], *, untuned_octave: float
) -> tuple[float, float]:
    """Slope and height at the reference batch size of the line through tuned rates.

    Returns:
        (octaves of rate an octave of batch size, octaves of rate).
    """
    if not points:
        return _PRIOR_EXPONENT, untuned_octave
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    below = sum((x - mean_x) ** 2 for x, _ in points)
    slope = (above + _PRIOR_WEIGHT * _PRIOR_EXPONENT) / (below + _PRIOR_WEIGHT)
    slope = min(max(slope, 0.0), _LARGEST_EXPONENT)
    return slope, mean_y - slope * mean_x


@dataclass(frozen=True, kw_only=True, slots=True)
class CarriedOver:
    """The two rules, and which of them the runs reject."""

    rejected: MonotoneTest  # the batch sizes that reject a rule

    @classmethod
    def by(cls, steps: Mapping[int, Sequence[float]], *, delta: float) -> CarriedOver:
        """The rules, tested with the steps of each batch size's runs."""
        sizes = sorted(steps)
        logs = [[math.log(value) for value in steps[size]] for size in sizes]
        # Without a repeat nothing tells scatter from a rejected rule.
        if all(len(values) < 2 for values in logs):
            return cls(rejected=MonotoneTest())
        sd, degrees = pooled_sd(logs)
        return cls(
            rejected=monotone_test(
                np.array(sizes, dtype=float),
                np.array([sum(values) / len(values) for values in logs]),
                np.array([sd**2 / len(values) for values in logs]),
                degrees,
                tolerance=math.log1p(delta),
            )
        )

    def caveats(self) -> list[Reason]:
        """A reason for each rule that the runs reject."""
        rise, fall = self.rejected.steps_rise, self.rejected.samples_fall
        found = []
        if rise is not None:
            found.append(Reason.of("steps_rise", smaller=rise[0], larger=rise[1]))
        if fall is not None:
            found.append(Reason.of("samples_fall", smaller=fall[0], larger=fall[1]))
        return found

    def least_log_steps(self, log_steps: float, size: int, batch_size: int) -> float:
        """The least log steps of `batch_size` if `size` needs so many; -inf: nothing bounds it."""
        rejected = self.rejected
        if batch_size < size:
            return log_steps if rejected.steps_rise is None else -math.inf
        if batch_size > size and rejected.samples_fall is not None:
            return -math.inf
        return log_steps - math.log(batch_size / size)

    def most_steps(self, steps: float, size: int, batch_size: int) -> float:
        """The most steps of `batch_size` if `size` needs so many; inf: nothing bounds them."""
        rejected = self.rejected
        if batch_size > size:
            return steps if rejected.steps_rise is None else math.inf
        if batch_size < size and rejected.samples_fall is not None:
            return math.inf
        return steps * size / batch_size

    def log_steps_not_met(self, missed_at: Mapping[int, int], batch_size: int) -> float:
        """Log steps in which `batch_size` can't meet a target, -inf: any may do."""
        bounds = [
            self.least_log_steps(math.log(steps), size, batch_size)
            for size, steps in missed_at.items()
            if steps > 0  # none: a run that the engine does not have
        ]
        return max(bounds, default=-math.inf)
