"""StudyState: what the runs so far say of each batch size, with the search for its rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from batchlab.advice.advice import Endings, Option, Question
from batchlab.advice.carried_over import CarriedOver, rate_trend
from batchlab.advice.level import EndLevel
from batchlab.advice.run_log import CellKey, Lattice, RunLog, steps_to
from batchlab.records.estimate import Reason
from batchlab.records.run import RunRequest
from batchlab.records.trial import Target, TrialRecord

# A valuation may take so much longer than the run that chose its rate before it is cut.
_VALUE_LIMIT = 3.0
# And usually takes no longer than this times the mean of its other seeds.
_USUALLY_WITHIN = 1.2
_Z = 1.959964


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedPlan:
    """Which seeds choose the rate, which value the choice, which verify the recommendation.

    The best of many noisy runs looks better than it is, so no seed does two of these.
    """

    tune: tuple[int, ...]
    value: tuple[int, ...]
    verify: tuple[int, ...]

    @classmethod
    def of(cls, n_seeds: int | None) -> SeedPlan:
        """Shares out `n_seeds` seeds, at least 4; None: as many as may be needed."""
        if n_seeds is None:
            return cls(tune=(0, 1, 2, 3), value=tuple(range(10, 74)), verify=tuple(range(80, 128)))
        n_tune, n_verify = (2 if n_seeds >= 6 else 1), min(3, max(1, n_seeds // 3))
        return cls(
            tune=tuple(range(n_tune)),
            value=tuple(range(n_tune, n_seeds - n_verify)),
            verify=tuple(range(n_seeds - n_verify, n_seeds)),
        )

    def verifying_with_one(self) -> SeedPlan:
        """The plan in which all but one of the seeds that verify value instead."""
        return replace(self, value=(*self.value, *self.verify[1:]), verify=self.verify[:1])


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


@dataclass
class StudyState:
    """The state of a study: what was tuned, and what each tuned batch size costs."""

    run_log: RunLog
    seeds: SeedPlan
    tuned: dict[int, RateSearch] = field(default_factory=dict)
    ruled_out: dict[int, Reason] = field(default_factory=dict)
    missed_at: dict[int, int] = field(default_factory=dict)  # steps in which no rate tried met it
    first_octave: float = 0.0  # where the first search begins, above the reference rate
    end: EndLevel | None = None  # what the reference ends with; None: not seen, or not in question
    whole_epochs: float | None = None  # passes of the trainings compared; None: not decided yet

    @property
    def question(self) -> Question:
        """What was asked."""
        return self.run_log.question

    def options(self) -> tuple[Option, ...]:
        """The batch sizes that ran on this machine."""
        return tuple(option for option in self.question.options if option.runs)

    @property
    def reference_cell(self) -> CellKey:
        """The user's own configuration."""
        return self.question.reference.batch_size, self.question.reference.learning_rate

    def take_out(self, endings: Endings) -> None:
        """No longer compare a batch size that ends worse, or seems to."""
        size = endings.recommended.batch_size
        self.ruled_out[size] = endings.reason
        did = Reason.of("size_is_passed_over", size=size)
        if endings.verdict == "worse":
            did = Reason.of("size_is_out", size=size)
        self.run_log.note(did, endings.reason)

    # ---- costs

    def log_weight(self, batch_size: int) -> float:
        """What the objective multiplies the steps to target with, on a log scale."""
        if self.question.objective == "time":
            step_s = self.question.option(batch_size).step_s.estimate
            assert step_s is not None
            return math.log(step_s)
        if self.question.objective == "samples":
            return math.log(self.run_log.examples_per_step(batch_size))
        return 0.0

    def weight_sd(self, batch_size: int) -> float:
        """How uncertain that is: as the step time, a log standard deviation."""
        if self.question.objective != "time":
            return 0.0
        return (self.question.option(batch_size).step_s.log_half_width or 0.0) / _Z

    def cell(self, batch_size: int) -> tuple[int, float] | None:
        """The batch size with its tuned rate, None where it has none."""
        tuned = self.tuned.get(batch_size)
        if tuned is None or tuned.learning_rate is None:
            return None
        return batch_size, tuned.learning_rate

    def valuation_runs(self, batch_size: int) -> dict[int, TrialRecord]:
        """The valuation runs of a tuned batch size, by seed."""
        cell = self.cell(batch_size)
        return {} if cell is None else self.run_log.of_cell(cell, "value")

    def learning_costs(self, batch_size: int, *, target: Target | None = None) -> list[float]:
        """Steps to target (or shortfall) of the valuation runs that have one.

        Where any met it, one that missed the study's own target counts as far as it was followed:
        it takes at least that.
        """
        own = self.run_log.until
        met, missed = [], []
        for record in self.valuation_runs(batch_size).values():
            if target is None or target == own:
                met.append(self.run_log.learning_cost(record))
                missed.append(self.missed_after(batch_size, record))
            else:
                met.append(steps_to(record, target))
        found = [cost for cost in met if cost]
        return [*found, *(steps for steps in missed if steps)] if found else []

    def log_learning_cost(self, batch_size: int) -> float | None:
        """Mean log cost: of the valuation runs, else of the run that chose the rate."""
        found_costs = self.learning_costs(batch_size)
        if found_costs:
            return sum(map(math.log, found_costs)) / len(found_costs)
        tuned = self.tuned.get(batch_size)
        cost = None if tuned is None else tuned.learning_cost
        return None if cost is None else math.log(cost)

    def log_cost(self, batch_size: int) -> float | None:
        """The objective's figure on a log scale, None where it is not known."""
        cost = self.log_learning_cost(batch_size)
        return None if cost is None else cost + self.log_weight(batch_size)

    def that_met_the_target(self) -> list[int]:
        """The tuned batch sizes that met the target, ascending."""
        return sorted(size for size in self.tuned if self.log_learning_cost(size) is not None)

    def best(self) -> int | None:
        """The batch size with the best cost so far, of those valued if there are any."""
        best = self._best()
        return None if best is None else best[1]

    def best_log_cost(self) -> float | None:
        """The cost of the best batch size so far."""
        best = self._best()
        return None if best is None else best[0]

    def _best(self) -> tuple[float, int] | None:
        met = [size for size in self.that_met_the_target() if size not in self.ruled_out]
        sizes = [size for size in met if self.learning_costs(size)] or met
        known = ((self.log_cost(size), size) for size in sizes)
        return min(((cost, size) for cost, size in known if cost is not None), default=None)

    def optimistic_log_cost(self, batch_size: int) -> float | None:
        """The least that the cost can be if larger batches need no more steps, nor fewer examples.

        From all that were run: S does not rise with B, and B S does not fall. A rule that the runs
        reject bounds nothing, and without a bound it is -inf. None for quality, of which neither is
        known.
        """
        met = self.that_met_the_target()
        if self.question.objective == "quality" or not met:
            return None
        known = [(size, self.log_learning_cost(size)) for size in met]
        rules = self.carried_over()
        bounds = [self.log_learning_cost_not_met(batch_size)]
        bounds += [
            rules.least_log_steps(cost, size, batch_size)
            for size, cost in known
            if cost is not None
        ]
        return max(bounds) + self.log_weight(batch_size)

    def log_learning_cost_not_met(self, batch_size: int) -> float:
        """Log steps in which it can't meet the target, where others that missed it tell.

        By the same two rules as `optimistic_log_cost`; -inf: nothing tells, inf: it can't at all.
        """
        if not self.missed_at:
            return -math.inf
        if self.out_of_reach_as(batch_size) is not None:
            return math.inf
        return self.carried_over().log_steps_not_met(self.missed_at, batch_size)

    def out_of_reach_as(self, batch_size: int) -> int | None:
        """The smaller batch size that missed the target in all the steps allowed; None: none did.

        Larger ones need no fewer examples, so they miss it too.
        """
        smaller = [size for size in self.missed_at if size < batch_size]
        smaller = [s for s in smaller if self.missed_at[s] >= self.run_log.longest_steps(s)]
        if not smaller or self.carried_over().rejected.samples_fall is not None:
            return None
        return max(smaller)

    def carried_over(self) -> CarriedOver:
        """The rules that bound batch sizes by others, as far as the valuation runs allow."""
        complete: dict[int, list[float]] = {}
        for size in self.tuned:
            runs = self.valuation_runs(size).values()
            found = [cost for run in runs if (cost := self.run_log.learning_cost(run))]
            # What a run that missed would have taken is not known: such a mean may be too low.
            if found and len(found) == len(runs):
                complete[size] = found
        return CarriedOver.by(complete, delta=self.question.delta)

    # ---- rates

    def rate_start(self, batch_size: int) -> float:
        """Where to begin the search for the rate: octaves above the reference rate."""
        slope, intercept = self.rate_line()
        return intercept + slope * math.log2(batch_size / self.question.reference.batch_size)

    def rate_line(self) -> tuple[float, float]:
        """Slope and height at the reference batch size of the tuned rates, in octaves."""
        return rate_trend(list(self._rate_points()), untuned_octave=self.first_octave)

    def _rate_points(self) -> Iterator[tuple[float, float]]:
        reference = self.question.reference
        for size in self.that_met_the_target():
            rate = self.tuned[size].learning_rate
            if rate is not None:
                yield (
                    math.log2(size / reference.batch_size),
                    math.log2(rate / reference.learning_rate),
                )

    # ---- runs

    def is_confirmed(self, batch_size: int) -> bool:
        """Whether every tuning seed was asked about its rate."""
        return len(self.tuned[batch_size].seeds) >= len(self.seeds.tune)

    def missed_after(self, batch_size: int, record: TrialRecord) -> int | None:
        """The steps in which it missed the target; None: it met it, failed, or was cut before."""
        if self.run_log.until is None or record.has_failed:
            return None
        met = self.run_log.learning_cost(record) is not None
        is_over = record.has_ended_itself or record.steps >= self.value_limit(batch_size)
        return record.steps if is_over and not met else None

    def value_limit(self, batch_size: int) -> int:
        """At how many steps a valuation is cut."""
        if self.run_log.until is None:
            return self.horizon_steps(batch_size)
        cost = self.tuned[batch_size].learning_cost
        assert cost is not None
        return min(math.ceil(_VALUE_LIMIT * cost), self.run_log.longest_steps(batch_size))

    def horizon_steps(self, batch_size: int) -> int:
        """Objective quality: the steps that a run of this batch size is given."""
        question = self.question
        if question.longest_s is not None:
            step_s = question.option(batch_size).step_s.estimate
            assert step_s is not None
            return max(1, int(question.longest_s / step_s))
        assert question.longest_epochs is not None
        return self.run_log.longest_steps(batch_size)

    def whole_steps(self, batch_size: int) -> int:
        """The steps of a whole training; the end of one was seen."""
        assert self.end is not None
        steps = self.run_log.plan(batch_size).steps_in(self.whole_epochs or self.end.epochs)
        return min(steps, self.run_log.longest_steps(batch_size))

    def expected_s(self, requests: Sequence[RunRequest]) -> float:
        """What the runs are expected to cost, given where the target was met before."""
        return self.run_log.expected_s([self._as_usual(request) for request in requests])

    def _as_usual(self, request: RunRequest) -> RunRequest:
        """The request as far as runs of its cell usually go; as it is where that is not known."""
        if request.length.until is None:
            return request
        cell = self.run_log.key_of(request)[:2]
        others = self.run_log.of_cell(cell, "pilot", "tune", "value", "verify").values()
        found = [cost for run in others if (cost := self.run_log.learning_cost(run))]
        if not others and cell == self.cell(cell[0]):  # a rate between those of the search
            found = [self.tuned[cell[0]].learning_cost or request.last_step]
        usual = math.ceil(_USUALLY_WITHIN * sum(found) / len(found)) if found else math.inf
        steps = int(min(request.last_step, usual))
        return replace(request, length=replace(request.length, steps=steps))
