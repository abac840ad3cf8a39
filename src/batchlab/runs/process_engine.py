"""ProcessEngine: an engine that trains each run in a process of its own."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from batchlab.machine import library_versions
from batchlab.processes.children import HOPELESS, Ended, raise_if_hopeless
from batchlab.records.estimate import Reason
from batchlab.records.run import Outcome, RunRequest
from batchlab.records.trial import Status, Trial, TrialRecord
from batchlab.runs.contract import RunPlan
from batchlab.runs.engine import StoredEngine, was_evaluated
from batchlab.runs.workers import BUILD_S, NODE_LOST, Workers
from batchlab.store.store import Store
from batchlab.training.checkpoint import Progress, peek_checkpoint, write_whole
from batchlab.training.plain import Task
from batchlab.training.stepper import Stepper
from batchlab.words.reasons import reason_text

_KILLED_WITHIN_S = 5.0  # Wait at most this long until the process of a killed run has ended.


@dataclass(slots=True)
class _Run:
    """A run in training: its request, its record and claim, and the step and time of its start."""

    request: RunRequest
    opening: TrialRecord
    claim: ExitStack
    from_step: int
    began_s: float


class ProcessEngine(StoredEngine):
    """An `Engine` whose `Workers` train each run in a process of its own.

    If a request needs more steps of a trial than are stored, the stored run is resumed.
    """

    name = Stepper.name
    resumes = keeps_cadence = True

    def __init__(self, store: Store, plan: RunPlan, workers: Workers) -> None:
        super().__init__(store, plan)
        self._workers = workers
        self._running: dict[str, _Run] = {}  # The runs in training, by trial id.
        self._lost_once: set[str] = set()  # The ids of trials whose node was lost during a run.

    @property
    def n_workers(self) -> int:
        """The number of runs that the workers train at a time."""
        return self._workers.n

    def cancel(self) -> None:
        """End all runs after they have written checkpoints, so that they can be resumed later."""
        try:
            self._stop(None, None)
        finally:
            # Runs remain in `_running` only if `_stop` could not write to the store. Remove them,
            # so that a second call of `cancel` does not try to store them again.
            self._workers.close()
            for run in self._running.values():
                run.claim.close()
            self._running.clear()
            super().cancel()

    # ---- runs under way

    @property
    def _n_running(self) -> int:
        return len(self._running)

    def _start(self, request: RunRequest, record: TrialRecord | None, claim: ExitStack) -> None:
        """Store that a run starts, and start the run."""
        trial = request.trial
        # Call `get_ready` before the run is stored, because it may raise an error.
        reason = self._workers.get_ready(timeout_s=min(BUILD_S, self._left_s()))
        if reason is not None:
            self._listener.warning(reason_text(reason))
        beginnings = self._beginnings(trial)
        progress = self._progress(request, record, beginnings)
        opening = replace(
            request.opening(Stepper.name),
            threads=self._plan.threads,
            versions=library_versions(),
            notes=trial.notes,
        )
        from_step, keep_until = 0, -1
        if progress is not None:
            from_step = keep_until = progress.step
            steps = (*progress.resumed_from_steps, from_step)
            opening = replace(opening, threads=progress.threads, resumed_from_steps=steps)
        self._store.put_record(opening, keep_until=keep_until)
        began_s = self._clock()
        self._workers.start(
            Task(
                trial=trial,
                length=request.length,
                device=self._plan.device,
                threads=opening.threads,
                checkpoint=self._store.checkpoint_path(trial.trial_id),
                resume=progress is not None,
                versions=library_versions(),
                beginnings=tuple(beginnings.items()),
            )
        )
        run = _Run(request, opening, claim.pop_all(), from_step, began_s)
        self._running[trial.trial_id] = run

    def _listen(self, timeout_s: float) -> None:
        for run, ended in self._heard(timeout_s):
            if ended.error == NODE_LOST:
                self._lost(run, ended)
                continue
            self._end(run, _outcome(ended))
            raise_if_hopeless(ended)

    def _heard(self, timeout_s: float) -> Iterator[tuple[_Run, Ended]]:
        """Yield each run that has ended, with its `Ended` message; store all new evaluations."""
        for trial_id, message in self._workers.heard(timeout_s=timeout_s):
            run = self._running[trial_id]
            if isinstance(message, Ended):
                del self._running[trial_id]
                yield run, message
                continue
            self._store.put_evaluations(trial_id, message)
            if message:
                self._tell(run.request, message[-1].step / run.request.last_step)

    def _stop(self, status: Status | None, reason: Reason | None) -> None:
        """Stop all runs, after the grace period by force; interrupted runs get `status`."""
        self._workers.ask_to_stop()
        grace_until_s = time.monotonic() + self._grace_s
        while self._running:
            left_s = grace_until_s - time.monotonic()
            if left_s <= 0:
                self._workers.kill()
                left_s = _KILLED_WITHIN_S
            for run, ended in self._heard(left_s):
                outcome = _outcome(ended)
                if outcome.status is None or outcome.status is Status.KILLED:
                    outcome = replace(outcome, status=status, reason=reason)
                self._end(run, outcome)
        super()._stop(status, reason)

    # ---- the records of one run

    def _progress(
        self, request: RunRequest, record: TrialRecord | None, beginnings: dict[int, Path]
    ) -> Progress | None:
        """Return the progress in the checkpoint to resume from, or None to train from step 0."""
        length = request.length
        path = self._store.checkpoint_path(request.trial.trial_id)
        # A run that lacks requested evaluations is trained again from step 0.
        if record is not None and not was_evaluated(record, length):
            return None
        progress = _usable_progress(path)
        if progress is None and record is not None and record.ended_well:
            text = "its checkpoint is missing or of other library versions, so it begins again"
            self._listener.warning(f"{self._named(request.trial)}: {text}")
        # Start from the checkpoint of another trial only if this run needs no evaluation before its
        # last step, because the other trial may have made none.
        is_end_asked = length.until is None and length.all_splits != "on_the_way"
        if progress is None and record is None and is_end_asked:
            return _copied_beginning(beginnings, path)
        return progress

    def _beginnings(self, trial: Trial) -> dict[int, Path]:
        """Return, by step, the checkpoints that `trial` shares with longer and shorter trials.

        If the learning rate is constant at first and then falls, trials whose schedules differ only
        in length are equal during the constant part (Hägele et al. 2024, arXiv:2405.18392).
        """
        plan, spans = self._plan, trial.horizon_steps
        if spans is None or plan.horizon_epochs is None or len(plan.horizons) < 2:
            return {}
        without_length = replace(trial, horizon_steps=None).trial_id
        beginnings = {}
        for horizon in sorted(plan.horizons):
            steps = trial.plan.steps_in(horizon * plan.horizon_epochs)
            step = math.floor(plan.constant_until * steps)
            if step and steps <= spans:
                beginnings[step] = self._store.checkpoint_path(f"{without_length}.{step}")
        return beginnings

    def _lost(self, run: _Run, lost: Ended) -> None:
        """Queue a run again after its node was lost, or end the run at the second such loss."""
        trial = run.request.trial
        if trial.trial_id in self._lost_once:
            reason = Reason.of("node_lost", why=reason_text(lost.reason))
            self._end(run, Outcome(status=Status.KILLED, reason=reason))
            return
        run.claim.close()
        self._lost_once.add(trial.trial_id)
        self._listener.warning(
            f"{self._named(trial)}: {reason_text(lost.reason)}; it goes on elsewhere"
        )
        self._wait(run.request, first=math.inf)

    def _end(self, run: _Run, outcome: Outcome) -> None:
        """Store how a run ended; an interrupted run gets no status, so that it can be resumed."""
        trial = run.request.trial
        with run.claim:
            wall_s = self._clock() - run.began_s
            if outcome.status is not None:
                self._store.put_record(outcome.ends(run.opening))
        self._warn_of_bad_end(trial, outcome)
        self._tell(run.request, 1.0)
        self._ended.append((run.request, (run.from_step, wall_s)))


def _copied_beginning(beginnings: dict[int, Path], path: Path) -> Progress | None:
    """Copy the usable checkpoint with the most steps to `path`; return its progress, if any."""
    for step in sorted(beginnings, reverse=True):
        progress = _usable_progress(beginnings[step])
        if progress is not None:
            write_whole(path, partial(shutil.copyfile, beginnings[step]))
            return progress
    return None


def _usable_progress(checkpoint: Path) -> Progress | None:
    """Return the progress in a checkpoint, or None if the checkpoint cannot be used.

    A checkpoint that other library versions wrote cannot be used, because results would differ.
    """
    progress = peek_checkpoint(checkpoint)
    if progress is None or progress.versions != library_versions():
        return None
    return progress


def _outcome(ended: Ended) -> Outcome:
    if ended.error in HOPELESS:
        return Outcome(status=None)  # no status, so that the trial can resume
    if ended.status is None:
        assert isinstance(ended.value, Outcome)
        return ended.value
    return Outcome(status=ended.status, reason=ended.reason, traceback=ended.traceback)
