"""TrialRecorder: who keeps the recorder in a store while trials run side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from batchlab.engines.process_pool import Answer, TrialEnd
from batchlab.engines.time_left import TimeLeft
from batchlab.errors import StoreError
from batchlab.machine import library_versions
from batchlab.planning.cadence import pauses
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import Evaluation, RunLength, Trial, TrialRecord
from batchlab.store.store import Store
from batchlab.training.checkpoint import Progress, peek_checkpoint
from batchlab.training.plain import ENGINE, Task


class TrialRecorder:
    """Keeps the recorder in a store while trials run side by side (a `Watcher`).

    What the store already holds is not trained again; a trial asked for more than it has goes on
    from its checkpoint. A context manager: at its end every claim is given back.

    Attributes:
        rounds: by trial id, the step at which it began now and the seconds that its process took.
    """

    def __init__(
        self,
        store: Store,
        lengths: Mapping[str, RunLength],
        listener: ProgressListener,
        *,
        device: str,
        threads: int,
        expected_s: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep recorder in `store` for the trials of `lengths`.

        Args:
            store: where all is written down.
            lengths: how far each trial runs, by trial id.
            listener: told how they get on.
            device: the PyTorch device, such as "cpu" or "cuda:1".
            threads: threads for each trial that has no checkpoint with a number of its own.
            expected_s: seconds that each trial is expected to take from here, by trial id.
            clock: seconds from some moment on.
        """
        self._store = store
        self._lengths = lengths
        self._listener = listener
        self._device = device
        self._threads = threads
        self._time_left = TimeLeft(expected_s)
        self._clock = clock
        self._claims: dict[str, ExitStack] = {}
        self._began: dict[str, tuple[int, float]] = {}
        self.rounds: dict[str, tuple[int, float]] = {}

    def __enter__(self) -> TrialRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        for claim in self._claims.values():
            claim.close()

    def begin(self, trial: Trial) -> Task | Answer:
        """Claim the trial, decide where it starts, write that down."""
        trial_id = trial.trial_id
        claim = ExitStack()
        if not claim.enter_context(self._store.claim(trial_id)):
            claim.close()
            return Answer.HELD_BY_ANOTHER_PROCESS
        record = self._store.record(trial_id)
        if is_trained(record, self._lengths[trial_id]):
            claim.close()
            return Answer.NOTHING_TO_DO
        self._claims[trial_id] = claim
        path = self._store.checkpoint_path(trial_id)
        progress = peek_checkpoint(path)
        # A run that was not looked at where its target was met has to be done again from there.
        watched = record is None or was_watched(record, self._lengths[trial_id])
        resume = watched and progress is not None and progress.versions == library_versions()
        threads = progress.threads if progress is not None and resume else self._threads
        if record is not None and not resume:
            self._store.restart_trial(trial_id)
        if resume and progress is not None:
            self._store.drop_evaluations_after(trial_id, progress.step)
        self._store.begin_trial(self._opening_record(trial, threads, progress if resume else None))
        from_step = progress.step if resume and progress is not None else 0
        self._began[trial_id] = (from_step, self._clock())
        return Task(
            trial=trial,
            length=self._lengths[trial_id],
            device=self._device,
            threads=threads,
            checkpoint=path,
            resume=resume,
            versions=library_versions(),
        )

    def evaluated(self, trial: Trial, evaluations: Sequence[Evaluation]) -> None:
        """Store them at once."""
        self._store.put_evaluations(trial.trial_id, evaluations)
        if not evaluations:
            return
        self._tell(trial, evaluations[-1].step / self._lengths[trial.trial_id].last_step(trial))

    def ended(self, end: TrialEnd) -> None:
        """Store the end; an interrupted trial stays open."""
        trial_id = end.trial.trial_id
        from_step, began_s = self._began[trial_id]
        self.rounds[trial_id] = (from_step, self._clock() - began_s)
        if end.status is not None:
            self._store.finish_trial(
                trial_id,
                status=end.status,
                reason=end.reason,
                traceback=end.traceback,
                peak_bytes=end.peak_bytes,
                notes=end.trial.notes,
            )
            if not end.status.ended_well:
                self._listener.warning(
                    f"batch size {end.trial.batch_size}, learning rate "
                    f"{end.trial.learning_rate:g}, seed {end.trial.seed}: {end.status} "
                    f"({end.reason})"
                )
        self._claims.pop(trial_id).close()
        self._tell(end.trial, 1.0)

    def _tell(self, trial: Trial, fraction: float) -> None:
        done, left_s = self._time_left.at(trial.trial_id, fraction)
        self._listener.progress(
            done_fraction=done,
            left_s=left_s,
            text=f"batch size {trial.batch_size}, learning rate {trial.learning_rate:g}, seed "
            f"{trial.seed}: {fraction:.0%}",
        )

    def _opening_record(self, trial: Trial, threads: int, progress: Progress | None) -> TrialRecord:
        resumed = () if progress is None else (*progress.resumed_from_steps, progress.step)
        return TrialRecord(
            trial=trial,
            status=None,
            engine=ENGINE,
            threads=threads,
            versions=library_versions(),
            target=self._lengths[trial.trial_id].until,
            evaluations=(),
            peak_bytes=None,
            resumed_from_steps=resumed,
            notes=trial.notes,
        )


def is_trained(record: TrialRecord | None, length: RunLength) -> bool:
    """Whether a stored record answers: trained as far as asked, or a bad end that lasts."""
    if record is None or record.status is None or record.status.may_go_on:
        return False
    if not record.status.ended_well:
        return True
    if not was_watched(record, length):
        return False
    if length.until is not None:
        crossing = record.crossing(length.until)
        if crossing is not None and crossing.held_at_next is not None:
            return True
    return record.steps >= length.last_step(record.trial)


def was_watched(record: TrialRecord, length: RunLength) -> bool:
    """Whether it was evaluated as often as asked where it met the target asked for.

    Runs of the advice are looked at seldom before they may meet theirs; an easier target may have
    been met there.
    """
    crossing = None if length.until is None else record.crossing(length.until)
    if crossing is None:
        return True
    asked = pauses(
        record.trial.plan,
        last_step=crossing.step,
        after_step=crossing.after_step,
        watched_from_samples=length.watched_from_samples,
    )
    first = next(asked, None)  # None: met untrained, at the evaluation before any step
    return first is None or first.step == crossing.step


def refuse_to_train_over(store: Store, trials: Sequence[Trial]) -> None:
    """A finished trial whose checkpoint cannot be used could only go on by being lost first.

    Raises:
        StoreError: naming the trial and the ways out.
    """
    for trial in trials:
        record = store.record(trial.trial_id)
        if record is None or not record.ended_well:
            continue
        progress = peek_checkpoint(store.checkpoint_path(trial.trial_id))
        if progress is not None and progress.versions == library_versions():
            continue
        what = "its checkpoint is missing or damaged"
        if progress is not None:
            made_with = ", ".join(" ".join(pair) for pair in progress.versions)
            what = f"it was made with {made_with}, and the numbers of two versions don't mix"
        raise StoreError(
            f"{store.path}: the trial at batch size {trial.batch_size}, learning rate "
            f"{trial.learning_rate:g}, seed {trial.seed} has {record.steps} steps and cannot "
            f"go on: {what}; give another --store to train it anew"
        )
