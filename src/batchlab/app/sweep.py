"""Sweep: `batchlab.sweep`, every batch size, rate and seed asked for, trained into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from batchlab.app.public_call import public_call
from batchlab.app.question import asked
from batchlab.app.sizes_that_run import fitting_trials
from batchlab.app.subject import Subject, own_turn
from batchlab.app.subjects import subject_of
from batchlab.errors import BudgetError
from batchlab.machine import environment
from batchlab.plans.scaling import moved_adam
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import RunRequest
from batchlab.records.study import StepTiming, Study, WorkloadSummary
from batchlab.records.trial import Sampling, Setting, Trial, TrialRecord
from batchlab.runs.contract import Engine, RunPlan
from batchlab.runs.engine import is_answered
from batchlab.runs.replay import keep_record
from batchlab.script.command import TrainingCommand
from batchlab.store.store import Store
from batchlab.training.checkpoint import peek_checkpoint
from batchlab.words.catalogue import plural, text
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Workload


@public_call
def sweep(
    workload: Workload | TrainingCommand | str = "mnist-mlp",
    *,
    batch_sizes: Sequence[int | Literal["full"]] | None = None,
    learning_rates: Sequence[float] | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    steps: int | None = None,
    target: tuple[str, float] | None = None,
    settings: Mapping[str, Setting] | None = None,
    scaling_rule: str = "none",
    sampling: Sampling = "reshuffle",
    drop_last: bool = False,
    micro_batch_size: int | None = None,
    device: str = "cpu",
    measure: Sequence[str] = (),
    budget: str | float | None = None,
    reserved_s: float = 0.0,
    store: str | Path = "batchlab.db",
    command: str | None = None,
    listener: ProgressListener | None = None,
) -> Study:
    """Train `workload` at every batch size, learning rate and seed, and return what was seen.

    What the store already holds is not trained again; an interrupted trial goes on from its
    checkpoint, and one that was asked for more epochs than before goes on from its end.

    Args:
        workload: a Workload, a built-in name, `path/file.py:name`, or a TrainingCommand.
        batch_sizes: examples per step, each 1 to N, or "full" for N; None: 64, 256, 1024 as far
            as they are below N, and "full".
        learning_rates: each > 0; None: the workload's reference rate.
        seeds: trials per cell, with the seeds 0 to seeds - 1; >= 1.
        epochs: passes over the training set; where neither epochs nor steps are given, the
            workload's own, or 10.
        steps: optimizer steps; with `epochs` too, whichever ends first.
        target: (metric, value) on validation data at which a trial ends.
        settings: of the workload or its optimizer.
        scaling_rule: "none", or how the rates, taken as right for the workload's reference batch
            size, follow the batch size: "linear", "sqrt", or "sde-adam", which moves Adam's betas
            and eps with it.
        sampling: "reshuffle" (each epoch a new permutation) or "replacement".
        drop_last: leave out a smaller last batch of an epoch.
        micro_batch_size: examples per forward and backward pass; None: the whole batch.
        device: "cpu", "cuda" or "cuda:1".
        measure: what else to measure at the start and where an epoch ends: "noise_scale",
            "gradient_variance", "sharpness", "top_eigenvalue". Trials that were trained before are
            not measured again.
        budget: a ceiling on the time of the whole call, such as "90s", "5m" or "1h30m", or in
            seconds; what is not done by then can go on. None: there is none.
        reserved_s: the part of the budget that the caller needs for what it does around the call.
        store: the SQLite file; made if missing.
        command: the command line to be stored with the study; None: a description of the call.
        listener: told how it gets on; None: the cell of the notebook that asks, if one does.

    Returns:
        The study with the records of its trials in the order of seeds, rates, batch sizes.

    Raises:
        UsageError: a value outside what is possible; the message says what is.
        WorkloadError: the workload cannot be loaded or trained.
        StoreError: the store cannot be used.
        BudgetError: the budget is too small for one trial.
        KeyboardInterrupt: after everything has been stored.
    """
    return swept(subject_of(asked("sweep", **locals())))


def swept(subject: Subject) -> Study:
    """What `sweep` does, about a subject that may be no workload of this process.

    Raises:
        BatchlabError: what `sweep` raises.
        KeyboardInterrupt: after everything has been stored.
    """
    question = subject.question
    assert question.store is not None
    _, trials = subject.planned(lambda: (subject.length, subject.trials))
    training = plural("training {n} trial", "training {n} trials", len(trials))
    question.listener.begins(
        command="sweep", subject=subject.name, stages=(text(_TIMING), training)
    )
    subject.look()
    trials = fitting_trials(subject)
    _check_scaling_rule(subject.summary, trials)
    # Only now: a request that is refused leaves no file behind.
    with Store(question.store) as opened:
        opened.put_workload(subject.summary)
        return StoredSweep(opened, subject, trials, training).carried_out()


def _check_scaling_rule(summary: WorkloadSummary, trials: Iterable[Trial]) -> None:
    """Refuse trials whose scaling rule moves settings that the optimizer does not have.

    Raises:
        UsageError: naming what the rule needs, or how far it goes.
    """
    for trial in trials:
        moved_adam(
            summary.adam,
            trial,
            reference_batch_size=summary.batch_size,
            whose=f"the optimizer of workload {summary.name!r}",
        )


_TIMING = "timing each batch size alone"


_TIMING_TIMEOUT_S = 600.0
_TIMING_LEAST_S = 5.0
_TIMING_SHARE = 0.2  # of what is left of a budget, for each batch size
# Blocks of steps on a quiet machine lie within a few percent of one another.
_UNSTEADY_FRACTION = 0.3


class StoredSweep:
    """One sweep under way."""

    def __init__(
        self, store: Store, subject: Subject, trials: tuple[Trial, ...], training: str
    ) -> None:
        self._store = store
        self._subject = subject
        self._question = subject.question
        self._budget = subject.question.budget
        self._listener = subject.question.listener
        self._length = subject.length
        self._trials = trials
        self._training = training  # the name of the stage
        self._is_timing = False
        self._workload_id = trials[0].workload_id
        self._steps_done: dict[str, int] = {}
        self._step_s: dict[int, float] = {}
        self._threads = 1

    def carried_out(self) -> Study:
        """Time, train; then read the study back from the store."""
        with self._store.working_on(study_id := _study_id(self._trials)):
            self._carry_out(study_id)
            return self._store.study(study_id)

    def _carry_out(self, study_id: str) -> None:
        left = self._unfinished()
        if left:
            for trial in left:
                self._subject.check_can_train(self._store, trial)
            self._measure_step_times(left)
            self._check_budget(left)
        self._store.put_study(
            study_id=study_id,
            command=self._question.command
            or f"batchlab.sweep({self._subject.summary.reference!r}, ...)",
            workload_id=self._workload_id,
            environment=environment(),
            trial_ids=[trial.trial_id for trial in self._trials],
            target=self._length.until,
        )
        try:
            if left:
                self._train(left)
        finally:
            self._store.add_spent(study_id, self._budget.elapsed_s())
        self._say_what_is_left()

    def _say_what_is_left(self) -> None:
        left = self._unfinished()
        if left:
            self._listener.warning(
                f"{len(left)} of {len(self._trials)} trials are not finished; the same command "
                f"goes on with them"
            )
        for name in self._question.measure:
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
        self._tell_of_timing(trial)
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

    def _tell_of_timing(self, trial: Trial) -> None:
        """Nothing is trained yet."""
        if not self._is_timing:
            self._is_timing = True
            self._listener.phase(text(_TIMING))
        said = text("batch size {size}", size=trial.batch_size)
        self._listener.progress(done_fraction=0.0, left_s=None, text=said)

    def _timing_limit_s(self) -> float:
        """A batch size whose steps take long must not use up the budget before any training."""
        left_s = self._budget.time_limit_s(_TIMING_TIMEOUT_S)
        if self._budget.deadline_s is None:
            return left_s
        return min(left_s, max(_TIMING_LEAST_S, _TIMING_SHARE * left_s))

    def _expected_s(self, trial: Trial) -> float:
        steps = self._length.last_step(trial) - self._steps_done.get(trial.trial_id, 0)
        return max(0, steps) * self._step_s.get(trial.batch_size, 1.0)

    def _check_budget(self, left: list[Trial]) -> None:
        if self._budget.deadline_s is None:
            return
        for trial in left:
            progress = peek_checkpoint(self._store.checkpoint_path(trial.trial_id))
            self._steps_done[trial.trial_id] = 0 if progress is None else progress.step
        self._budget.refuse_if_out_of_time("timing steps")
        length = self._length
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
        self._listener.phase(self._training)
        try:
            for trial in left:
                engine.submit(RunRequest(trial=trial, length=self._length))
            for _ in left:
                keep_record(self._store, engine.next_finished().record)
        finally:
            engine.cancel()

    def _engine(self) -> Engine:
        ends_s, started_s = self._budget.work_ends_s, self._budget.started_s
        plan = RunPlan(
            trial=self._trials[0],
            device=self._question.device,
            listener=self._listener,
            started_s=started_s,
            budget_s=None if ends_s is None else ends_s - started_s,
            micro_batch_sizes={trial.batch_size: trial.micro_batch_size for trial in self._trials},
            step_s=self._step_s,
            threads=self._threads,
            measures=self._question.measure,
        )
        return self._subject.engine(self._store, plan)

    def _record(self, trial: Trial) -> TrialRecord | None:
        return self._store.record(trial.trial_id)

    def _unfinished(self) -> list[Trial]:
        """The trials of which something is to be trained: what is stored does not answer."""
        keeps = self._subject.keeps_cadence
        return [
            trial
            for trial in self._trials
            if not is_answered(self._record(trial), self._length, keeps_cadence=keeps)
        ]


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
