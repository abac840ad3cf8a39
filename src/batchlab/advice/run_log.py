"""RunLog: every training run the advice asked for, what came back, and what the budget allows."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from batchlab.advice.advice import Purpose, Question, RateTried, Step
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
    "search": Reason.of("asked_to_compare"),
    "whole": Reason.of("asked_to_train_whole"),
}


# Recorded trainings end at an evaluation, and these lie up to 5 % apart: so much of one is whole.
_NEARLY_WHOLE = 0.95
MOST_STEPS = 10**9
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
    reserved_s: float = 0.0  # of the budget, for what comes last
    # Batch sizes that are no longer compared, with the reason.
    ruled_out: dict[int, Reason] = field(default_factory=dict)
    watcher: RunWatcher | None = None  # looks on; nothing is decided by it
    whole_epochs: float | None = None  # passes of the trainings compared; None: not decided yet
    _interval_samples: int = 0
    _keys: dict[Trial, Key] = field(default_factory=dict)
    _purpose_of: dict[RunRequest, Purpose] = field(default_factory=dict)

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
        watched_from_samples: int = 0,
    ) -> RunRequest:
        """A run of at most `steps` steps until the study's target, or to its end if `whole`."""
        batch_size, learning_rate = cell
        trial = self.engine.trial(batch_size=batch_size, learning_rate=learning_rate, seed=seed)
        steps = max(1, min(steps, self.longest_steps(batch_size)))
        # An engine with certain rates has its own way to write one down.
        self._keys[trial] = *cell, seed
        return RunRequest(
            trial=trial,
            length=RunLength(
                steps=steps,
                until=None if whole else self.until,
                watched_from_samples=watched_from_samples,
                interval_samples=self.interval_samples,
                # Decisions are made on validation data; the ends of whole trainings are shown.
                all_splits="at_end" if whole else "never",
            ),
        )

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
            interval_samples=self.interval_samples,
            all_splits=all_splits,
        )
        return self.engine.expected_s(batch_size, length)

    def affordable_steps(self, batch_size: int, seconds: float) -> int:
        """Return the steps of one run that so many seconds pay for, to a hundredth; at least 1."""
        # Not in proportion: evaluations lie dense at first. Doubling and halving find it.
        low, high = 1, 2
        while high < MOST_STEPS and self.run_s(batch_size, high) <= seconds:
            low, high = high, 2 * high
        while high - low > max(1, low // 100):
            middle = (low + high) // 2
            if self.run_s(batch_size, middle) <= seconds:
                low = middle
            else:
                high = middle
        return low

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
            self._keep(request, record, purpose)
        if self.watcher is not None:
            self.watcher.answered(self)
        return records

    def submit(self, request: RunRequest, purpose: Purpose) -> None:
        """Ask for a run that comes back by `next_finished`."""
        self._tell([request], purpose)
        self._purpose_of[request] = purpose
        self.engine.submit(request)

    def next_finished(self) -> tuple[RunRequest, TrialRecord]:
        """Wait for the next of the submitted runs, and keep what came back."""
        end = self.engine.next_finished()
        self._keep(end.request, end.record, self._purpose_of.pop(end.request))
        if self.watcher is not None:
            self.watcher.answered(self)
        return end.request, end.record

    def _keep(self, request: RunRequest, record: TrialRecord, purpose: Purpose) -> None:
        if not record.evaluations and not record.has_failed:
            return  # its turn never came: nothing is known of it
        key = self.key_of(request)
        self.records[key] = record
        self.purposes.setdefault(key, purpose)

    def _tell(self, requests: Sequence[RunRequest], purpose: Purpose) -> None:
        if not requests or self.watcher is None:
            return
        keys = [self.key_of(request) for request in requests]
        sizes, rates, seeds = (tuple(sorted(set(part))) for part in zip(*keys, strict=True))
        why = _OF_PURPOSE[purpose]
        runs = RunsAsked(batch_sizes=sizes, learning_rates=rates, seeds=seeds, why=why)
        self.watcher.asked(runs, purpose)

    def tried(self) -> tuple[RateTried, ...]:
        """Return every run in the order asked, read against the target."""
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
