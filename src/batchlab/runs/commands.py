"""CommandEngine: an engine that trains with a user's own command, one run at a time."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from batchlab.errors import ProgressError, StoreError, TrialError
from batchlab.processes.children import OWN_END_S
from batchlab.records.estimate import Reason
from batchlab.records.run import OUT_OF_TIME, Outcome, RunRequest
from batchlab.records.trial import NOT_AS_GIVEN, Evaluation, Status, Trial, TrialRecord
from batchlab.runs.contract import RunPlan
from batchlab.runs.engine import StoredEngine
from batchlab.runs.script_course import ScriptCourse
from batchlab.script.command import TrainingCommand, trial_values
from batchlab.script.follow import OUTPUT_NAME, FollowedTraining, logged_runs
from batchlab.script.process import CommandEnd, end_marked
from batchlab.script.reading import Reading
from batchlab.store.file import is_disk_full
from batchlab.store.store import Store
from batchlab.words.reasons import reason_text

# A script that did at least this fraction of the requested steps counts as trained to its end.
_NEARLY = 0.9
# A training that ended with one of these statuses is not resumed but starts again at step 0.
_NOT_TAKEN_UP = (Status.ERROR, Status.OOM, Status.NAN, Status.DIVERGED)
_NAME = "command"


class CommandRun:
    """One run of a command: starts the command, reads its progress, and stores the evaluations.

    The evaluations of an earlier run of the trial remain stored until this run has done as many
    steps as the earlier run. So no evaluations are lost if batchlab is killed, and all stored
    evaluations of a trial come from one training.
    """

    def __init__(
        self,
        store: Store,
        command: TrainingCommand,
        request: RunRequest,
        known: TrialRecord | None,
        *,
        marker: str,
        grace_s: float,
        left_s: Callable[[], float],
        tell: Callable[[float], None],
    ) -> None:
        """Store that the run starts or resumes; `until_done` then starts the command.

        The run resumes if the trial's `known` record has evaluations and no failure, the command
        has the placeholder {resume_from}, and the output folder contains files. Otherwise, the run
        starts at step 0 with an empty output folder.
        """
        self._store, self._command, self._request = store, command, request
        self._marker, self._grace_s, self._left_s, self._tell = marker, grace_s, left_s, tell
        self._trial_id = request.trial.trial_id
        opening = request.opening(_NAME)
        before = known or opening
        self._before, self._resumed = before.evaluations, before.resumed_from_steps
        self._folder = store.trial_folder(self._trial_id)
        self._is_ahead = not self._before
        self._verdict: Outcome | None = None
        # Omit the note about smaller last batches: it is unknown whether the script trains on them.
        notes = tuple(note for note in request.trial.notes if note.code != "last_batch_smaller")
        self.opening = replace(opening, resumed_from_steps=self._resumed, notes=notes)
        store.put_record(self.opening)
        self.resumes = (
            command.takes("resume_from")
            and bool(self._before)
            and before.status not in _NOT_TAKEN_UP
            and any((self._folder / OUTPUT_NAME).glob("*"))
        )
        earlier = self._earlier() if self.resumes else ()
        self.course = ScriptCourse(request, command, earlier=earlier)

    def _earlier(self) -> tuple[Evaluation, ...]:
        """Return the stored evaluations of the earlier run, then later ones from its log file."""
        logged: list[Evaluation] = []  # The evaluations of runs that resumed one another.
        for readings in logged_runs(self._folder, metric=self._command.metric):
            course = ScriptCourse(self._request, self._command, earlier=logged)
            # Use the evaluations before such an error.
            with suppress(ProgressError):
                for reading in readings:
                    course.take(reading)
                logged = course.evaluations or logged
        last = self._before[-1].step
        return (*self._before, *(evaluation for evaluation in logged if evaluation.step > last))

    def begin_again(self) -> None:
        """Prepare to train from step 0, because the earlier run could not be resumed."""
        self.resumes, self._verdict = False, None
        self.course = ScriptCourse(self._request, self._command)

    def _put(self) -> None:
        """Store new evaluations; those of a repeated run once it is as far as the earlier run."""
        course = self.course
        new, furthest = tuple(course.unstored.values()), max(course.unstored, default=0)
        course.unstored.clear()
        if not new:
            return
        if self._is_ahead and not course.is_renamed:
            # Store them all in one call, because a script may report 100 evaluations per second.
            self._store.put_evaluations(self._trial_id, new)
        elif self._is_ahead or furthest >= self._before[-1].step:
            self._replace()

    def finish(self, status: Status | None) -> None:
        """Store the evaluations that are not stored yet; call this before storing the status.

        If this run failed or was interrupted before it had as many steps as the earlier run, the
        earlier run's evaluations remain stored.
        """
        self._put()
        assert status is not None
        if not self._is_ahead and not (status.may_go_on or status is Status.OOM):
            self._replace()

    def _replace(self) -> None:
        course = self.course
        course.is_renamed = False
        from_step, resumed = course.taken_up_at, self._resumed
        # A run that added no evaluation does not count as a resumed run.
        if from_step is None:
            resumed = ()
        elif not course.evaluations or from_step < course.last_step:
            resumed = (*resumed, from_step)
        self.opening = replace(self.opening, resumed_from_steps=resumed)
        self._store.put_record(
            replace(self.opening, evaluations=tuple(course.evaluations)), keep_until=-1
        )
        self._is_ahead = True

    def until_done(self) -> tuple[Outcome, CommandEnd]:
        """Run the command and store its evaluations; return the outcome and the process's end.

        Raises:
            StoreError: the store or the folder cannot be written.
            KeyboardInterrupt: after the script has ended and its progress is stored.
        """
        with self._started() as training:
            try:
                end = training.follow(lambda readings: self._take(readings, training))
                if self._verdict is None and end.status is not Status.OK:
                    time.sleep(OWN_END_S)
            except KeyboardInterrupt:
                # Let the script write its checkpoint before it ends, as at the end of a budget.
                training.end()
                training.follow(lambda readings: self._take(readings, training))
                self._put()
                raise
        if not end.was_asked and is_disk_full(self._folder):
            raise _cannot_be_written(self._folder, "the disk is full")  # evaluations may be lost
        return self._verdict or self._verdict_of_end(end), end

    def could_not_be_taken_up(self, end: CommandEnd) -> bool:
        """Return whether a resumed run ended by itself before it reported any metric value."""
        if not self.resumes or self.course.n_made or end.was_asked:
            return False
        return end.status in (Status.OK, Status.ERROR)

    def notes(self, verdict: Outcome) -> tuple[Reason, ...]:
        """Return notes on the run's length, and on logged values that are not numbers."""
        notes = [self._note_of_length(verdict)]
        if not_understood := self.course.points.not_understood:
            notes.append(Reason.of("log_not_understood", values=", ".join(not_understood)))
        return tuple(filter(None, notes))

    def _note_of_length(self, verdict: Outcome) -> Reason | None:
        last, last_asked = self.course.last_step, self._request.last_step
        if verdict.status is not Status.OK or last >= last_asked:
            return None
        # Use the last printed step, because a script may print steps more often than the metric.
        step = self.course.step
        is_whole = step >= min(_NEARLY * last_asked, _steps_without_smaller_batches(self._request))
        has_length = self._command.spans_a_length
        if is_whole and has_length:
            return Reason.of("metric_reported_before_end", step=last, asked=last_asked)
        if is_whole or has_length or self._request.length.to_own_end:
            return Reason.of("script_trained_to_its_end", step=step)
        return Reason.of("script_ended_itself", step=step, asked=last_asked)

    def _started(self) -> FollowedTraining:
        request, folder = self._request, self._folder
        values = trial_values(request.trial, last_step=request.last_step)
        if self.resumes:
            values["resume_from"] = folder / OUTPUT_NAME
        else:
            shutil.rmtree(folder / OUTPUT_NAME, ignore_errors=True)
        try:
            return FollowedTraining(
                self._command,
                values,
                folder=folder,
                marker=self._marker,
                grace_s=self._grace_s,
                goes_on=self.resumes,
            )
        except OSError as error:
            raise _cannot_be_written(folder, str(error.strerror)) from error

    def _take(self, readings: Sequence[Reading], training: FollowedTraining) -> bool:
        """Process the script's new progress, and return whether the script has to end.

        It has to end shortly before the end of the budget. After the budget, no output is read.
        """
        with suppress(ProgressError):  # The error is stored in `self.course.ended`.
            for reading in readings:
                self.course.take(reading)
        self._verdict = self._verdict or self.course.ended
        if readings:
            self._put()
            self._tell(min(1.0, self.course.step / self._request.last_step))
        left_s = self._left_s()
        if self._verdict is None and left_s <= self._grace_s:
            self._verdict = Outcome(status=Status.TIMEOUT, reason=OUT_OF_TIME)
        if left_s <= 0:
            training.stop_reading()
        return self._verdict is not None

    def _verdict_of_end(self, end: CommandEnd) -> Outcome:
        if end.status is not Status.OK:
            return Outcome(status=end.status, reason=end.reason)
        if not self.course.evaluations:
            reason = Reason.of("metric_never_seen", metric=self._command.metric)
            return Outcome(status=Status.ERROR, reason=reason)
        # The script ended without an error before the requested step, perhaps by early stopping.
        return self.course.whole()


def _steps_without_smaller_batches(request: RunRequest) -> int:
    """Return the steps of the requested epochs, not counting the epochs' smaller last batches."""
    epochs = request.trial.plan.epoch_at(request.last_step)
    return int(epochs * replace(request.trial, drop_last=True).plan.steps_in(1))


def _cannot_be_written(folder: Path, trouble: str) -> StoreError:
    return StoreError(
        f"{folder}: {trouble}; free some space or give another --store, then run the same command "
        f"again (what was stored before is kept)"
    )


# This many failures of one kind stop a study. Failures that differ only in paths, addresses and
# numbers are of one kind.
_ENOUGH_FAILURES = 3
_VARIES = re.compile(r"(?:[\w.~-]*/)+[\w.-]*|0x[0-9a-fA-F]+|\d+")
# The codes of notes that are also shown as warnings, because the user can solve their problems.
_WARNED = ("script_ended_itself", "log_not_understood")


class CommandEngine(StoredEngine):
    """An `Engine` that trains by running a command.

    Runs are trained one at a time, because a script may use all cores, and a second run would
    slow the steps of the first run.
    """

    name = _NAME
    keeps_cadence = False
    _longest_grace_s = 10.0  # seconds from SIGTERM to SIGKILL
    _grace_fraction = 0.05

    def __init__(self, store: Store, command: TrainingCommand, plan: RunPlan) -> None:
        super().__init__(store, plan)
        self.resumes = command.takes("resume_from")
        self._command = command
        self._takes_rate = command.takes("learning_rate")
        self._failures: Counter[object] = Counter()  # the number of failures of each kind

    def learning_rates(self, batch_size: int, horizon: float = 1.0) -> Sequence[float] | None:
        """Return None (any rate) if the command accepts a learning rate, else the plan's rate."""
        return None if self._takes_rate else (self._plan.trial.learning_rate,)

    # ---- one training

    @property
    def _n_running(self) -> int:
        return len(self._ended)  # Only ended runs count, because `_start` waits for a run's end.

    def _start(self, request: RunRequest, record: TrialRecord | None, claim: ExitStack) -> None:
        """Train until the run or the budget ends, and store how the run ended."""
        trial = request.trial
        began_s = self._clock()
        marker = f"{self.marker}/{trial.trial_id}"
        if record is not None:
            # End the processes that a killed batchlab started and that still train this trial.
            end_marked(marker)
        run = CommandRun(
            *(self._store, self._command, request, record),
            marker=marker,
            grace_s=self._grace_s,
            left_s=self._left_s,
            tell=lambda fraction: self._tell(request, fraction),
        )
        verdict, end = run.until_done()
        if run.could_not_be_taken_up(end):
            cause = reason_text(end.reason) or "it reported nothing new"
            self._listener.warning(
                f"{self._named(trial)}: it did not go on from {{resume_from}} "
                f"({cause.rstrip('.')}), so it begins again"
            )
            run.begin_again()
            verdict, end = run.until_done()
        run.finish(verdict.status)
        outcome = replace(verdict, peak_bytes=end.peak_bytes, notes=run.notes(verdict))
        if verdict.status is Status.ERROR:
            outcome = replace(outcome, traceback="\n".join(end.last_lines))
        self._store.put_record(outcome.ends(run.opening))
        ran = (run.course.taken_up_at or 0, self._clock() - began_s)
        self._ended.append((request, ran))
        self._tell(request, 1.0)
        warned = [reason_text(note) for note in outcome.notes if note.code in _WARNED]
        if run.course.points.left_out is not None:
            warned.append(run.course.points.left_out)
        for text in filter(self._is_new, warned):
            self._listener.warning(f"{self._named(trial)}: {text}")
        self._warn_of_bad_end(trial, outcome)
        if outcome.status is Status.ERROR and outcome.reason and self._is_as_long(trial):
            self._stop_if_hopeless(end, outcome.reason)

    def _is_as_long(self, trial: Trial) -> bool:
        """Return whether the trial's learning-rate schedule has the planned length."""
        planned, steps = self._plan.horizon_epochs, trial.horizon_steps
        return planned is None or steps is None or steps == trial.plan.steps_in(planned)

    def _stop_if_hopeless(self, end: CommandEnd, reason: Reason) -> None:
        """Raise an error if this is the third failure of one kind, not due to the batch size."""
        if reason.code in NOT_AS_GIVEN:
            return
        kind = (reason.code, _VARIES.sub("#", repr(reason.values)))
        self._failures[kind] += 1
        if self._failures[kind] >= _ENOUGH_FAILURES:
            again = Reason.of("same_failure_again", n=self._failures[kind], why=reason)
            last_lines = " | ".join(end.last_lines[-3:])
            raise TrialError(f"the study stops: {reason_text(again)}. Its last lines: {last_lines}")

    # ---- time

    @property
    def marker(self) -> str:
        """The text that identifies the processes that train this workload for this store."""
        return f"{self._store.path.absolute()}-{self._plan.trial.workload_id}"
