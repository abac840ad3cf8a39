"""RunLog: every training run requested from an engine, its record, and the budget left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Protocol

from batchlab.advice.advice import Purpose, Question, Step
from batchlab.records.batch_plan import BatchPlan
from batchlab.records.estimate import Reason
from batchlab.records.run import AllSplits, RunLength, RunRequest
from batchlab.records.trial import Crossing, Target, Trial, TrialRecord
from batchlab.runs.contract import Engine


class RunWatcher(Protocol):
    """An observer of the runs that an advice requests."""

    def asked(self, trials: Sequence[Trial], purpose: Purpose) -> None:
        """Receive the trials whose runs are requested now."""
        ...

    def best(self, batch_size: int, learning_rate: float) -> None:
        """Receive the best configuration so far, after each run."""
        ...


HORIZONS: Final = (0.5, 1.5, 2.0)
"""Schedule lengths to try, as multiples of the reference configuration's schedule length."""
NEARLY_WHOLE: Final = 0.95
"""A run counts as whole from this fraction of its steps on; some recordings end 5 % early."""
MOST_STEPS = 10**9  # The most steps of a training that has no other limit.
# At the reference batch size, the training between two evaluations takes this many times as long as
# an evaluation. So evaluations take at most a third of a run. Factors of three and five led to
# fewer right recommendations (benchmarks/regret_whole.py).
_TRAINED_BETWEEN = 2.0
# However long an evaluation takes, the next evaluation comes after at most this fraction of a whole
# training, or of 20 epochs if no end is planned.
_MOST_OF_A_TRAINING = 0.05
_EPOCHS_UNPLANNED = 20


class CellKey(NamedTuple):
    """The settings that identify a configuration, as requested from the engine."""

    batch_size: int
    learning_rate: float
    horizon: float = 1.0  # the schedule length / that of the reference configuration


RunKey = tuple[CellKey, int]
"""A configuration and a seed, which identify a run."""


def is_whole(record: TrialRecord, steps: int) -> bool:
    """Return whether a run ended by itself or has at least 95 % of `steps` steps."""
    return record.has_ended_itself or record.steps >= NEARLY_WHOLE * steps


def usual_interval_samples(engine: Engine, batch_size: int, *, whole_samples: float) -> int:
    """Return the samples between two evaluations; 0 until the cost of an evaluation is known."""
    apart = _TRAINED_BETWEEN * engine.evaluation_steps(batch_size) * batch_size
    return math.floor(min(apart, _MOST_OF_A_TRAINING * whole_samples))


def why_it_failed(record: TrialRecord) -> Reason:
    """Return the reason of a failed run, or its status if no reason was recorded."""
    if record.reason is not None:
        return record.reason
    return Reason.as_written(str(record.status))


@dataclass(kw_only=True)
class RunLog:
    """The runs requested from an engine, their records, and the budget that is left."""

    question: Question  # The question to answer.
    engine: Engine  # The engine that makes the runs.
    # The target at which runs may stop; None before it is set, and if the objective is quality.
    until: Target | None
    # The record of each run, by configuration and seed.
    records: dict[RunKey, TrialRecord] = field(default_factory=dict)
    # The purpose of each run when it was first requested.
    purposes: dict[RunKey, Purpose] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)  # Every action with its reason.
    reserved_s: float = 0.0  # Seconds kept for a whole training of the best configuration.
    # The batch sizes that are no longer compared, each with the reason.
    ruled_out: dict[int, Reason] = field(default_factory=dict)
    watcher: RunWatcher | None = None  # An observer; no decision depends on it.
    whole_epochs: float | None = None  # The epochs of a whole training; None before the pilot.
    # True if only whole trainings are compared, because of a learning-rate schedule. In the middle
    # of a training the rate is still high, so its values don't show how a shorter one would end.
    whole_only: bool = False
    # The reason why the reference configuration hardly learns; None if it learns or did not run.
    hardly_learns: Reason | None = None
    _interval_samples: int = 0
    _keys: dict[Trial, RunKey] = field(default_factory=dict)

    def note(self, did: Reason, why: Reason) -> None:
        """Log an action of the study and its reason."""
        self.steps.append(Step(spent_s=self.engine.spent_s(), did=did, why=why))

    def left_s(self) -> float:
        """Return the seconds of the budget that are neither spent nor reserved."""
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
        """Return a request for a run of `steps` steps that stops at the target unless `whole`."""
        size, rate, horizon = cell
        trial = self.engine.trial(batch_size=size, learning_rate=rate, seed=seed, horizon=horizon)
        # The engine may round the rate to one that it offers, so store the requested rate.
        self._keys[trial] = cell, seed
        length = RunLength(
            steps=steps,
            watched_from_samples=watched_from_samples,
            interval_samples=self.interval_samples,
            all_splits="at_end",
        )
        if not whole:
            # Decisions use validation data, so evaluate other splits only in whole trainings.
            length = replace(length, until=self.until, all_splits="never")
        return RunRequest(trial=trial, length=length)

    def key_of(self, request: RunRequest) -> RunKey:
        """Return the configuration (with the rate before rounding) and seed of a request."""
        return self._keys[request.trial]

    def expected_s(self, request: RunRequest) -> float:
        """Return the seconds that a run is expected to cost; steps that ran before cost nothing."""
        size, steps = request.trial.batch_size, self._new_steps(request)
        return self.run_s(size, steps, all_splits=request.length.all_splits)

    def run_s(self, batch_size: int, steps: int, *, all_splits: AllSplits = "at_end") -> float:
        """Return the seconds that one run of `steps` new steps is expected to cost."""
        length = RunLength(
            steps=steps,
            interval_samples=self.interval_samples,
            all_splits=all_splits,
        )
        return self.engine.expected_s(batch_size, length)

    def affordable_steps(self, batch_size: int, seconds: float) -> int:
        """Return how many steps of one run fit into `seconds`, to within 1 %; at least 1."""
        # Evaluations are more frequent early, so cost is not proportional to steps: use bisection.
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
        """The fewest samples trained between two evaluations; 0 until an evaluation was timed."""
        if not self._interval_samples:
            question, size = self.question, self.question.reference.batch_size
            whole = (question.planned_epochs or _EPOCHS_UNPLANNED) * question.n_train
            self._interval_samples = usual_interval_samples(self.engine, size, whole_samples=whole)
        return self._interval_samples

    def _new_steps(self, request: RunRequest) -> int:
        """Return the requested steps not trained yet; 0 if the run reached its target or end."""
        record = self.records.get(self.key_of(request))
        if record is None:
            return max(0, request.last_step - self.shared_steps(self.key_of(request)))
        crossing = record.crossing(request.length.until)
        is_met = crossing is not None and crossing.held
        if is_met or record.has_ended_itself or record.steps >= request.last_step:
            return 0
        if not self.engine.resumes:
            return request.last_step
        return request.last_step - record.steps

    def shared_steps(self, key: RunKey) -> int:
        """Return the steps that a training can copy from a recorded training of another length.

        If a schedule is constant at first, trainings that differ only in length are identical until
        the rate of the shorter training begins to fall.
        """
        until, planned = self.question.constant_until, self.question.planned_epochs
        if not until or planned is None or not self.engine.resumes:
            return 0
        if key in self.records:
            return 0  # no steps are copied: this training resumes from its own checkpoint
        (cell, seed), most = key, 0
        for (other, its_seed), record in self.records.items():
            if its_seed == seed and other._replace(horizon=cell.horizon) == cell:
                shorter = min(cell.horizon, other.horizon)
                shared = math.floor(until * self.steps_in(cell.batch_size, shorter * planned))
                if shared <= record.steps:
                    most = max(most, shared)
        return most

    def plan(self, batch_size: int) -> BatchPlan:
        """Return the plan of a training at this batch size: how many examples each step takes."""
        # An engine with fixed rates may lack the reference rate at this size: use the first.
        rates = self.engine.learning_rates(batch_size) or [self.question.reference.learning_rate]
        trial = self.engine.trial(batch_size=batch_size, learning_rate=rates[0], seed=0)
        return trial.plan

    @property
    def has_schedule(self) -> bool:
        """Whether a learning-rate schedule spans each training, so rates depend on its length."""
        cell = self.question.reference
        trial = self.engine.trial(
            batch_size=cell.batch_size, learning_rate=cell.learning_rate, seed=0
        )
        return trial.horizon_steps is not None

    def planned_steps(self, batch_size: int) -> int:
        """Return the planned or the allowed steps of a training, whichever are fewer.

        Return `MOST_STEPS` if neither is known.
        """
        limits = self.question.planned_epochs, self.question.at_most_epochs
        epochs = min((limit for limit in limits if limit is not None), default=None)
        if epochs is None:
            return MOST_STEPS
        return self.steps_in(batch_size, epochs)

    def steps_in(self, batch_size: int, epochs: float) -> int:
        """Return the steps of a training of `epochs` epochs, at least one."""
        return max(1, self.plan(batch_size).steps_in(epochs))

    def run(self, requests: Sequence[RunRequest], purpose: Purpose) -> list[TrialRecord]:
        """Make the runs, wait for all, and return their records in the order of the requests."""
        self.submit(requests, purpose)
        records = dict(self.next_finished() for _ in requests)
        return [records[request] for request in requests]

    def submit(self, requests: Sequence[RunRequest], purpose: Purpose) -> None:
        """Start runs without waiting; `next_finished` returns the record of each."""
        if self.watcher is not None:
            self.watcher.asked([request.trial for request in requests], purpose)
        for request in requests:
            self.purposes.setdefault(self.key_of(request), purpose)
            self.engine.submit(request)

    def next_finished(self) -> tuple[RunRequest, TrialRecord]:
        """Wait for the next submitted run to end, store its record, return request and record.

        A run that never started is not stored.
        """
        request, record = self.engine.next_finished()
        if record.evaluations or record.has_failed:
            self.records[self.key_of(request)] = record
        return request, record

    def crossing(self, record: TrialRecord) -> Crossing | None:
        """Return where a run reached the target; None if never, or if only final values count."""
        if self.until is None or self.whole_only:
            return None
        return record.crossing(self.until)
