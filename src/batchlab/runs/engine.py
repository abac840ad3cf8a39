"""StoredEngine: base of engines with a store, with queue, budget and records of their runs."""

from __future__ import annotations

import heapq
import math
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import count

from batchlab.plans.cadence import pauses
from batchlab.records.estimate import Reason
from batchlab.records.run import OUT_OF_TIME, Outcome, RunLength, RunRequest
from batchlab.records.trial import Status, Trial, TrialRecord
from batchlab.runs.contract import CostModel, RunPlan
from batchlab.store.store import Store
from batchlab.words.catalogue import number_text
from batchlab.words.reasons import reason_text

# Seconds per step assumed at batch sizes whose steps were not timed; used only to order runs.
_UNKNOWN_STEP_S = 1.0
# Evaluations may be up to twice the planned interval apart. Stored runs with up to four times the
# interval are accepted too: a session that timed evaluations differently may have planned the runs.
_AS_GOOD = 4.0
# Statuses of runs that ended for another reason than the budget, and that may be resumed.
_BAD_ENDS = (Status.ERROR, Status.KILLED)
_NUMBERS = re.compile(r"\b(?:\d[\d.e+-]*|nan|inf)")
# Seconds between checks of the clock, and of trials that other processes have claimed.
_LOOK_EVERY_S = 0.25
_TELLING_FRACTION = 0.02  # estimate the time left once this fraction of all runs is done

Ran = tuple[int, float]
"""The step at which a finished run started, and the seconds that it took."""


class StoredEngine:
    """Base of engines that store their runs, with queue, budget and progress; subclasses train.

    Runs whose records are stored are returned before any other run starts. Runs are started, and
    their messages received, only within `next_finished`.
    """

    name: str
    resumes: bool
    keeps_cadence: bool  # whether runs are evaluated when `batchlab.plans.cadence` plans it
    n_seeds: int | None = None  # any seed is accepted
    _takes_rate = True  # whether a learning rate can be set; some scripts have no option for it
    # A run that has to end gets this many seconds before it is killed, so that it can save its
    # progress, but at most this fraction of the budget.
    _longest_grace_s = 5.0
    _grace_fraction = 0.1

    def __init__(
        self, store: Store, plan: RunPlan, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare to return stored runs from `store`, and to train other runs as `plan` says."""
        self.cost_model = CostModel()
        self._store = store
        self._plan = plan
        self._listener = plan.listener
        self._clock = clock
        # For progress messages: by trial, the fraction done and the seconds of the whole run.
        self._fractions: dict[str, tuple[float, float]] = {}
        self._expected_s = self._done_s = 0.0
        self._began_s = time.monotonic()
        self._kinds_said: set[str] = set()  # earlier warnings without their numbers
        self._waiting: list[tuple[float, int, RunRequest]] = []  # a heap, next run first
        self._numbers = count()
        self._ended: deque[tuple[RunRequest, Ran | None]] = deque()  # `Ran` if trained now

    @property
    def n_workers(self) -> int:
        """The number of runs that the engine trains at a time."""
        return 1

    def learning_rates(self, batch_size: int, horizon: float = 1.0) -> Sequence[float] | None:
        """Return None, because this engine accepts any learning rate."""
        return None

    def trial(
        self, *, batch_size: int, learning_rate: float, seed: int, horizon: float = 1.0
    ) -> Trial:
        """Return a trial with the given values, and with all other settings from the plan."""
        trial = replace(
            self._plan.trial,
            batch_size=batch_size,
            micro_batch_size=self._plan.micro_batch_sizes.get(batch_size, batch_size),
            learning_rate=learning_rate,
            seed=seed,
        )
        if batch_size != self._plan.trial.batch_size:
            trial = replace(trial, scaling_rule=self._plan.settings_rule)
        if self._plan.horizon_epochs is None:
            return trial
        epochs = horizon * self._plan.horizon_epochs
        return replace(trial, horizon_steps=trial.plan.steps_in(epochs))

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        """Estimate the seconds of a run from step 0, including its start and its evaluations.

        Other runs are assumed to train at the same time; the times of earlier runs are used.
        """
        trial = replace(self._plan.trial, batch_size=batch_size)
        return self.cost_model.expected_s(trial, length, step_s=self._step_s(batch_size))

    def submit(self, request: RunRequest) -> None:
        """Queue a run; if the store has all of the run already, nothing is trained.

        Raises:
            StoreError: the store cannot be used.
        """
        record = self._store.record(request.trial.trial_id)
        if self._is_answered(record, request.length):
            self._ended.append((request, None))
            return
        priority = self._expect(request, record)
        # Side by side, the longest run starts first, so that workers are not idle at the end.
        if self.n_workers == 1:
            priority = 0.0
        self._wait(request, first=priority)

    def next_finished(self) -> tuple[RunRequest, TrialRecord]:
        """Return the next ended run: first runs found in the store, then trained runs as they end.

        Raises:
            StoreError: the store cannot be used.
            TrialError, EditedError: no further run of this study can be trained.
            KeyboardInterrupt: after everything has been stored.
        """
        try:
            self._run_until_one_has_ended()
        except BaseException:
            self.cancel()
            raise
        request, ran = self._ended.popleft()
        if ran is not None:
            self._learn(request.trial, from_step=ran[0], wall_s=ran[1])
        elif self.keeps_cadence and self.cost_model == CostModel():
            # Learn from a stored run, to plan evaluations as far apart as in the last session.
            self._learn(request.trial, from_step=0, wall_s=None)
        return request, self._answer(request)

    def cancel(self) -> None:
        """Forget all runs that are not returned yet; subclasses first end the started runs."""
        self._waiting.clear()
        self._ended.clear()

    def spent_s(self) -> float:
        """Return the seconds of the budget spent: the time since the plan's `started_s`."""
        return self._clock() - self._plan.started_s

    def _wait(self, request: RunRequest, *, first: float) -> None:
        """Queue a run; the run with the largest `first` starts first."""
        heapq.heappush(self._waiting, (-first, next(self._numbers), request))

    def _left_s(self) -> float:
        budget_s = self._plan.budget_s
        if budget_s is None:
            return math.inf
        return budget_s - self.spent_s()

    @property
    def _grace_s(self) -> float:
        budget_s = self._plan.budget_s
        if budget_s is None:
            return self._longest_grace_s
        return min(self._longest_grace_s, self._grace_fraction * budget_s)

    def _is_out_of_time(self) -> bool:
        """Return whether no run may start any more, and started runs have to end."""
        return self._left_s() <= self._grace_s

    def _step_s(self, batch_size: int) -> float:
        return self._plan.step_s.get(batch_size, _UNKNOWN_STEP_S)

    def _mean_step_s(self, trial: Trial, steps: int) -> float:
        """Return the mean seconds of the first `steps` steps, if no other run trains meanwhile."""
        steps = max(1, steps)
        step_s = {size: self._step_s(size) for size in trial.batch_sizes}
        return trial.plan.train_s_at(steps, step_s) / steps

    # ---- for subclasses

    def _start(self, request: RunRequest, claim: ExitStack) -> None:
        """Start a run; on return, the trial's claim ends unless `claim.pop_all()` was called."""
        raise NotImplementedError

    @property
    def _n_running(self) -> int:
        """The number of runs that have started and not ended."""
        raise NotImplementedError

    def _listen(self, timeout_s: float) -> None:
        """Receive the messages of runs, for at most `timeout_s` seconds."""

    def _stop(self, status: Status | None, reason: Reason | None) -> None:
        """End queued runs; subclasses first end started runs, with `status` and `reason`."""
        for *_, request in sorted(self._waiting):
            self._ended.append((request, None))
        self._waiting.clear()

    # ---- the loop

    @property
    def _is_idle(self) -> bool:
        return not (self._waiting or self._n_running or self._ended)

    def _run_until_one_has_ended(self) -> None:
        while not self._ended:
            if self._is_out_of_time():
                self._stop(Status.TIMEOUT, OUT_OF_TIME)
                return
            all_claimed_elsewhere = self._start_waiting()
            if self._ended:
                return
            if not self._n_running and all_claimed_elsewhere:
                time.sleep(_LOOK_EVERY_S)
            self._listen(_LOOK_EVERY_S)

    def _start_waiting(self) -> bool:
        """Start queued runs; return whether other processes have claimed all runs still queued."""
        claimed_elsewhere = []
        while self._waiting and self._n_running < self.n_workers:
            entry = heapq.heappop(self._waiting)
            request = entry[-1]
            with ExitStack() as claim:
                if claim.enter_context(self._store.claim(request.trial.trial_id)):
                    self._start(request, claim)
                else:
                    claimed_elsewhere.append(entry)
        are_all = bool(claimed_elsewhere) and not self._waiting
        for entry in claimed_elsewhere:
            heapq.heappush(self._waiting, entry)
        return are_all

    # ---- records

    def _is_answered(self, record: TrialRecord | None, length: RunLength) -> bool:
        return is_answered(record, length, keeps_cadence=self.keeps_cadence)

    def _answer(self, request: RunRequest) -> TrialRecord:
        """Return a request's stored record, with its status for the requested length and target."""
        record = self._store.record(request.trial.trial_id)
        if record is None:
            return request.never_begun(self.name)
        if record.status in _BAD_ENDS or self._is_answered(record, request.length):
            return as_asked(record, request.length)
        until = request.length.until
        return replace(record, status=Status.TIMEOUT, reason=OUT_OF_TIME, target=until)

    def _warn_of_bad_end(self, trial: Trial, outcome: Outcome) -> None:
        if outcome.status is None or outcome.status.ended_well or outcome.reason == OUT_OF_TIME:
            return
        message, reason = f"{self._named(trial)}: {outcome.status}", reason_text(outcome.reason)
        if self._is_new(reason):
            message += f" ({reason})"
        self._listener.warning(message)

    def _is_new(self, text: str) -> bool:
        """Return whether no earlier warning equals `text` if numbers are ignored; store `text`."""
        kind = _NUMBERS.sub("#", text)
        is_new = kind not in self._kinds_said
        self._kinds_said.add(kind)
        return is_new

    def _learn(self, trial: Trial, *, from_step: int, wall_s: float | None) -> None:
        """Update the cost model with a run's times; `wall_s` is None if another session ran it."""
        record = self._store.record(trial.trial_id)
        if record is not None:
            self.cost_model = self.cost_model.with_run(
                record,
                from_step=from_step,
                wall_s=wall_s,
                step_s=self._mean_step_s(trial, record.steps),
            )

    # ---- progress

    def _expect(self, request: RunRequest, record: TrialRecord | None) -> float:
        """Add a run to the progress estimate; return the expected seconds of its missing steps."""
        trial, steps, done = request.trial, request.last_step, 0
        if record is not None and self.resumes:
            done = min(steps, record.steps)
        # How long a script trains to its own end is unknown, so count each run as one second.
        expected_s = 1.0
        if not request.length.to_own_end:
            length = replace(request.length, epochs=None, steps=steps - done)
            step_s = self._mean_step_s(trial, steps)
            expected_s = self.cost_model.expected_s(trial, length, step_s=step_s)
        if self._is_idle:  # all expected runs have ended, so start a new estimate
            self._expected_s = self._done_s = 0.0
            self._began_s = time.monotonic()
        self._expected_s += expected_s
        fraction = done / (steps + 1)  # below 1: a run without missing steps is evaluated again
        self._fractions[trial.trial_id] = fraction, expected_s / (1 - fraction)
        return expected_s

    def _tell(self, request: RunRequest, fraction: float) -> None:
        """Report that a fraction of a run's steps is done, and the seconds left of all runs."""
        before, whole_s = self._fractions[request.trial.trial_id]
        self._fractions[request.trial.trial_id] = fraction, whole_s
        self._done_s += whole_s * (fraction - before)
        done_fraction, left_s = self._done_s / (self._expected_s or 1.0), None
        if done_fraction > _TELLING_FRACTION:
            left_s = (time.monotonic() - self._began_s) * max(0.0, 1 / done_fraction - 1)
        text = self._named(request.trial)
        if not request.length.to_own_end:
            text += f": {fraction:.0%}"
        self._listener.progress(done_fraction=done_fraction, left_s=left_s, text=text)

    def _named(self, trial: Trial) -> str:
        """Return a description of a trial for messages."""
        size = " to ".join(map(str, dict.fromkeys((trial.batch_size, trial.largest_batch_size))))
        if self._takes_rate:
            size += f", learning rate {number_text(trial.learning_rate, 'rate')}"
        return f"batch size {size}, seed {trial.seed}"


def as_asked(record: TrialRecord, length: RunLength) -> TrialRecord:
    """Return a stored record with the status that it has for the requested length and target.

    The stored status may be for another target or a longer training.
    """
    status = record.status
    if record.ended_well:
        status = Status.TARGET_REACHED if _has_met(record, length) else Status.OK
    return replace(record, target=length.until, status=status)


def is_answered(record: TrialRecord | None, length: RunLength, *, keeps_cadence: bool) -> bool:
    """Return whether a stored run is long enough, has reached the target or cannot continue.

    If the engine evaluates at requested steps (`keeps_cadence`), return False for a run without
    the requested evaluations, so that the run is trained again.
    """
    if record is None or record.status is None or record.status.may_go_on:
        return False
    if not record.ended_well:
        return True
    if keeps_cadence and not (was_evaluated(record, length) and _has_end(record, length)):
        return False
    is_whole = _trained_steps(record) >= length.last_step(record.trial)
    return record.has_ended_itself or is_whole or _has_met(record, length)


def _has_met(record: TrialRecord, length: RunLength) -> bool:
    crossing = record.crossing(length.until)
    return crossing is not None and crossing.held


def _trained_steps(record: TrialRecord) -> int:
    """Return a training's steps, including steps that a script did after its last evaluation."""
    steps = record.steps
    for note in record.notes:
        if note.code == "metric_reported_before_end":
            asked_steps = note.named["asked"]
            if isinstance(asked_steps, int):
                steps = max(steps, asked_steps)
    return steps


def was_evaluated(record: TrialRecord, length: RunLength) -> bool:
    """Return whether a run was evaluated as often, and on the same splits, as requested.

    A run that was made for an advice is evaluated rarely until it can reach the target for which it
    was trained, and on train and test data only at its end or never. So the run may have reached an
    easier target between two distant evaluations.
    """
    plan = record.trial.plan
    if length.all_splits == "on_the_way":
        epoch_ends = {0}
        for pause in pauses(plan, last_step=record.steps):
            if pause.all_splits:
                epoch_ends.add(pause.step)
        for evaluation in record.evaluations[:-1]:
            if evaluation.step in epoch_ends and not evaluation.has_all_splits:
                return False
    crossing = record.crossing(length.until)
    if crossing is None:
        return True
    seen_samples = crossing.samples - plan.samples_at(crossing.after_step)
    if seen_samples <= _AS_GOOD * length.interval_samples:
        return True
    # Extra evaluations, as at epoch ends, are accepted; a missing requested evaluation is refused.
    requested = pauses(
        plan,
        last_step=crossing.step,
        after_step=crossing.after_step,
        watched_from_samples=length.watched_from_samples,
        interval_samples=length.interval_samples,
    )
    return next(requested).step >= crossing.step


def _has_end(record: TrialRecord, length: RunLength) -> bool:
    """Return whether the last evaluation has the requested splits, or the run went further."""
    is_longer = record.steps > length.last_step(record.trial)
    return length.all_splits == "never" or is_longer or record.evaluations[-1].has_all_splits
