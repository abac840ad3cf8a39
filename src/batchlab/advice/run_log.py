"""RunLog: every training run the advice asked for, what came back, and what the budget allows."""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from batchlab.advice.advice import EndLevel, Purpose, Question, RateTried, Step
from batchlab.advice.carried_over import pooled_sd
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.estimate import Reason
from batchlab.records.run import AllSplits, RunLength, RunRequest, RunsAsked
from batchlab.records.trial import Target, Trial, TrialRecord
from batchlab.runs.contract import Engine, run_all


class RunWatcher(Protocol):
    """Who looks on while an advice asks for runs."""

    def asked(self, runs: RunsAsked, purpose: Purpose) -> None:
        """These runs are asked for now."""
        ...

    def answered(self, run_log: RunLog) -> None:
        """Runs have ended, or what follows from them was noted: the log has both."""
        ...


# What is asked of runs where the step before them does not say more.
_OF_PURPOSE: dict[Purpose, Reason] = {
    "pilot": Reason.of("asked_for_end"),
    "tune": Reason.of("asked_for_rate"),
    "value": Reason.of("asked_on_fresh_seeds"),
    "verify": Reason.of("asked_to_verify"),
}


# Why a step was taken, where that is why the runs after it were asked for.
_SAYS_IT = (
    "race_against",
    "look_at_sizes_why",
    "follow_to_the_end_why",
    "look_at_the_rest_why",
)


def why_asked(purpose: Purpose, step: Step | None) -> Reason:
    """Why runs are asked for: what the last step says, or else what their purpose is."""
    if step is not None and purpose in ("tune", "value"):
        named = step.why.named
        if step.why.code == "tune_size_why" and isinstance(named["why"], Reason):
            return named["why"]
        if step.why.code in _SAYS_IT:
            return step.why
        if step.did.code == "value_size" and step.why.code != "choosing_seed_flatters":
            return step.why
    return _OF_PURPOSE[purpose]


# Recorded trainings end at an evaluation, and these lie up to 5 % apart: so much of one is whole.
_NEARLY_WHOLE = 0.95
MOST_STEPS = 10**9
# Of the fewest samples that a batch size can need to the target: a run is watched from there on.
# Below the 0.6 at which an easier target is read, and below what luck can save.
_WATCHED_FROM = 0.55
# Evaluations are so many times as far apart as they take, in samples of the reference batch size: a
# third of its runs' time at most. Up to there a target met is known less well, but the seeds differ
# by more, and there are more of them. Three or five times would leave more for trainings, and cost
# more answers than these bring (on the record of benchmarks/regret_whole.py).
_TRAINED_BETWEEN = 2.0
# Where one takes very long they are no further apart than this part of a whole training; if no end
# is planned, of 20 epochs.
_MOST_OF_A_TRAINING = 0.05
_EPOCHS_UNPLANNED = 20

Key = tuple[int, float, int]
"""Batch size, learning rate and seed, as they were asked for."""
CellKey = tuple[int, float]
"""Batch size and learning rate."""


def steps_to(record: TrialRecord, target: Target) -> float | None:
    """Steps to the target, None where the run did not meet it."""
    crossing = record.crossing(target)
    return None if crossing is None else crossing.middle


def is_whole(record: TrialRecord, steps: int) -> bool:
    """Whether it came to its end after so many steps; a recording ends at an evaluation before."""
    return record.has_ended_itself or record.steps >= _NEARLY_WHOLE * steps


def usual_interval_samples(engine: Engine, batch_size: int, *, whole_samples: float) -> int:
    """How far apart evaluations are to lie, by what one takes; 0: that is not known yet."""
    apart = _TRAINED_BETWEEN * engine.evaluation_steps(batch_size) * batch_size
    return math.floor(min(apart, _MOST_OF_A_TRAINING * whole_samples))


def why_it_failed(record: TrialRecord) -> Reason:
    """Why a run ended badly."""
    if record.reason is not None:
        return record.reason
    return Reason.of("ended_as", status=str(record.status))


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


@dataclass(kw_only=True)
class RunLog:
    """Asks the engine, keeps what came back, and knows what may still be spent."""

    question: Question  # what was asked
    engine: Engine  # who trains
    # The target of every run; None: there is none yet, or the objective has none.
    until: Target | None
    # What came back, by batch size, rate and seed.
    records: dict[Key, TrialRecord] = field(default_factory=dict)
    # What each of `records` was first run for.
    purposes: dict[Key, Purpose] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)  # what was done, and why
    # Steps to the target by batch size, at the rate found for it.
    tuned_steps: dict[int, float] = field(default_factory=dict)
    reserved_s: float = 0.0  # of the budget, for what comes last
    # Batch sizes that are no longer compared, with the reason.
    ruled_out: dict[int, Reason] = field(default_factory=dict)
    watcher: RunWatcher | None = None  # looks on; nothing is decided by it
    seeds: SeedPlan = field(init=False)
    end: EndLevel | None = None  # what the reference ends with; None: not seen, or not in question
    whole_epochs: float | None = None  # passes of the trainings compared; None: not decided yet
    # Which runs were asked for to their end, whether or not they meet the target before.
    asked_whole: set[Key] = field(default_factory=set)
    _interval_samples: int = 0
    _keys: dict[Trial, Key] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seeds = SeedPlan.of(self.engine.n_seeds)

    def note(self, did: Reason, why: Reason) -> None:
        """Write down what is done next, and why."""
        self.steps.append(Step(spent_s=self.engine.spent_s(), did=did, why=why))
        if self.watcher is not None:
            self.watcher.answered(self)

    def left_s(self) -> float:
        """What the budget leaves after what is reserved."""
        return self.question.budget_s - self.engine.spent_s() - self.reserved_s

    def request(
        self,
        cell: CellKey,
        seed: int,
        *,
        steps: int,
        whole: bool = False,
        watched_from_samples: int | None = None,
    ) -> RunRequest:
        """A run of at most `steps` steps until the study's target, or to its end if `whole`."""
        batch_size, learning_rate = cell
        trial = self.engine.trial(batch_size=batch_size, learning_rate=learning_rate, seed=seed)
        steps = max(1, min(steps, self.longest_steps(batch_size)))
        if whole:
            self.asked_whole.add((*cell, seed))
        # An engine with certain rates has its own way to write one down.
        self._keys[trial] = *cell, seed
        return RunRequest(
            trial=trial,
            length=RunLength(
                steps=steps,
                until=None if whole else self.until,
                watched_from_samples=self.watched_from_samples(batch_size)
                if watched_from_samples is None
                else watched_from_samples,
                interval_samples=self.interval_samples,
                # Decisions are made on validation data; the ends of whole trainings are shown.
                all_splits="at_end" if whole else "never",
            ),
        )

    @property
    def lattice(self) -> Lattice:
        """The places that can be trained at."""
        return Lattice(self.question.reference.learning_rate, self.engine)

    def key_of(self, request: RunRequest) -> Key:
        """Batch size, learning rate and seed of a request, as they were asked for."""
        return self._keys[request.trial]

    def expected_s(self, requests: Sequence[RunRequest]) -> float:
        """About when the last of the runs ends, side by side where the engine can."""
        costs = [
            self.run_s(
                request.trial.batch_size,
                self._new_steps(request),
                all_splits=request.length.all_splits,
            )
            for request in requests
        ]
        free_s = [0.0] * self.engine.n_workers
        for cost_s in sorted(costs, reverse=True):  # the longest begins first
            heapq.heapreplace(free_s, free_s[0] + cost_s)
        return max(free_s)

    def run_s(self, batch_size: int, steps: int, *, all_splits: AllSplits = "at_end") -> float:
        """About what one run of so many new steps costs of the budget."""
        length = RunLength(
            steps=steps,
            watched_from_samples=self.watched_from_samples(batch_size),
            interval_samples=self.interval_samples,
            all_splits=all_splits,
        )
        return self.engine.expected_s(batch_size, length)

    def watched_from_samples(self, batch_size: int) -> int:
        """So many samples pass before a run may meet the target: from there on it is watched.

        A larger batch size needs no fewer examples than a smaller one and no more steps: each
        tuned batch size bounds all others so. A run that is faster all the same has been looked
        at less often, and its crossing is the wider.
        """
        bounds = [steps * min(size, batch_size) for size, steps in self.tuned_steps.items()]
        return math.floor(_WATCHED_FROM * max(bounds, default=0.0))

    @property
    def interval_samples(self) -> int:
        """Evaluations are no nearer, but for a run's last; the same from the first one timed on."""
        if not self._interval_samples:
            asked, size = self.question, self.question.reference.batch_size
            whole = (asked.longest_epochs or _EPOCHS_UNPLANNED) * asked.n_train
            self._interval_samples = usual_interval_samples(self.engine, size, whole_samples=whole)
        return self._interval_samples

    def _new_steps(self, request: RunRequest) -> int:
        """Steps that are not in the records yet; none where the run has met its target."""
        known = self.records.get(self.key_of(request))
        if known is None:
            return request.last_step
        until = request.length.until
        crossing = None if until is None else known.crossing(until)
        is_met = crossing is not None and crossing.held
        if is_met or known.has_ended_itself or known.steps >= request.last_step:
            return 0
        return request.last_step - (known.steps if self.engine.capabilities.resumes else 0)

    def plan(self, batch_size: int) -> BatchPlan:
        """The examples of every step, as the engine's trials have it."""
        # What has certain rates need not have the reference's at this batch size.
        rates = self.engine.learning_rates(batch_size)
        rate = self.question.reference.learning_rate if rates is None else rates[0]
        trial = self.engine.trial(batch_size=batch_size, learning_rate=rate, seed=0)
        return trial.plan

    def longest_steps(self, batch_size: int) -> int:
        """The steps of the longest run that the question allows."""
        if self.question.longest_epochs is None:
            return MOST_STEPS
        return max(1, self.plan(batch_size).steps_in(self.question.longest_epochs))

    def run(self, requests: Sequence[RunRequest], purpose: Purpose) -> list[TrialRecord]:
        """Run them and wait for the last.

        A record is kept under its cell and seed; the purpose is the one it was first run for.

        The whole records, in the order of the requests.
        """
        self._tell(requests, purpose)
        records = run_all(self.engine, requests)
        for request, record in zip(requests, records, strict=True):
            if not record.evaluations and not record.has_failed:
                continue  # its turn never came: nothing is known of it
            key = self.key_of(request)
            self.records[key] = record
            self.purposes.setdefault(key, purpose)
        if self.watcher is not None:
            self.watcher.answered(self)
        return records

    def _tell(self, requests: Sequence[RunRequest], purpose: Purpose) -> None:
        if not requests or self.watcher is None:
            return
        keys = [self.key_of(request) for request in requests]
        sizes, rates, seeds = (tuple(sorted(set(part))) for part in zip(*keys, strict=True))
        why = why_asked(purpose, self.steps[-1] if self.steps else None)
        runs = RunsAsked(batch_sizes=sizes, learning_rates=rates, seeds=seeds, why=why)
        self.watcher.asked(runs, purpose)

    def of_cell(self, cell: CellKey, *purposes: Purpose) -> dict[int, TrialRecord]:
        """The records of a batch size and rate with one of the purposes, by seed."""
        return {
            key[2]: record
            for key, record in self.records.items()
            if key[:2] == cell and self.purposes[key] in purposes
        }

    def tried(self) -> tuple[RateTried, ...]:
        """Return every run in the order asked."""
        return tuple(self._tried(key, record) for key, record in self.records.items())

    def _tried(self, key: Key, record: TrialRecord) -> RateTried:
        crossing = None if self.until is None else record.crossing(self.until)
        return RateTried(
            batch_size=key[0],
            learning_rate=key[1],
            seed=key[2],
            purpose=self.purposes[key],
            status=str(record.status),
            steps=record.steps,
            steps_to_target=None if crossing is None else crossing.middle,
            after_steps=None if crossing is None else crossing.after_step,
            best_value=self.question.best_value(record),
        )

    # ---- what the runs say

    def learning_cost(self, record: TrialRecord) -> float | None:
        """Steps to the target, or for quality the shortfall; None: missed, or it ended badly."""
        if self.until is not None:
            # 0: met untrained, so it measures nothing.
            return steps_to(record, self.until) or None
        return self.question.shortfall(record) if record.ended_well else None

    def rounding_sd(self, cell: CellKey, seeds: Iterable[int]) -> float:
        """How far the log steps of a cell are off because runs are evaluated now and then.

        The target is met anywhere between two evaluations: uniform on that interval of the
        logarithm. Seeds that agree better than that fall between the same two, so more of them
        average nothing out. The root of the mean variance over the runs that met the target, or 0.
        """
        if self.until is None:
            return 0.0
        records = (self.records.get((*cell, seed)) for seed in seeds)
        crossings = [c for r in records if r is not None and (c := r.crossing(self.until))]
        widths = [math.log(c.step / c.least) for c in crossings if c.step > 0]
        if not widths:
            return 0.0
        return math.sqrt(sum(width**2 for width in widths) / len(widths) / 12)

    def scatter_of_fresh_seeds(self, *, purposes_apart: bool = False) -> tuple[float, int]:
        """Scatter between seeds, pooled over every cell that fresh seeds ran.

        With `purposes_apart` valuations and verification of a cell are two groups.
        """
        groups: dict[Hashable, list[float]] = {}
        for key, record in self.records.items():
            purpose, cost = self.purposes[key], self.learning_cost(record)
            if purpose in ("value", "verify") and cost is not None:
                group = (key[:2], purpose) if purposes_apart else key[:2]
                groups.setdefault(group, []).append(math.log(cost))
        return pooled_sd(groups.values())


Place = tuple[int, int]
"""Batch size, and octaves above the reference rate."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The places that an engine can train at."""

    reference_rate: float  # octave 0
    engine: Engine  # some have certain rates only

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
