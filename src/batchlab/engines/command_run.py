"""CommandRun: one run of a command for one request, from its start to its end."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from batchlab.engines.kept_training import KeptTraining
from batchlab.engines.script_course import ScriptCourse, Verdict
from batchlab.errors import ProgressError, StoreError
from batchlab.launching.command_end import CommandEnd
from batchlab.launching.followed import OUTPUT_NAME, FollowedTraining, told_by_log
from batchlab.launching.progress_points import ProgressPoints
from batchlab.launching.reading import Reading
from batchlab.launching.training_command import TrainingCommand
from batchlab.launching.trial_values import trial_values
from batchlab.records.evaluation import Evaluation
from batchlab.records.reason import Reason
from batchlab.records.run import OUT_OF_TIME, RunRequest
from batchlab.records.trial import Status, Trial

_LISTEN_S = 0.25
# A script that was told its length and has come so far has trained to its end.
_NEARLY = 0.9
# Of what `batchlab.log` did not understand so much is told.
_FIRST_COMPLAINTS = 3
# With less than this a script's own words about its progress may not have found room.
_LITTLE_SPACE_BYTES = 256 * 1024


class CommandRun:
    """One run: the command is started, followed, ended where that is due; the store is kept.

    Attributes:
        course: what was told.
        from_step: the step at which it was taken up; 0: it began.
    """

    def __init__(
        self,
        command: TrainingCommand,
        request: RunRequest,
        kept: KeptTraining,
        *,
        folder: Path,
        marker: str,
        grace_s: float,
        left_s: Callable[[], float],
        tell: Callable[[float], None],
        resumes: bool,
    ) -> None:
        """Nothing runs yet.

        Args:
            command: what is run.
            request: for what.
            kept: where its evaluations go.
            folder: of this training.
            marker: names it among all trainings.
            grace_s: from SIGTERM to SIGKILL, in seconds.
            left_s: what is left of the budget, in seconds.
            tell: hears how much of it is done, 0 to 1.
            resumes: whether it is taken up where its last run left {output_dir}; else that folder
                is emptied.
        """
        self._command = command
        self._request = request
        self._kept = kept
        self._folder = folder
        self._marker = marker
        self._grace_s = grace_s
        self._left_s = left_s
        self._tell = tell
        self._resumes = resumes
        earlier = kept.earlier(_of_log(command, request, folder)) if resumes else ()
        self.course = ScriptCourse(request, command.metric, command.direction, earlier=earlier)
        self._points = _points(command, request.trial)
        self._verdict: Verdict | None = None
        self._cut: tuple[Evaluation, ...] | None = None
        self._new: dict[int, Evaluation] = {}
        self._not_understood: dict[str, None] = {}

    @property
    def from_step(self) -> int:
        """The step at which it was taken up; 0: it began."""
        return self.course.taken_up_at or 0

    @property
    def contradictions(self) -> tuple[str, ...]:
        """What in its progress contradicts itself, for its user; values were left out."""
        return tuple(self._points.contradictions)

    def until_done(self) -> tuple[Verdict, CommandEnd]:
        """Run it to its end, or until it is to end; all that counts of it is stored.

        Raises:
            StoreError: the store or the folder cannot be written.
            KeyboardInterrupt: after the script has ended and what it told is stored.
        """
        with self._started() as training:
            try:
                end = self._followed(training)
            except KeyboardInterrupt:
                self._ended_early(training)
                raise
        if not end.was_asked:
            _refuse_full_disk(self._folder)
        return self._verdict or self._verdict_of_end(end), end

    def could_not_be_taken_up(self, end: CommandEnd) -> bool:
        """Whether it was to go on, and ended by itself before it told anything of its metric."""
        if not self._resumes or self.course.n_made or end.was_asked:
            return False
        return end.status in (Status.OK, Status.ERROR)

    def keep(self, verdict: Verdict) -> None:
        """Store what is left of it; its status comes after that."""
        self._put()
        self._kept.end(self.course, self._counted(), verdict)

    def notes(self, verdict: Verdict, end: CommandEnd) -> tuple[Reason, ...]:
        """What a reader of its record must know beside its batches."""
        return (*self._notes_of_length(verdict), *self._notes_of_trouble(end))

    def _notes_of_trouble(self, end: CommandEnd) -> Iterator[Reason]:
        if end.left_behind is not None and not end.was_asked:
            yield end.left_behind
        if self._not_understood:
            yield Reason.of("log_not_understood", told=", ".join(self._not_understood))

    def _notes_of_length(self, verdict: Verdict) -> tuple[Reason, ...]:
        counted = self._counted()
        last = counted[-1].step if counted else 0
        asked = self._request.last_step
        if verdict.status is not Status.OK or last >= asked:
            return ()
        # By all that it told: its metric may come more seldom than its steps.
        step = self.course.step
        is_whole = step >= min(_NEARLY * asked, _steps_without_smaller_batches(self._request))
        note = Reason.of("script_ended_itself", step=step, asked=asked)
        if self._command.spans_a_length:
            note = Reason.of("script_stopped_early", step=last, asked=asked)
            if is_whole:
                note = Reason.of("metric_told_before_end", step=last, asked=asked)
        elif is_whole or self._request.length.to_own_end:
            note = Reason.of("script_trained_to_its_end", step=step)
        return (note,)

    # ---- one start

    @contextmanager
    def _started(self) -> Iterator[FollowedTraining]:
        request = self._request
        values = trial_values(request.trial, last_step=request.last_step)
        output_dir = self._folder / OUTPUT_NAME
        if self._resumes:
            values["resume_from"] = output_dir
        else:
            shutil.rmtree(output_dir, ignore_errors=True)
        with _explained(self._folder):
            training = FollowedTraining(
                self._command,
                values,
                folder=self._folder,
                marker=self._marker,
                grace_s=self._grace_s,
                goes_on=self._resumes,
            )
        with training:
            yield training

    def _followed(self, training: FollowedTraining) -> CommandEnd:
        end: CommandEnd | None = None
        while end is None:
            readings, end = training.listen(_LISTEN_S)
            self._take(readings, training)
            self._look_at_time(training)
            if self._verdict is not None and end is None:
                training.end()
        return end

    def _look_at_time(self, training: FollowedTraining) -> None:
        """End it as the budget ends; what it says after that is not even read."""
        left_s = self._left_s()
        if self._verdict is None and left_s <= self._grace_s:
            self._verdict = Verdict(status=Status.TIMEOUT, reason=OUT_OF_TIME)
            training.end()  # here, in the middle of what it told: its grace begins now
        if left_s <= 0:
            training.stop_reading()

    def _ended_early(self, training: FollowedTraining) -> None:
        """Have it end as at the end of a budget: a script that saves where it is can do so."""
        training.end()
        end: CommandEnd | None = None
        while end is None:
            readings, end = training.listen(_LISTEN_S)
            self._take(readings, training)
        self._put()

    def _counted(self) -> tuple[Evaluation, ...]:
        """The evaluations up to the verdict."""
        return self.course.evaluations if self._cut is None else self._cut

    def _put(self) -> None:
        self._kept.put(self.course, tuple(self._new.values()), self._counted)
        self._new.clear()

    def _take(self, readings: Sequence[Reading], training: FollowedTraining) -> None:
        """Take in what the script has told; after a verdict only what a longer run needs."""
        if self._cut is not None and not self._command.template.can_resume:
            return
        for reading in readings:
            self._look_at_time(training)
            self._note_not_understood(reading)
            try:
                for made in _added(self._request.trial, self.course, self._points, reading):
                    self._judge(made)
            except ProgressError as error:
                if self._cut is None:
                    reason = Reason.as_written(str(error))
                    self._decided(Verdict(status=Status.ERROR, reason=reason))
                break
            if self._cut is not None and not self._command.template.can_resume:
                break
        if readings:
            self._put()
            self._tell(min(1.0, self.course.step / self._request.last_step))

    def _judge(self, made: Evaluation | None) -> None:
        """Whether the training is to end by what was just added; what comes later does not count.

        Args:
            made: a new evaluation; None: only steps were told, or a loss.
        """
        if self._cut is not None:
            return
        if made is not None:
            self._new[made.step] = made
        verdict = self.course.verdict()
        if verdict is not None:
            self._decided(verdict)

    def _note_not_understood(self, reading: Reading) -> None:
        for told in reading.not_understood:
            if len(self._not_understood) < _FIRST_COMPLAINTS:
                self._not_understood[told] = None

    def _decided(self, verdict: Verdict) -> None:
        self._verdict = self._verdict or verdict
        self._cut = self.course.evaluations

    def _verdict_of_end(self, end: CommandEnd) -> Verdict:
        """What it means that the script ended by itself."""
        if end.status is not Status.OK:
            return Verdict(status=end.status, reason=end.reason)
        if not self.course.evaluations:
            reason = Reason.of("metric_never_seen", metric=self._command.metric)
            return Verdict(status=Status.ERROR, reason=reason)
        # It ended well: by its own early stopping, or because it is never told how long to train.
        return Verdict(status=Status.OK)


def _steps_without_smaller_batches(request: RunRequest) -> int:
    """The steps of as many epochs in a script that leaves out the smaller last batch of each."""
    epochs = request.trial.plan.epoch_at(request.last_step)
    return int(epochs * replace(request.trial, drop_last=True).plan.steps_in(1))


def _points(command: TrainingCommand, trial: Trial) -> ProgressPoints:
    return ProgressPoints(
        command.metric,
        batch_size=trial.batch_size,
        counted_batch_size=trial.micro_batch_size,
        n_train=trial.n_train,
    )


def _of_log(command: TrainingCommand, request: RunRequest, folder: Path) -> tuple[Evaluation, ...]:
    """What earlier runs of a training told by `batchlab.log`, each going on from the one before."""
    evaluations: tuple[Evaluation, ...] = ()
    for readings in told_by_log(folder):
        course = ScriptCourse(request, command.metric, command.direction, earlier=evaluations)
        points = _points(command, request.trial)
        try:
            for reading in readings:
                for _ in _added(request.trial, course, points, reading):
                    pass
        except ProgressError:
            continue  # its run has ended with that reason
        evaluations = course.evaluations or evaluations
    return evaluations


def _added(
    trial: Trial, course: ScriptCourse, points: ProgressPoints, reading: Reading
) -> Iterator[Evaluation | None]:
    """Add a reading to a course: each evaluation that it takes in, and None for one without.

    Raises:
        ProgressError: it contradicts what was told before.
    """
    point = points.add(reading)
    samples = points.samples_at(reading) if point is None else point.samples
    if samples is None:
        return
    updates = points.updates_at(reading) if point is None else point.updates
    step = trial.plan.step_at(samples) if updates is None else updates
    values = dict(reading.values)
    if point is not None:
        values[course.metric] = point.value
    else:
        values.pop(course.metric, None)  # left out, or another shape's
    yield from course.begun(step, reading.at_s)
    yield course.add(values, step=step, samples=trial.plan.samples_at(step), at_s=reading.at_s)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Raise what the system says about a folder as a `StoreError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_is_full(folder) from error
        raise StoreError(
            f"{folder} cannot be written ({error.strerror}); give another --store, in a folder "
            f"that you may write to"
        ) from error


def _refuse_full_disk(folder: Path) -> None:
    """Refuse to judge a script whose words may not have found room.

    Raises:
        StoreError: the disk is full.
    """
    if shutil.disk_usage(folder).free < _LITTLE_SPACE_BYTES:
        raise _disk_is_full(folder)


def _disk_is_full(folder: Path) -> StoreError:
    return StoreError(
        f"{folder}: the disk is full; free some space, then run the same command again (what was "
        f"stored before is kept)"
    )
