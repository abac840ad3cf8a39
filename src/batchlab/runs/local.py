"""LocalProcesses: answers with training runs on this machine, each in a process of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from batchlab.machine import thread_choices
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import OUT_OF_TIME, RunEnd, RunLength, RunRequest
from batchlab.records.study import ANY_SIZE
from batchlab.records.trial import Status, Trial, TrialRecord
from batchlab.runs.contract import Capabilities, CostModel, RunPlan
from batchlab.runs.pool import ProcessPool
from batchlab.runs.trial_recorder import TrialRecorder, is_trained, refuse_to_train_over
from batchlab.store.store import Store
from batchlab.training.plain import ENGINE

# Beyond the batch sizes that were timed, until a run tells: a guess that only orders runs.
_UNKNOWN_STEP_S = 1.0


class LocalProcesses:
    """Trains what it is asked for in child processes; the store holds all of it (an `Engine`).

    What the store holds already is answered from there.
    """

    name = ENGINE

    def __init__(
        self,
        store: Store,
        packed: PackedWorkload,
        plan: RunPlan,
        listener: ProgressListener,
        *,
        started_s: float,
        budget_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from `store`, and with runs of `packed`.

        Args:
            store: where all is written down; it knows the workload.
            packed: what is trained, packed for child processes.
            plan: what all runs share.
            listener: told how it gets on.
            started_s: the reading of `clock` from which the budget counts.
            budget_s: seconds after which no run goes on; None: there is no end.
            clock: a monotonic clock, in seconds.
        """
        self.cost_model = CostModel()
        self._store = store
        self._plan = plan
        self._clock = clock
        self._started_s = started_s
        self._budget_s = budget_s
        self._known: deque[RunRequest] = deque()
        known = store.workload(plan.trial.workload_id)
        self._recorder = TrialRecorder(
            store,
            listener,
            device=plan.device,
            threads=plan.threads,
            evaluated_sizes=ANY_SIZE if known is None else known.evaluated_sizes,
            clock=clock,
        )
        self._pool = ProcessPool(
            packed, self._recorder, n_workers=self.n_workers, measures=plan.measures
        )

    @property
    def capabilities(self) -> Capabilities:
        """All that a training loop of one's own can do."""
        return Capabilities(
            resumes=True,
            any_learning_rate=True,
            any_seed=True,
            side_by_side=True,
            in_process_metrics=True,
            keeps_cadence=True,
            cools_down=True,
        )

    @property
    def n_workers(self) -> int:
        """One run for each core; one on a GPU."""
        return max(thread_choices("cpu")) if self._plan.trial.device == "cpu" else 1

    @property
    def n_seeds(self) -> int | None:
        """Any number."""
        return None

    def learning_rates(self, batch_size: int) -> Sequence[float] | None:
        """Any rate."""
        return None

    def trial(self, *, batch_size: int, learning_rate: float, seed: int) -> Trial:
        """The trial of these three, everything else as the question has it."""
        trial = replace(
            self._plan.trial,
            batch_size=batch_size,
            micro_batch_size=self._plan.micro_batch_sizes[batch_size],
            learning_rate=learning_rate,
            seed=seed,
        )
        if self._plan.horizon_epochs is None:
            return trial
        return replace(trial, horizon_steps=trial.plan.steps_in(self._plan.horizon_epochs))

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        """Seconds that a run takes beside others, start and evaluations too.

        From the step time that was measured alone, and from what earlier runs took.
        """
        trial = replace(self._plan.trial, batch_size=batch_size)
        return self.cost_model.expected_s(trial, length, step_s=self._step_s(batch_size))

    def evaluation_steps(self, batch_size: int) -> float:
        """How many steps of a batch size took as long as an evaluation so far; 0.0: none was."""
        return self.cost_model.evaluation_steps(batch_size, step_s=self._step_s(batch_size))

    def spent_s(self) -> float:
        """Seconds of the budget spent by the clock: those since `started_s`."""
        return self._clock() - self._started_s

    def submit(self, request: RunRequest) -> None:
        """Train it as far as the store does not hold it yet.

        Raises:
            StoreError: the store cannot be used, or a finished trial cannot go on.
        """
        record = self._store.record(request.trial.trial_id)
        if is_trained(record, request.length):
            self._known.append(request)
            return
        refuse_to_train_over(self._store, request.trial)
        done = 0 if record is None else record.steps
        if record is not None and record.has_ended_itself:
            done = request.last_step
        new = replace(request.length, epochs=None, steps=max(0, request.last_step - done))
        expected_s = self.expected_s(request.trial.batch_size, new)
        was_idle = self._pool.is_idle
        if was_idle:
            self._pool.end_within(None if self._budget_s is None else self._left_s(self._budget_s))
        self._recorder.expect(request, expected_s, anew=was_idle)
        self._pool.submit(request, expected_s=expected_s)

    def next_finished(self) -> RunEnd:
        """The next answer: what the store knew first, then what is trained, until the budget ends.

        Raises:
            StoreError: the store cannot be used.
            KeyboardInterrupt: after everything has been stored.
        """
        if self._known:
            request = self._known.popleft()
            if not self.cost_model.steps_s:
                self._learn_from_before(request.trial)
        else:
            try:
                request = self._pool.next_ended()
            except BaseException:
                self._recorder.let_go()
                raise
            self._learn_costs(request.trial)
        return RunEnd(request=request, record=self._answer(request))

    def cancel(self) -> None:
        """Have every run write its checkpoint and end, so that it can go on later."""
        self._known.clear()
        try:
            self._pool.cancel()
        finally:
            self._recorder.let_go()

    def _left_s(self, budget_s: float) -> float:
        return budget_s - self.spent_s()

    def _step_s(self, batch_size: int) -> float:
        return self._plan.step_s.get(batch_size, _UNKNOWN_STEP_S)

    def _answer(self, request: RunRequest) -> TrialRecord:
        """The stored record with the status that it has for what was asked."""
        stored = self._store.record(request.trial.trial_id)
        if stored is None:
            return request.never_begun(self.name)
        record = replace(stored, target=request.length.until)
        if not is_trained(record, request.length):
            if record.status in (Status.ERROR, Status.KILLED):
                return record
            return replace(record, status=Status.TIMEOUT, reason=OUT_OF_TIME)
        if not record.ended_well:
            return record
        # Trained for another target or further than asked, its own status answers another question.
        until = request.length.until
        crossing = None if until is None else record.crossing(until)
        met = crossing is not None and crossing.held
        return replace(record, status=Status.TARGET_REACHED if met else Status.OK)

    def _learn_from_before(self, trial: Trial) -> None:
        """What a run of another session took, until one of this session is known."""
        record = self._store.record(trial.trial_id)
        if record is not None:
            self.cost_model = self.cost_model.with_run(
                record, from_step=0, wall_s=None, step_s=self._step_s(trial.batch_size)
            )

    def _learn_costs(self, trial: Trial) -> None:
        took = self._recorder.took.pop(trial.trial_id, None)
        record = self._store.record(trial.trial_id)
        if took is None or record is None:
            return  # its turn never came
        from_step, wall_s = took
        self.cost_model = self.cost_model.with_run(
            record, from_step=from_step, wall_s=wall_s, step_s=self._step_s(trial.batch_size)
        )
