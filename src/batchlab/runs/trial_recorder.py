"""TrialRecorder: keeps the records in a store while runs are under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from batchlab.errors import StoreError
from batchlab.machine import library_versions
from batchlab.plans.cadence import pauses
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.study import ANY_SIZE, RunnableSizes
from batchlab.records.trial import Evaluation, Status, Trial, TrialRecord
from batchlab.runs.contract import TimeLeft
from batchlab.runs.pool import Answer, RepeatedErrors
from batchlab.store.store import Store
from batchlab.training.checkpoint import Progress, peek_checkpoint
from batchlab.training.plain import ENGINE, Outcome, Task
from batchlab.words.catalogue import number_text
from batchlab.words.reasons import reason_text

# An interval between evaluations leaves pauses up to twice as far apart; what was evaluated twice
# as seldom as that is as good: another session timed evaluations anew.
_AS_GOOD = 4.0


class TrialRecorder:
    """Keeps the records in a store while runs are under way (a `Watcher`).

    What the store already holds is not trained again; a trial asked for more than it has goes on
    from its checkpoint.

    Attributes:
        took: by trial id, the step at which its last run began and the seconds of its process.
    """

    def __init__(
        self,
        store: Store,
        listener: ProgressListener,
        *,
        device: str,
        threads: int,
        evaluated_sizes: RunnableSizes = ANY_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep the records in `store`.

        Args:
            store: where all is written down.
            listener: told how the runs get on.
            device: the PyTorch device, such as "cpu" or "cuda:1".
            threads: threads for each trial that has no checkpoint with a number of its own.
            evaluated_sizes: how many examples the model takes in an evaluation.
            clock: a monotonic clock, in seconds.
        """
        self._evaluated_sizes = evaluated_sizes
        self._store = store
        self._listener = listener
        self._device = device
        self._threads = threads
        self._time_left = TimeLeft()
        self._clock = clock
        self._errors = RepeatedErrors()
        self._last_step: dict[str, int] = {}
        self._claims: dict[str, ExitStack] = {}
        self._began: dict[str, tuple[int, float]] = {}
        self.took: dict[str, tuple[int, float]] = {}

    def expect(self, request: RunRequest, expected_s: float, *, anew: bool) -> None:
        """Expect a run, for the progress told.

        Args:
            request: the run.
            expected_s: seconds that it is expected to take.
            anew: whether what was expected before has all ended.
        """
        if anew:
            self._time_left = TimeLeft()
        self._time_left.expect(request.trial.trial_id, expected_s)

    def let_go(self) -> None:
        """Give back every claim that is left."""
        while self._claims:
            self._claims.popitem()[1].close()

    def begin(self, request: RunRequest) -> Task | Answer:
        """Claim the trial, decide where it starts, write that down."""
        trial, length = request.trial, request.length
        trial_id = trial.trial_id
        claim = ExitStack()
        if not claim.enter_context(self._store.claim(trial_id)):
            claim.close()
            return Answer.HELD_BY_ANOTHER_PROCESS
        record = self._store.record(trial_id)
        if is_trained(record, length):
            claim.close()
            return Answer.NOTHING_TO_DO
        known_to_fail = None if record is not None else self._errors.why_not(trial)
        if known_to_fail is not None:
            self._store.begin_trial(_opening_record(request, self._threads, None))
            self._store.finish_trial(
                trial_id, status=Status.ERROR, reason=known_to_fail, traceback=None, peak_bytes=None
            )
            claim.close()
            return Answer.NOTHING_TO_DO
        self._claims[trial_id] = claim
        path = self._store.checkpoint_path(trial_id)
        progress = peek_checkpoint(path)
        # A run that was not looked at where it should have been has to be done again from there.
        watched = record is None or _was_evaluated(record, length)
        resume = watched and progress is not None and progress.versions == library_versions()
        threads = progress.threads if progress is not None and resume else self._threads
        if record is not None and not resume:
            self._store.restart_trial(trial_id)
        if resume and progress is not None:
            self._store.drop_evaluations_after(trial_id, progress.step)
        self._store.begin_trial(_opening_record(request, threads, progress if resume else None))
        from_step = progress.step if resume and progress is not None else 0
        self._began[trial_id] = (from_step, self._clock())
        return Task(
            trial=trial,
            length=length,
            device=self._device,
            threads=threads,
            checkpoint=path,
            resume=resume,
            versions=library_versions(),
            evaluated_sizes=self._evaluated_sizes,
        )

    def evaluated(self, request: RunRequest, evaluations: Sequence[Evaluation]) -> None:
        """Store them at once."""
        self._store.put_evaluations(request.trial.trial_id, evaluations)
        if evaluations:
            self._last_step[request.trial.trial_id] = evaluations[-1].step
            self._tell(request, evaluations[-1].step / request.last_step)

    def ended(self, request: RunRequest, outcome: Outcome) -> None:
        """Store the end; an interrupted trial stays open."""
        trial = request.trial
        trial_id = trial.trial_id
        from_step, began_s = self._began[trial_id]
        self.took[trial_id] = (from_step, self._clock() - began_s)
        if outcome.status is not None:
            self._store.finish_trial(
                trial_id,
                status=outcome.status,
                reason=outcome.reason,
                traceback=outcome.traceback,
                peak_bytes=outcome.peak_bytes,
                notes=(*trial.notes, *outcome.notes),
            )
        self._claims.pop(trial_id).close()
        if outcome.status is not None and not outcome.status.ended_well:
            self._listener.warning(
                f"batch size {trial.batch_size}, learning rate {_rate(trial)}, seed "
                f"{trial.seed}: {outcome.status} ({reason_text(outcome.reason)})"
            )
            step = self._last_step.pop(trial_id, 0)
            if self._errors.note(trial, outcome.status, outcome.reason, step):
                self._listener.warning(
                    f"batch size {trial.batch_size}: two trials ended with the same error, so its "
                    f"others are not trained"
                )
        self._tell(request, 1.0)

    def _tell(self, request: RunRequest, fraction: float) -> None:
        trial = request.trial
        done, left_s = self._time_left.at(trial.trial_id, fraction)
        self._listener.progress(
            done_fraction=done,
            left_s=left_s,
            text=f"batch size {trial.batch_size}, learning rate {_rate(trial)}, seed "
            f"{trial.seed}: {fraction:.0%}",
            short=f"{trial.batch_size} at {_rate(trial)}, seed {trial.seed}: {fraction:.0%}",
        )


def _rate(trial: Trial) -> str:
    return number_text(trial.learning_rate, "rate")


def _opening_record(request: RunRequest, threads: int, progress: Progress | None) -> TrialRecord:
    resumed = () if progress is None else (*progress.resumed_from_steps, progress.step)
    return TrialRecord(
        trial=request.trial,
        status=None,
        engine=ENGINE,
        threads=threads,
        versions=library_versions(),
        target=request.length.until,
        evaluations=(),
        peak_bytes=None,
        resumed_from_steps=resumed,
        notes=request.trial.notes,
    )


def is_trained(record: TrialRecord | None, length: RunLength) -> bool:
    """Whether a stored record answers: trained as far as asked, or a bad end that lasts."""
    if record is None or record.status is None or record.status.may_go_on:
        return False
    if not record.status.ended_well:
        return True
    if not (_was_evaluated(record, length) and _has_end(record, length)):
        return False
    if length.until is not None:
        crossing = record.crossing(length.until)
        if crossing is not None and crossing.held:
            return True
    return record.has_ended_itself or record.steps >= length.last_step(record.trial)


def _was_evaluated(record: TrialRecord, length: RunLength) -> bool:
    """Whether it was evaluated on its way as often, and on as much, as is asked."""
    return was_watched(record, length) and _has_epoch_ends(record, length)


def was_watched(record: TrialRecord, length: RunLength) -> bool:
    """Whether it was evaluated as often as asked where it met the target asked for.

    Runs of the advice are looked at seldom before they may meet theirs; an easier target may have
    been met there.
    """
    crossing = None if length.until is None else record.crossing(length.until)
    if crossing is None:
        return True
    seen_samples = crossing.samples - record.trial.plan.samples_at(crossing.after_step)
    if seen_samples <= _AS_GOOD * length.interval_samples:
        return True
    asked = pauses(
        record.trial.plan,
        last_step=crossing.step,
        after_step=crossing.after_step,
        watched_from_samples=length.watched_from_samples,
        interval_samples=length.interval_samples,
    )
    # Where something waits for epoch ends, there are more evaluations than are asked for.
    return next(asked).step >= crossing.step


def _has_epoch_ends(record: TrialRecord, length: RunLength) -> bool:
    """Whether train and test data were evaluated on the way, where that is asked for.

    Runs of the advice are evaluated on them at the end, or never.
    """
    if length.all_splits != "each_epoch" or not record.evaluations:
        return True
    last_step = record.steps
    asked = {
        pause.step for pause in pauses(record.trial.plan, last_step=last_step) if pause.epoch_end
    }
    asked = {0, *asked} - {last_step}
    return all(each.has_all_splits for each in record.evaluations if each.step in asked)


def _has_end(record: TrialRecord, length: RunLength) -> bool:
    """Whether the last evaluation is one on train and test data too, where that is asked for."""
    is_longer = record.steps > length.last_step(record.trial)
    return length.all_splits == "never" or is_longer or record.evaluations[-1].has_all_splits


def refuse_to_train_over(store: Store, trial: Trial) -> None:
    """A finished trial whose checkpoint cannot be used could only go on by being lost first.

    Raises:
        StoreError: naming the trial and the ways out.
    """
    record = store.record(trial.trial_id)
    if record is None or not record.ended_well:
        return
    progress = peek_checkpoint(store.checkpoint_path(trial.trial_id))
    if progress is not None and progress.versions == library_versions():
        return
    what = "its checkpoint is missing or damaged"
    if progress is not None:
        made_with = ", ".join(" ".join(pair) for pair in progress.versions)
        what = f"it was made with {made_with}, and the numbers of two versions don't mix"
    raise StoreError(
        f"{store.path}: the trial at batch size {trial.batch_size}, learning rate "
        f"{trial.learning_rate:g}, seed {trial.seed} has {record.steps} steps and cannot "
        f"go on: {what}; give another --store to train it anew"
    )
