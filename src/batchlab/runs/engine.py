"""StoredEngine: the base class of engines that store their runs."""

from __future__ import annotations

import heapq
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
# A stored run suffices for a request if its evaluations are at most this many times the requested
# interval apart, because an earlier session may have chosen another interval.
_AS_GOOD = 4.0
# Statuses that are reported as they are, even if the run could be resumed: the budget did not end
# the run.
_BAD_ENDS = (Status.ERROR, Status.KILLED)
_NUMBERS = re.compile(r"\b(?:\d[\d.e+-]*|nan|inf)")
# Seconds between two checks of the clock, and of trials that other processes train.
_LOOK_EVERY_S = 0.25
_TELLING_FRACTION = 0.02  # The time left is reported once this fraction of all runs is done.

Ran = tuple[int, float]
"""The step at which a finished run started, and the seconds that it took."""


class StoredEngine:
    """The base class of engines that store their runs; a subclass trains the runs.

    This class queues the runs, reports their progress, and stops them at the end of the budget.
    Runs that are stored already are returned before any other run starts. Only `next_finished`
    starts runs and receives their messages.
    """

    name: str
    resumes: bool
    keeps_cadence: bool  # Whether runs are evaluated at the requested steps (`plans.cadence`).
    n_seeds: int | None = None  # Any number of seeds can be requested.
    _takes_rate = True  # False if the learning rate is fixed in the user's script.
    # The grace period: a run that has to end gets at most this many seconds, and at most this
    # fraction of the budget, to save its progress before it is killed.
    _longest_grace_s = 5.0
    _grace_fraction = 0.1

    _clock: Callable[[], float] = staticmethod(time.monotonic)  # the clock of the budget

    def __init__(self, store: Store, plan: RunPlan) -> None:
        self.cost_model = CostModel()
        self._store = store
        self._plan = plan
        self._listener = plan.listener
        # For progress messages, by trial id: the fraction of the run done, and its total seconds.
        self._fractions: dict[str, tuple[float, float]] = {}
        self._expected_s = self._done_s = 0.0
        self._began_s = time.monotonic()
        self._kinds_said: set[str] = set()  # Earlier warnings, with numbers replaced by "#".
        self._waiting: list[tuple[float, int, RunRequest]] = []  # A heap of queued runs.
        self._numbers = count()
        # The runs that have ended; `Ran` is None for a run that this session did not start.
        self._ended: deque[tuple[RunRequest, Ran | None]] = deque()

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
        """Return a trial with the given values; all other settings are those of the plan."""
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

        The estimate uses the times of earlier runs, and assumes that other runs train meanwhile.
        """
        trial = replace(self._plan.trial, batch_size=batch_size)
        return self.cost_model.expected_s(trial, length, step_s=self._step_s(batch_size))

    def evaluation_steps(self, batch_size: int) -> float:
        """Return how many steps take as long as evaluating validation data once; 0.0 if unknown."""
        return self.cost_model.evaluation_steps(step_s=self._step_s(batch_size))

    def submit(self, request: RunRequest) -> None:
        """Queue a run; a run that the store has completely is returned without training.

        Raises:
            StoreError: the store cannot be used.
        """
        record = self._store.record(request.trial.trial_id)
        if self._is_answered(record, request.length):
            self._ended.append((request, None))
            return
        priority = self._expect(request, record)
        # With several workers, start the longest run first, so that no worker is idle at the end.
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
            # Learn the costs from a stored run, as the session that trained this run did. Then a
            # continued study plans the same evaluations.
            self._learn(request.trial, from_step=0, wall_s=None)
        return request, self._answer(request)

    def cancel(self) -> None:
        """Forget all runs that were not returned; a subclass first ends the started runs."""
        self._waiting.clear()
        self._ended.clear()

    def spent_s(self) -> float:
        """Return the seconds of the budget spent: the time since the plan's `started_s`."""
        return self._clock() - self._plan.started_s

    def _wait(self, request: RunRequest, *, first: float) -> None:
        """Queue a run with the priority `first`; the run with the highest priority starts next."""
        heapq.heappush(self._waiting, (-first, next(self._numbers), request))

    def _left_s(self) -> float:
        return self._plan.budget_s - self.spent_s()

    @property
    def _grace_s(self) -> float:
        return min(self._longest_grace_s, self._grace_fraction * self._plan.budget_s)

    def _is_out_of_time(self) -> bool:
        """Return whether so little time is left that all runs have to end and none may begin."""
        return self._left_s() <= self._grace_s

    def _step_s(self, batch_size: int) -> float:
        return self._plan.step_s.get(batch_size, _UNKNOWN_STEP_S)

    def _mean_step_s(self, trial: Trial, steps: int) -> float:
        """Return the mean seconds per step of the first `steps` steps, if nothing else trains."""
        steps = max(1, steps)
        step_s = {size: self._step_s(size) for size in trial.batch_sizes}
        return trial.plan.train_s_at(steps, step_s) / steps

    # ---- for subclasses

    def _start(self, request: RunRequest, record: TrialRecord | None, claim: ExitStack) -> None:
        """Start a run; `record` is the trial's stored record.

        `claim` is released on return, unless this method calls `claim.pop_all()` to keep it.
        """
        raise NotImplementedError

    @property
    def _n_running(self) -> int:
        """The number of runs that have started and not ended."""
        raise NotImplementedError

    def _listen(self, timeout_s: float) -> None:
        """Receive the messages of runs, for at most `timeout_s` seconds; sleep if no run trains."""
        time.sleep(timeout_s)

    def _stop(self, status: Status | None, reason: Reason | None) -> None:
        """End all queued runs; a subclass first ends started runs with `status` and `reason`."""
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
            self._start_waiting()
            if not self._ended:
                self._listen(_LOOK_EVERY_S)

    def _start_waiting(self) -> None:
        """Start queued runs, except runs whose trials other processes have claimed."""
        claimed_elsewhere = []
        while self._waiting and self._n_running < self.n_workers:
            entry = heapq.heappop(self._waiting)
            request = entry[-1]
            with ExitStack() as claim:
                if not claim.enter_context(self._store.claim(request.trial.trial_id)):
                    claimed_elsewhere.append(entry)
                    continue
                record = self._store.record(request.trial.trial_id)
                if self._is_answered(record, request.length):
                    self._ended.append((request, None))  # another process has trained this run
                else:
                    self._start(request, record, claim)
        for entry in claimed_elsewhere:
            heapq.heappush(self._waiting, entry)

    # ---- records

    def _is_answered(self, record: TrialRecord | None, length: RunLength) -> bool:
        return is_answered(record, length, keeps_cadence=self.keeps_cadence)

    def _answer(self, request: RunRequest) -> TrialRecord:
        """Return the trial's stored record, with the status for the requested length and target."""
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
        """Return whether `text` differs, except in numbers, from all earlier texts; store it."""
        kind = _NUMBERS.sub("#", text)
        is_new = kind not in self._kinds_said
        self._kinds_said.add(kind)
        return is_new

    def _learn(self, trial: Trial, *, from_step: int, wall_s: float | None) -> None:
        """Update the cost model with a run's times; `wall_s` is None if its duration is unknown."""
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
        """Add a run to the estimate of the time left; return the expected seconds of the run."""
        trial, steps, done = request.trial, request.last_step, 0
        if record is not None and self.resumes:
            done = min(steps, record.steps)
        # It is unknown how long a script trains to its own end, so expect one second for each run.
        expected_s = 1.0
        if not request.length.to_own_end:
            length = replace(request.length, epochs=None, steps=steps - done)
            step_s = self._mean_step_s(trial, steps)
            expected_s = self.cost_model.expected_s(trial, length, step_s=step_s)
        if self._is_idle:  # all runs have ended: start a new estimate
            self._expected_s = self._done_s = 0.0
            self._began_s = time.monotonic()
        self._expected_s += expected_s
        fraction = done / (steps + 1)  # + 1, so that the fraction is below 1
        self._fractions[trial.trial_id] = fraction, expected_s / (1 - fraction)
        return expected_s

    def _tell(self, request: RunRequest, fraction: float) -> None:
        """Report the fraction of a run that is done, and the seconds left for all runs."""
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
        size = " to ".join(map(str, dict.fromkeys((trial.batch_size, trial.largest_batch_size))))
        if self._takes_rate:
            size += f", learning rate {number_text(trial.learning_rate, 'rate')}"
        return f"batch size {size}, seed {trial.seed}"


def as_asked(record: TrialRecord, length: RunLength) -> TrialRecord:
    """Return a stored record, with the status that the run has for the requested target.

    The stored status may be for another target or a longer training.
    """
    status = record.status
    if record.ended_well:
        status = Status.TARGET_REACHED if _has_met(record, length) else Status.OK
    return replace(record, target=length.until, status=status)


def is_answered(record: TrialRecord | None, length: RunLength, *, keeps_cadence: bool) -> bool:
    """Return whether a stored run suffices: it is long enough, met the target or cannot continue.

    If the engine evaluates at requested steps (`keeps_cadence`), return False for a run that lacks
    a requested evaluation, so that the run is trained again.
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
    """Return the number of steps of a run, even if its last steps have no evaluation."""
    steps = record.steps
    for note in record.notes:
        if note.code == "metric_reported_before_end":
            asked_steps = note.named["asked"]
            if isinstance(asked_steps, int):
                steps = max(steps, asked_steps)
    return steps


def was_evaluated(record: TrialRecord, length: RunLength) -> bool:
    """Return whether a run was evaluated as often, and on the same splits, as requested.

    A stored run may have too few evaluations for a new request: a run for an advice is evaluated
    rarely until it is near its target. If the new target is easier, the run may have met it between
    two distant evaluations, so the samples needed for it are not known well enough. Train and test
    data were evaluated only at the end of such a run, or never.
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
    # Return False if a requested evaluation is missing; additional evaluations do no harm.
    requested = pauses(
        plan,
        last_step=crossing.step,
        after_step=crossing.after_step,
        watched_from_samples=length.watched_from_samples,
        interval_samples=length.interval_samples,
    )
    return next(requested).step >= crossing.step


def _has_end(record: TrialRecord, length: RunLength) -> bool:
    """Return whether the run needs no further evaluation on train and test data at its end.

    That is so if its last evaluation includes these data, if `length` never requests them, or if
    the run is already longer than `length`.
    """
    is_longer = record.steps > length.last_step(record.trial)
    return length.all_splits == "never" or is_longer or record.evaluations[-1].has_all_splits
