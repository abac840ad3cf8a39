"""StudyState: the log of a study, and what its runs say of each batch size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from batchlab.advice.advice import Endings, Option, Question
from batchlab.advice.carried_over import CarriedOver, rate_trend
from batchlab.advice.run_log import MOST_STEPS, CellKey, RunLog
from batchlab.laws.step_time import timed_in_turn
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.run import RunRequest
from batchlab.records.trial import TrialRecord

# A valuation may take so much longer than the run that chose its rate before it is cut.
_VALUE_LIMIT = 3.0
_Z = 1.959964


@dataclass(kw_only=True, eq=False)
class Size:
    """What a study knows of one batch size."""

    run_log: RunLog
    option: Option
    search: RateSearch | None = None  # for its rate; None: it was not tuned
    missed_at: int | None = None  # steps in which no rate tried met the target

    @property
    def batch_size(self) -> int:
        """Examples per step."""
        return self.option.batch_size

    @property
    def ruled_out(self) -> Reason | None:
        """Why it is no longer compared; None: it is."""
        return self.run_log.ruled_out.get(self.batch_size)

    @ruled_out.setter
    def ruled_out(self, why: Reason | None) -> None:
        self.run_log.ruled_out.pop(self.batch_size, None)
        if why is not None:
            self.run_log.ruled_out[self.batch_size] = why

    # ---- how long its runs are

    @property
    def plan(self) -> BatchPlan:
        """The examples of every step."""
        return self.run_log.plan(self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass over the training set."""
        return self.plan.steps_in(1)

    @property
    def examples_per_step(self) -> float:
        """The mean over an epoch: its last batch may be smaller, or left out."""
        steps = self.steps_per_epoch
        return self.plan.samples_at(steps) / steps

    @property
    def longest_steps(self) -> int:
        """The steps of the longest run that the question allows."""
        return self.run_log.longest_steps(self.batch_size)

    @property
    def horizon_steps(self) -> int:
        """Objective quality: the steps that a run is given."""
        question = self.run_log.question
        if question.longest_s is not None:
            assert self.option.step_s.estimate is not None
            return max(1, int(question.longest_s / self.option.step_s.estimate))
        assert question.longest_epochs is not None
        return self.longest_steps

    @property
    def whole_steps(self) -> int:
        """The steps of a whole training; the end of one was seen."""
        end = self.run_log.end
        assert end is not None
        return min(self.plan.steps_in(self.run_log.whole_epochs or end.epochs), self.longest_steps)

    @property
    def value_limit(self) -> int:
        """At how many steps a valuation is cut."""
        if self.run_log.until is None:
            return self.horizon_steps
        assert self.search is not None
        assert self.search.learning_cost is not None
        return min(math.ceil(_VALUE_LIMIT * self.search.learning_cost), self.longest_steps)

    def run_s(self, steps: int) -> float:
        """About what one run of so many new steps costs of the budget."""
        return self.run_log.run_s(self.batch_size, steps)

    def affordable_steps(self, seconds: float) -> int:
        """How many steps of one run so many seconds pay for, to a hundredth, at least 1."""
        # Not in proportion: evaluations lie dense at first. Doubling and halving find it.
        low, high = 1, 2
        while high < MOST_STEPS and self.run_s(high) <= seconds:
            low, high = high, 2 * high
        while high - low > max(1, low // 100):
            middle = (low + high) // 2
            if self.run_s(middle) <= seconds:
                low = middle
            else:
                high = middle
        return low

    # ---- what they say

    @property
    def log_weight(self) -> float:
        """What the objective multiplies the steps to target with, on a log scale."""
        objective = self.run_log.question.objective
        if objective == "time":
            assert self.option.step_s.estimate is not None
            return math.log(self.option.step_s.estimate)
        return math.log(self.examples_per_step) if objective == "samples" else 0.0

    @property
    def weight_sd(self) -> float:
        """How uncertain that is: as the step time, a log standard deviation."""
        if self.run_log.question.objective != "time":
            return 0.0
        return (self.option.step_s.log_half_width or 0.0) / _Z

    @property
    def cell(self) -> CellKey | None:
        """The batch size with its tuned rate, None where it has none."""
        if self.search is None or self.search.learning_rate is None:
            return None
        return self.batch_size, self.search.learning_rate

    @property
    def valuations(self) -> dict[int, TrialRecord]:
        """The runs of its tuned rate on seeds that had no part in choosing it, by seed."""
        return {} if self.cell is None else self.run_log.of_cell(self.cell, "value")

    def missed_after(self, record: TrialRecord) -> int | None:
        """The steps in which it missed the target; None: it met it, failed, or was cut before."""
        if self.run_log.until is None or record.has_failed:
            return None
        met = self.run_log.learning_cost(record) is not None
        is_over = record.has_ended_itself or record.steps >= self.value_limit
        return record.steps if is_over and not met else None

    def learning_costs(self) -> list[float]:
        """Steps to target (or shortfall) of the valuations that have one.

        Where any met it, one that missed it counts as far as it was followed: it takes at least
        that.
        """
        met = [self.run_log.learning_cost(record) for record in self.valuations.values()]
        missed = [self.missed_after(record) for record in self.valuations.values()]
        found = [cost for cost in met if cost]
        return [*found, *(steps for steps in missed if steps)] if found else []

    @property
    def log_learning_cost(self) -> float | None:
        """Mean log cost: of the valuations, else of the run that chose the rate."""
        found = self.learning_costs()
        if found:
            return sum(map(math.log, found)) / len(found)
        cost = None if self.search is None else self.search.learning_cost
        return None if cost is None else math.log(cost)

    @property
    def log_cost(self) -> float | None:
        """The objective's figure on a log scale, None where it is not known."""
        cost = self.log_learning_cost
        return None if cost is None else cost + self.log_weight

    @property
    def soonest_single(self) -> tuple[float, float] | None:
        """Steps and rate of the run that met the target soonest, where none was on a fresh seed.

        The best of a few looks better than it is. None: none met it, or some were.
        """
        log = self.run_log
        ran = {key: kind for key, kind in log.purposes.items() if key[0] == self.batch_size}
        if log.until is None or not {"value", "verify"}.isdisjoint(ran.values()):
            return None
        costs = ((log.learning_cost(log.records[key]), key[1]) for key in ran)
        return min(((cost, rate) for cost, rate in costs if cost is not None), default=None)


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

    size: Size  # whose rate is searched for
    # The rate chosen; None: no rate met the target in the steps allowed.
    learning_rate: float | None = None
    learning_cost: float | None = None
    finished: bool = False  # whether the best rate was compared with both its neighbours
    seeds: list[int] = field(default_factory=list)  # the seeds asked so far
    # Rates chosen before a further seed moved the choice, each with its cost.
    former: list[tuple[float, float]] = field(default_factory=list)
    _records: dict[tuple[int, int], TrialRecord] = field(default_factory=dict)

    @property
    def run_log(self) -> RunLog:
        """Asked for the runs."""
        return self.size.run_log

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

    def nearest_on_another_seed(self, seed: int, *, limit_steps: int) -> int | None:
        """Ask another seed about the rate that came nearest to the target, where none met it.

        Its octave where it met the target in as many steps; None: it did not, or was not run, as
        where one met it or all failed.
        """
        has_missed = any(not record.has_failed for record in self._records.values())
        if self.run_log.until is None or not has_missed or self._learning_costs():
            return None
        nearest = self._best()
        self.seeds.append(seed)
        if self._evaluate([nearest], limit_steps):
            if self.run_log.learning_cost(self._records[nearest, seed]) is not None:
                return nearest
        return None

    def step_down(self) -> None:
        """Take the next lower rate that met the target: the one chosen failed on a fresh seed."""
        assert self.learning_rate is not None
        chosen = self.run_log.lattice.octave_of(self.learning_rate)
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

    def _climb(self, stride: int, limit_steps: int) -> int:
        while True:
            here = self._best()
            beside = (self._nearest(here + stride), self._nearest(here - stride))
            missing = [octave for octave in beside if (octave, self.seeds[-1]) not in self._records]
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
        cells = [self.run_log.lattice.cell((self.size.batch_size, octave)) for octave in new]
        requests = [self.run_log.request(cell, seed, steps=steps) for cell in cells]
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

    def _nearest(self, octave: float) -> int:
        return self.run_log.lattice.nearest(self.size.batch_size, octave)

    # ---- what the runs say

    def _log_learning_costs(self, octave: int) -> dict[int, float | None]:
        """By seed: the log cost of a rate; None: it missed the target or failed."""
        runs = {seed: run for (other, seed), run in self._records.items() if other == octave}
        costs = {seed: self.run_log.learning_cost(run) for seed, run in runs.items()}
        return {seed: None if cost is None else math.log(cost) for seed, cost in costs.items()}

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
                away = self.run_log.lattice.octave_of(self.learning_rate) - here - offset
                if (below + above) / 2 * away**2 < WORTH_A_MOVE:
                    self.learning_cost = found_costs[here]
                    return
        parts = 2 if len(self.seeds) == 1 else 4
        octave = here + round(parts * offset) / parts
        if self.run_log.engine.learning_rates(self.size.batch_size) is not None:
            octave = self._nearest(here + offset)
        self._take(octave, found_costs[here])

    def _beyond_the_target(self, octave: int) -> float:
        """How far a rate was beyond the target where it met it, in the metric's unit, a mean."""
        target = self.run_log.until
        if target is None:
            return 0.0
        beyond = []
        for (other, _), record in self._records.items():
            crossing = record.crossing(target) if other == octave else None
            for evaluation, value in record.curve("validation", target.metric):
                if crossing is not None and evaluation.step == crossing.step:
                    beyond.append(self.run_log.question.sign * (value - target.value))
        return sum(beyond) / len(beyond) if beyond else 0.0

    def _diverged(self, octave: int) -> bool:
        return any(o == octave and run.has_diverged for (o, _), run in self._records.items())

    def _take(self, octave: float, cost: float) -> None:
        self.learning_rate, self.learning_cost = self.run_log.lattice.rate(octave), cost

    def _height(self, octave: int, here: int) -> float | None:
        """Log cost of a rate above that of the best, over the seeds of both; None: not tried."""
        mine, best = self._log_learning_costs(octave), self._log_learning_costs(here)
        # Cut or failed: worse than CANNOT_WIN, by how much is not known.
        heights = [
            math.log(CANNOT_WIN) if log_cost is None else log_cost - centre
            for seed, log_cost in mine.items()
            if (centre := best.get(seed)) is not None
        ]
        return sum(heights) / len(heights) if heights else None


# A run usually takes no longer than this times the mean of its other seeds.
_USUALLY_WITHIN = 1.2


@dataclass(kw_only=True)
class StudyState(RunLog):
    """The runs of a study, and what they say of each batch size."""

    sizes: dict[int, Size] = field(init=False)  # all in question, ascending
    first_octave: float = 0.0  # where the first search begins, above the reference rate
    hardly_learns: Reason | None = None  # that the reference does, by its pilots; None: it learns
    # The step time of the second size over the first's, in turn; None: not to be had.
    in_turn: Callable[[int, int], Estimate | None] | None = None

    def __post_init__(self) -> None:
        """Nothing is known of any batch size yet."""
        super().__post_init__()
        self.ask(self.question)

    def ask(self, question: Question) -> None:
        """Ask this from now on, of which nothing is known but what ran."""
        self.question = question
        self.sizes = {
            option.batch_size: Size(run_log=self, option=option) for option in question.options
        }

    @property
    def reference(self) -> Size:
        """The user's own batch size."""
        return self.sizes[self.question.reference.batch_size]

    @property
    def reference_cell(self) -> CellKey:
        """The user's own configuration."""
        return self.question.reference.batch_size, self.question.reference.learning_rate

    @property
    def that_run(self) -> list[Size]:
        """The batch sizes that ran on this machine, ascending."""
        return [size for size in self.sizes.values() if size.option.runs]

    @property
    def tuned(self) -> list[Size]:
        """Those whose rate was searched for, ascending."""
        return [size for size in self.sizes.values() if size.search is not None]

    @property
    def that_met_the_target(self) -> list[Size]:
        """The tuned batch sizes that met the target, ascending."""
        return [size for size in self.tuned if size.log_learning_cost is not None]

    def time_in_turn(self, size: Size) -> bool:
        """Time it and the reference once more, in turn; whether that was done, once for each size.

        What else ran while they were profiled may have fallen on one of the two alone.
        """
        own, known = self.reference, [s for s in self.sizes.values() if s.option.ratio_sd]
        is_open = size is not own and size not in known and self.question.objective == "time"
        times = self.in_turn(own.batch_size, size.batch_size) if is_open and self.in_turn else None
        if times is None:
            return False
        own_s, size_s, ratio_sd = timed_in_turn(own.option.step_s, size.option.step_s, times)
        moved = math.exp(math.log(own_s.estimate or 1.0) - own.log_weight)
        own.option = replace(own.option, step_s=own_s)
        size.option = replace(size.option, step_s=size_s, ratio_sd=ratio_sd)
        for other in known:  # their ratio to it is
            other.option = replace(other.option, step_s=other.option.step_s.times(moved))
        options = tuple(each.option for each in self.sizes.values())
        self.question = replace(self.question, options=options)
        did = Reason.of("time_in_turn", size=size.batch_size, other=own.batch_size)
        self.note(did, Reason.of("load_falls_on_both"))
        return True

    def take_out(self, endings: Endings) -> None:
        """No longer compare a batch size that ends worse, or seems to."""
        size = endings.recommended.batch_size
        self.ruled_out[size] = endings.reason
        did = Reason.of("size_is_passed_over", size=size)
        if endings.verdict == "worse":
            did = Reason.of("size_is_out", size=size)
        self.note(did, endings.reason)

    # ---- costs

    @property
    def best(self) -> Size | None:
        """The batch size with the best cost so far, of those valued if there are any."""
        met = [size for size in self.that_met_the_target if size.ruled_out is None]
        return self.fastest([size for size in met if size.learning_costs()] or met)

    def fastest(self, sizes: Iterable[Size]) -> Size | None:
        """The one with the best cost; of two alike the smaller. None: none has one."""
        costs = ((size.log_cost, size.batch_size) for size in sizes)
        best = min(((cost, size) for cost, size in costs if cost is not None), default=None)
        return None if best is None else self.sizes[best[1]]

    @property
    def best_log_cost(self) -> float | None:
        """The cost of the best batch size so far."""
        best = self.best
        return None if best is None else best.log_cost

    def optimistic_log_cost(self, size: Size) -> float | None:
        """The least that the cost can be if larger batches need no more steps, nor fewer examples.

        From all that were run: S does not rise with B, and B S does not fall. A rule that the runs
        reject bounds nothing, and without a bound it is -inf. None for quality, of which neither is
        known.
        """
        met = self.that_met_the_target
        if self.question.objective == "quality" or not met:
            return None
        rules = self.carried_over()
        bounds = [self.log_learning_cost_not_met(size)]
        bounds += [
            rules.least_log_steps(cost, other.batch_size, size.batch_size)
            for other in met
            if (cost := other.log_learning_cost) is not None
        ]
        return max(bounds) + size.log_weight

    def log_learning_cost_not_met(self, size: Size) -> float:
        """Log steps in which it can't meet the target, where others that missed it tell.

        By the same two rules as `optimistic_log_cost`; -inf: nothing tells, inf: it can't at all.
        """
        missed = {s.batch_size: s.missed_at for s in self.sizes.values() if s.missed_at is not None}
        if not missed:
            return -math.inf
        if self.out_of_reach_as(size) is not None:
            return math.inf
        rules = self.carried_over()
        bounds = [
            rules.least_log_steps(math.log(steps), other, size.batch_size)
            for other, steps in missed.items()
            if steps > 0  # none: a run that the engine does not have
        ]
        return max(bounds, default=-math.inf)

    def out_of_reach_as(self, size: Size) -> int | None:
        """The smaller batch size that missed the target in all the steps allowed; None: none did.

        Larger ones need no fewer examples, so they miss it too.
        """
        smaller = [
            other.batch_size
            for other in self.sizes.values()
            if other.batch_size < size.batch_size
            and other.missed_at is not None
            and other.missed_at >= other.longest_steps
        ]
        if not smaller or self.carried_over().rejected.samples_fall is not None:
            return None
        return max(smaller)

    def carried_over(self) -> CarriedOver:
        """The rules that bound batch sizes by others, as far as the valuations allow."""
        complete: dict[int, list[float]] = {}
        for size in self.tuned:
            runs = size.valuations.values()
            found = [cost for run in runs if (cost := self.learning_cost(run))]
            # What a run that missed would have taken is not known: such a mean may be too low.
            if found and len(found) == len(runs):
                complete[size.batch_size] = found
        return CarriedOver.by(complete, delta=self.question.delta)

    # ---- rates

    def rate_start(self, size: Size) -> float:
        """Where to begin the search for its rate: octaves above the reference rate."""
        own_size, own_rate = self.reference_cell
        cells = [tuned.cell for tuned in self.that_met_the_target if tuned.cell is not None]
        octaves = [(math.log2(b / own_size), math.log2(rate / own_rate)) for b, rate in cells]
        slope, intercept = rate_trend(octaves, untuned_octave=self.first_octave)
        return intercept + slope * math.log2(size.batch_size / own_size)

    # ---- runs

    def usual_s(self, requests: Sequence[RunRequest]) -> float:
        """What the runs are expected to cost, given where the target was met before."""
        return self.expected_s([self._as_usual(request) for request in requests])

    def _as_usual(self, request: RunRequest) -> RunRequest:
        """The request as far as runs of its cell usually go; as it is where that is not known."""
        if request.length.until is None:
            return request
        cell = self.key_of(request)[:2]
        size = self.sizes[cell[0]]
        others = self.of_cell(cell, "pilot", "tune", "value", "verify").values()
        found = [cost for run in others if (cost := self.learning_cost(run))]
        if not others and cell == size.cell:  # a rate between those of the search
            assert size.search is not None
            found = [size.search.learning_cost or request.last_step]
        usual = math.ceil(_USUALLY_WITHIN * sum(found) / len(found)) if found else math.inf
        steps = int(min(request.last_step, usual))
        return replace(request, length=replace(request.length, steps=steps))
