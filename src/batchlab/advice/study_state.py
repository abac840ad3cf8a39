"""StudyState: what the runs so far say of each batch size."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from batchlab.advice.advice import Endings, Option, Question
from batchlab.advice.level import EndLevel
from batchlab.advice.rates import (
    WORTH_A_MOVE,
    CarriedOver,
    RateSearch,
    rate_trend,
)
from batchlab.advice.run_log import CellKey, RunLog, pooled_sd, steps_to, why_none_held
from batchlab.records.estimate import Reason
from batchlab.records.run import RunRequest
from batchlab.records.trial import Target, TrialRecord

# A valuation may take so much longer than the run that chose its rate before it is cut.
_VALUE_LIMIT = 3.0
# So many seeds tell a slow seed from a slow rate: two of them decide.
_SEEDS_TO_TELL = 3
# A rate that takes so much longer on the same fresh seeds (a log ratio) is not kept.
_CLEARLY_WORSE = 0.03
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
        did = "size_is_out" if endings.verdict == "worse" else "size_is_passed_over"
        self.run_log.note(Reason.of(did, size=size), endings.reason)

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

    def tune(
        self, batch_size: int, *, limit_steps: int, strides: tuple[int, ...] = (1,)
    ) -> RateSearch:
        """Search for the rate of a batch size.

        Where none met the target the seed may be a slow one: if the nearest of them meets it on
        another seed, the search is done again on that.
        """
        seed, start = self.seeds.tune[0], self.rate_start(batch_size)
        search = RateSearch(run_log=self.run_log, batch_size=batch_size)
        search.run(start=start, limit_steps=limit_steps, seed=seed, strides=strides)
        if search.may_be_a_slow_seed and len(self.seeds.tune) > 1:
            seed = self.seeds.tune[1]
            nearest = search.nearest_on_another_seed(seed, limit_steps=limit_steps)
            if nearest is not None:
                self.run_log.note(
                    Reason.of("again_on_another_seed", size=batch_size), Reason.of("slow_seed")
                )
                search = RateSearch(run_log=self.run_log, batch_size=batch_size)
                search.run(start=nearest, limit_steps=limit_steps, seed=seed)
        self.tuned[batch_size] = search
        if self.run_log.until is not None and search.learning_cost is not None:
            self.run_log.tuned_steps[batch_size] = search.learning_cost
        return search

    def confirm(self, batch_size: int) -> bool:
        """Ask a further seed about the rate of a batch size; False: none left, or no budget."""
        search = self.tuned[batch_size]
        if self.is_confirmed(batch_size) or search.learning_cost is None:
            return False
        seed = next(seed for seed in self.seeds.tune if seed not in search.seeds)
        before, learning_cost_before = search.learning_rate, search.learning_cost
        if not search.confirm(limit_steps=self.value_limit(batch_size), seed=seed):
            return False
        self.run_log.note(
            Reason.of("asked_a_further_seed", size=batch_size),
            Reason.of("seeds_chose_it", n=len(search.seeds) - 1),
        )
        if search.learning_rate != before and search.learning_rate is not None:
            assert before is not None
            search.former.append((before, learning_cost_before))
            self.run_log.note(
                Reason.of(
                    "another_rate", size=batch_size, rate=search.learning_rate, before=before
                ),
                Reason.of("lowest_point_of_seeds", n=len(search.seeds)),
            )
        return True

    def rate_in_doubt(self, batch_size: int) -> bool:
        """Whether a further seed may move the rate to where it saves what is worth a move."""
        sd, _ = pooled_sd(
            [math.log(cost) for cost in found_costs]
            for found_costs in map(self.learning_costs, self.that_met_the_target())
            if found_costs
        )
        return self.tuned[batch_size].further_seed_saves(sd) > WORTH_A_MOVE

    def is_confirmed(self, batch_size: int) -> bool:
        """Whether every tuning seed was asked about its rate."""
        return len(self.tuned[batch_size].seeds) >= len(self.seeds.tune)

    def run_valuations(self, batch_size: int, n: int, *, why: Reason | None = None) -> bool:
        """Run the tuned rate with seeds that had no part in choosing it, until there are `n`.

        A rate that fails on a fresh seed, or on most of them is three times as slow as on the seed
        that chose it, was luck: the next lower one takes its place. One such seed among others
        says little, so it makes three of them.

        Returns:
            Whether there are as many now; False: the budget, the seeds or the rates ran out.
        """
        while True:
            search = self.tuned[batch_size]
            cell = self.cell(batch_size)
            if cell is None:
                return False
            done = self.valuation_runs(batch_size)
            if self._was_luck(batch_size, done.values()):
                search.step_down()
                self.run_log.note(
                    _lower_rate(batch_size, search.learning_rate),
                    Reason.of("fresh_seed_did_not_survive"),
                )
                if search.learning_rate is None:
                    self.ruled_out[batch_size] = why_none_held(done.values())
                continue
            missed = sum(self.missed_after(batch_size, r) is not None for r in done.values())
            n = max(n, _SEEDS_TO_TELL) if missed else n
            if len(done) >= n:
                self._keep_the_better_rate(batch_size)
                return True
            fresh = [seed for seed in self.seeds.value if seed not in done][: n - len(done)]
            requests = [
                self.run_log.request(
                    batch_size=batch_size,
                    learning_rate=cell[1],
                    seed=seed,
                    steps=self.value_limit(batch_size),
                )
                for seed in fresh
            ]
            if not requests or self.expected_s(requests) > self.run_log.left_s():
                return False
            self.run_log.note(
                Reason.of("value_size", size=batch_size, rate=cell[1], n=len(requests)),
                why or Reason.of("choosing_seed_flatters"),
            )
            self.run_log.run(requests, "value")
            if len(self.valuation_runs(batch_size)) == len(done):
                return False  # their turn never came

    def _keep_the_better_rate(self, batch_size: int) -> None:
        """Where a further seed moved the rate and fresh seeds speak against it, move it back."""
        search = self.tuned[batch_size]
        assert search.learning_rate is not None
        for rate, cost in search.former:
            here = self.run_log.of_cell((batch_size, search.learning_rate), "value")
            there = self.run_log.of_cell((batch_size, rate), "value")
            pairs = [
                (
                    self.run_log.learning_cost(here[seed]),
                    self.run_log.learning_cost(there[seed]),
                )
                for seed in here
                if seed in there
            ]
            logs = [math.log(new / old) for new, old in pairs if new and old]
            if len(logs) == len(pairs) > 1 and sum(logs) / len(logs) > _CLEARLY_WORSE:
                self.run_log.note(
                    Reason.of("back_to_rate", size=batch_size, rate=rate),
                    Reason.of("fewer_steps_on_same_seeds"),
                )
                search.learning_rate, search.learning_cost = rate, cost

    def _was_luck(self, batch_size: int, records: Collection[TrialRecord]) -> bool:
        """Whether the rate failed on a seed, or missed the target on most of two or more."""
        if any(record.has_failed for record in records):
            return True
        missed = sum(self.missed_after(batch_size, record) is not None for record in records)
        return missed >= 2 and 2 * missed > len(records)

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


def _lower_rate(batch_size: int, rate: float | None) -> Reason:
    if rate is None:
        return Reason.of("no_lower_rate", size=batch_size)
    return Reason.of("lower_rate", size=batch_size, rate=rate)
