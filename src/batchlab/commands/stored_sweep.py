"""StoredSweep: the trials of a sweep timed, trained and kept, whatever happens on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from batchlab.commands.budget import Budget
from batchlab.commands.own_turn import own_turn
from batchlab.commands.sizes_that_run import fitting_trials
from batchlab.commands.subject import Subject
from batchlab.commands.sweep_progress import SweepProgress
from batchlab.engines.contract import Engine, RunPlan
from batchlab.engines.kept_record import keep_record
from batchlab.errors import BudgetError
from batchlab.machine import environment
from batchlab.planning.sweep_request import SweepRequest, check_scaling_rule
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import RunRequest
from batchlab.records.step_timing import StepTiming
from batchlab.records.study import Study
from batchlab.records.trial import Trial, TrialRecord
from batchlab.store.store import Store
from batchlab.training.checkpoint import peek_checkpoint
from batchlab.words.reasons import reason_text

_TIMING_TIMEOUT_S = 600.0
_TIMING_LEAST_S = 5.0
_TIMING_SHARE = 0.2  # of what is left of a budget, for each batch size
# Blocks of steps on a quiet machine lie within a few percent of one another.
_UNSTEADY_FRACTION = 0.3


def sweep_about(
    subject: Subject,
    request: SweepRequest,
    trials: tuple[Trial, ...],
    *,
    budget: Budget,
    store: str | Path,
    command: str,
    listener: ProgressListener,
) -> Study:
    """The sweep of a subject that may be no workload of this process.

    Args:
        subject: what is trained.
        request: how far, and where, checked.
        trials: what is asked for, in order; at least one.
        budget: a ceiling on the whole call; it began with it.
        store: the SQLite file; made if missing.
        command: to be stored with the study.
        listener: told how it gets on.

    Raises:
        UsageError: the trials are not possible for it.
        StoreError: the store cannot be used.
        BudgetError: the budget is too small for one trial.
        KeyboardInterrupt: after everything has been stored.
    """
    progress = SweepProgress(listener, trials)
    summary = subject.summary(Path(store))
    trials = fitting_trials(summary, trials, request, listener)
    check_scaling_rule(summary, trials)
    # Only now: a request that is refused leaves no file behind.
    with Store(store) as opened:
        opened.put_workload(summary)
        sweep = StoredSweep(opened, subject, request, trials, budget, listener, progress)
        return sweep.carried_out(command)


class StoredSweep:
    """One sweep under way."""

    def __init__(
        self,
        store: Store,
        subject: Subject,
        request: SweepRequest,
        trials: tuple[Trial, ...],
        budget: Budget,
        listener: ProgressListener,
        progress: SweepProgress,
    ) -> None:
        self._store = store
        self._subject = subject
        self._budget = budget
        self._request = request
        self._trials = trials
        self._listener = listener
        self._progress = progress
        self._workload_id = trials[0].workload_id
        self._steps_done: dict[str, int] = {}
        self._step_s: dict[int, float] = {}
        self._threads = 1

    def carried_out(self, command: str) -> Study:
        """Time, train; then read the study back from the store."""
        with self._store.working_on(study_id := _study_id(self._trials)):
            self._carry_out(study_id, command)
            return self._store.study(study_id)

    def _carry_out(self, study_id: str, command: str) -> None:
        left = [trial for trial in self._trials if not self._is_done(self._record(trial))]
        if left:
            for trial in left:
                self._subject.check_can_train(self._store, trial)
            self._measure_step_times(left)
            self._check_budget(left)
        self._store.put_study(
            study_id=study_id,
            command=command,
            workload_id=self._workload_id,
            environment=environment(),
            trial_ids=[trial.trial_id for trial in self._trials],
            target=self._request.length.until,
        )
        try:
            if left:
                self._train(left)
        finally:
            self._store.add_spent(study_id, self._budget.elapsed_s())
        self._say_what_is_left()

    def _say_what_is_left(self) -> None:
        left = [trial for trial in self._trials if not self._is_done(self._record(trial))]
        if left:
            self._listener.warning(
                f"{len(left)} of {len(self._trials)} trials are not finished; the same command "
                f"goes on with them"
            )
        for name in self._request.measures:
            without = [trial for trial in self._trials if not _has(self._record(trial), name)]
            if without:
                self._listener.warning(
                    f"{len(without)} of {len(self._trials)} trials have no {name}: they were "
                    f"trained before it was asked for, did not come to the end of an epoch, or it "
                    f"could not be told; another --store trains them anew"
                )

    # ---- before training

    def _measure_step_times(self, left: list[Trial]) -> None:
        # Of two sweeps started at once, one times the steps and the other takes them from it.
        with own_turn(
            self._store,
            "step-times",
            budget=self._budget,
            while_waiting="another sweep on this store was doing its step-times",
        ):
            known = self._store.timings(self._workload_id, self._trials[0].device)
            for trial in sorted(left, key=lambda trial: trial.batch_size):
                if not any(_times(timing, trial) for timing in known):
                    known = (*known, *self._timed(trial))
        for trial in left:
            for timing in known:
                if _times(timing, trial):
                    self._step_s[trial.batch_size] = timing.step_s
        # One trial alone takes the threads that served its batch size best.
        alone = len(left) == 1
        threads = [timing.threads for timing in known if _times(timing, left[0])]
        self._threads = threads[0] if alone and threads else 1

    def _timed(self, trial: Trial) -> tuple[StepTiming, ...]:
        doing = f"timing the steps of batch size {trial.batch_size}, alone"
        self._progress.timing(trial)
        ended = self._subject.timed(trial, timeout_s=self._timing_limit_s())
        if ended.status is not None:
            self._budget.refuse_if_out_of_time(doing)
            # The trial itself will meet the same and be kept with its reason.
            self._listener.warning(
                f"the steps of batch size {trial.batch_size} could not be timed: "
                f"{reason_text(ended.reason)}"
            )
            return ()
        timing = ended.value
        assert isinstance(timing, StepTiming)
        self._store.put_timing(timing)
        if timing.unsteadiness_fraction > _UNSTEADY_FRACTION:
            self._listener.warning(
                f"the machine was busy while the steps of batch size {trial.batch_size} were "
                f"timed: half of the blocks lie {timing.unsteadiness_fraction:.0%} apart, so its "
                f"place in the view by time is as uncertain"
            )
        return (timing,)

    def _timing_limit_s(self) -> float:
        """A batch size whose steps take long must not use up the budget before any training."""
        left_s = self._budget.time_limit_s(_TIMING_TIMEOUT_S)
        if self._budget.deadline_s is None:
            return left_s
        return min(left_s, max(_TIMING_LEAST_S, _TIMING_SHARE * left_s))

    def _expected_s(self, trial: Trial) -> float:
        steps = self._request.length.last_step(trial) - self._steps_done.get(trial.trial_id, 0)
        return max(0, steps) * self._step_s.get(trial.batch_size, 1.0)

    def _check_budget(self, left: list[Trial]) -> None:
        if self._budget.deadline_s is None:
            return
        for trial in left:
            progress = peek_checkpoint(self._store.checkpoint_path(trial.trial_id))
            self._steps_done[trial.trial_id] = 0 if progress is None else progress.step
        self._budget.refuse_if_out_of_time("timing steps")
        length = self._request.length
        if any(self._steps_done.values()) or length.until is not None or length.to_own_end:
            return
        timed = [trial for trial in left if trial.batch_size in self._step_s]
        shortest_s = min((self._expected_s(trial) for trial in timed), default=0.0)
        left_s = self._budget.time_limit_s()
        if shortest_s > left_s:
            raise BudgetError(
                f"budget {self._budget.seconds:.3g} s: the shortest trial needs about "
                f"{shortest_s:.1f} s of training and {left_s:.1f} s of the budget are left for "
                f"it; give a larger --budget, or fewer --epochs"
            )

    # ---- training

    def _train(self, left: list[Trial]) -> None:
        engine = self._engine()
        self._progress.training()
        try:
            for trial in left:
                engine.submit(RunRequest(trial=trial, length=self._request.length))
            for _ in left:
                keep_record(self._store, engine.next_finished().record)
        finally:
            engine.cancel()

    def _engine(self) -> Engine:
        ends_s, started_s = self._budget.work_ends_s, self._budget.started_s
        return self._subject.engine(
            self._store,
            RunPlan(
                trial=self._trials[0],
                micro_batch_sizes={
                    trial.batch_size: trial.micro_batch_size for trial in self._trials
                },
                step_s=self._step_s,
                horizon_epochs=None,
                device=self._request.device,
                threads=self._threads,
                measures=self._request.measures,
            ),
            self._listener,
            started_s=started_s,
            budget_s=None if ends_s is None else ends_s - started_s,
        )

    def _record(self, trial: Trial) -> TrialRecord | None:
        return self._store.record(trial.trial_id)

    def _is_done(self, record: TrialRecord | None) -> bool:
        return self._subject.is_done(record, self._request.length)


def _has(record: TrialRecord | None, name: str) -> bool:
    """Whether a trial was measured so anywhere."""
    evaluations = () if record is None else record.evaluations
    return any(evaluation.measurement(name) is not None for evaluation in evaluations)


def _times(timing: StepTiming, trial: Trial) -> bool:
    return (
        timing.batch_size == trial.batch_size
        and timing.micro_batch_size == trial.micro_batch_size
        and timing.device == trial.device
    )


def _study_id(trials: Iterable[Trial]) -> str:
    ids = " ".join(sorted(trial.trial_id for trial in trials))
    return hashlib.sha256(ids.encode()).hexdigest()[:16]
