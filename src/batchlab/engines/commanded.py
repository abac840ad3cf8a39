"""CommandEngine: answers with trainings of somebody's own command, one at a time, into a store."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from batchlab.engines.command_answer import ENDED_ITSELF, LAST_TOLD, answer, is_answered
from batchlab.engines.contract import Capabilities, RunPlan
from batchlab.engines.cost_model import CostModel
from batchlab.engines.rows.command import ROW
from batchlab.engines.script_course import ScriptCourse, Verdict
from batchlab.engines.time_left import TimeLeft
from batchlab.errors import ProgressError, TrialError
from batchlab.launching.command_end import CommandEnd
from batchlab.launching.failure_count import FailureCount
from batchlab.launching.followed import FollowedTraining
from batchlab.launching.process_tree import end_leftovers
from batchlab.launching.progress_points import ProgressPoints
from batchlab.launching.reading import Reading
from batchlab.launching.training_command import TrainingCommand
from batchlab.launching.trial_values import trial_values
from batchlab.records.evaluation import Evaluation
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.reason import Reason
from batchlab.records.run import OUT_OF_TIME, RunEnd, RunRequest
from batchlab.records.run_length import RunLength
from batchlab.records.trial import Status, Trial, TrialRecord
from batchlab.store.store import Store
from batchlab.words.catalogue import number_text
from batchlab.words.reasons import reason_text

# A training that is to end has so long from SIGTERM to SIGKILL: this, or where the time is short
# this part of it.
_GRACE_S = 10.0
_GRACE_FRACTION = 0.05
_LISTEN_S = 0.25
_CLAIM_EVERY_S = 0.25
_UNKNOWN_STEP_S = 1.0


class CommandEngine:
    """Runs a command for what it is asked; the store holds what it told (an `Engine`).

    One at a time: a script takes as many threads as it likes, and its step times are its own.
    """

    name = ROW.name
    n_workers = 1

    def __init__(
        self,
        store: Store,
        command: TrainingCommand,
        plan: RunPlan,
        listener: ProgressListener,
        *,
        started_s: float,
        budget_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer from `store`, and with trainings of `command`.

        Args:
            store: where all is written down; it knows the command's workload.
            command: what is run.
            plan: what all runs share.
            listener: told how it gets on.
            started_s: the reading of `clock` from which the budget counts.
            budget_s: seconds after which no run goes on; None: there is no end.
            clock: a monotonic clock, in seconds.
        """
        self.cost_model = CostModel()
        self._store = store
        self._command = command
        self._plan = plan
        self._listener = listener
        self._started_s = started_s
        self._budget_s = budget_s
        self._clock = clock
        self._submitted: deque[RunRequest] = deque()
        self._time_left = TimeLeft()
        self._failures = FailureCount()
        end_leftovers(self.marker)

    @property
    def capabilities(self) -> Capabilities:
        """What its placeholders let a command do."""
        takes_rate = self._command.takes("learning_rate")
        return replace(ROW.capabilities, any_learning_rate=takes_rate)

    @property
    def n_seeds(self) -> int | None:
        """Any number: without {seed} a script draws its own."""
        return None

    def learning_rates(self, batch_size: int) -> Sequence[float] | None:
        """Any rate, where the command takes one."""
        if self._command.takes("learning_rate"):
            return None
        return (self._plan.trial.learning_rate,)

    def trial(self, *, batch_size: int, learning_rate: float, seed: int) -> Trial:
        """The trial of these three, everything else as the question has it."""
        trial = replace(
            self._plan.trial,
            batch_size=batch_size,
            micro_batch_size=self._plan.micro_batch_sizes.get(batch_size, batch_size),
            learning_rate=learning_rate,
            seed=seed,
        )
        if self._plan.horizon_epochs is None:
            return trial
        return replace(trial, horizon_steps=trial.plan.steps_in(self._plan.horizon_epochs))

    def expected_s(self, batch_size: int, length: RunLength) -> float:
        """Seconds that a run takes, start and evaluations too."""
        trial = replace(self._plan.trial, batch_size=batch_size)
        return self.cost_model.expected_s(trial, length, step_s=self._step_s(batch_size))

    def evaluation_steps(self, batch_size: int) -> float:
        """Not known: a script tells its steps and its evaluations together."""
        return 0.0

    def spent_s(self) -> float:
        """Seconds of the budget spent by the clock: those since `started_s`."""
        return self._clock() - self._started_s

    def submit(self, request: RunRequest) -> None:
        """Put it last."""
        if not self._submitted:
            self._time_left = TimeLeft()
        expected_s = self.expected_s(request.trial.batch_size, request.length)
        self._time_left.expect(request.trial.trial_id, expected_s)
        self._submitted.append(request)

    def next_finished(self) -> RunEnd:
        """The answer to the first: from the store, or trained until the budget ends.

        Raises:
            StoreError: the store cannot be used.
            TrialError: the command fails again and again in the same way.
            KeyboardInterrupt: after everything has been stored.
        """
        request = self._submitted[0]
        with ExitStack() as claim:
            self._claim(claim, request)
            record = self._store.record(request.trial.trial_id)
            if not is_answered(record, request.length):
                if self._left_s() <= self._grace_s:
                    self._submitted.popleft()
                    return RunEnd(request=request, record=_in_time(record, request, self.name))
                self._train(request, is_begun=record is not None)
                record = self._store.record(request.trial.trial_id)
        assert record is not None
        self._submitted.popleft()
        return RunEnd(request=request, record=answer(record, request.length))

    def cancel(self) -> None:
        """Forget what has not begun; nothing runs outside of `next_finished`."""
        self._submitted.clear()

    # ---- one training

    def _claim(self, claim: ExitStack, request: RunRequest) -> None:
        """Hold the trial for this process; another that trains it is waited for."""
        while not claim.enter_context(self._store.claim(request.trial.trial_id)):
            claim.close()
            if self._left_s() <= self._grace_s:
                return
            time.sleep(_CLAIM_EVERY_S)

    def _train(self, request: RunRequest, *, is_begun: bool) -> None:
        trial_id = request.trial.trial_id
        if is_begun:
            self._store.restart_trial(trial_id)
        self._store.begin_trial(_opening_record(request, self.name))
        began_s = self._clock()
        course, end, verdict = self._followed(request)
        verdict = verdict or self._verdict_of_end(course, end, request)
        self._store.finish_trial(
            trial_id,
            status=verdict.status,
            reason=verdict.reason,
            traceback=_tail(end) if verdict.status is Status.ERROR else None,
            peak_bytes=None if end is None or end.peak is None else end.peak.bytes,
            notes=(*request.trial.notes, *_last_told(course, verdict, request)),
        )
        self._learn(request.trial, self._clock() - began_s)
        self._tell(request, 1.0)
        if not verdict.status.ended_well and verdict.reason != OUT_OF_TIME:
            self._warn(request.trial, verdict)
        if end is not None and verdict.status is Status.ERROR:
            self._stop_if_hopeless(end)

    def _followed(
        self, request: RunRequest
    ) -> tuple[ScriptCourse, CommandEnd | None, Verdict | None]:
        """Run it to its end, or until it is to end."""
        trial = request.trial
        course = ScriptCourse(request, self._command.metric, self._command.direction)
        points = ProgressPoints(
            self._command.metric,
            batch_size=trial.batch_size,
            counted_batch_size=trial.micro_batch_size,
            n_train=trial.n_train,
        )
        verdict: Verdict | None = None
        folder = self._store.trial_folder(trial.trial_id)
        with FollowedTraining(
            self._command,
            trial_values(trial, last_step=request.last_step),
            folder=folder,
            marker=f"{self.marker}/{trial.trial_id}",
            grace_s=self._grace_s,
        ) as training:
            end: CommandEnd | None = None
            while end is None:
                readings, end = training.listen(_LISTEN_S)
                verdict = verdict or self._taken(request, course, points, readings)
                if verdict is None and self._left_s() <= self._grace_s:
                    verdict = Verdict(status=Status.TIMEOUT, reason=OUT_OF_TIME)
                if verdict is not None and end is None:
                    training.end()
        return course, end, verdict

    def _taken(
        self,
        request: RunRequest,
        course: ScriptCourse,
        points: ProgressPoints,
        readings: Sequence[Reading],
    ) -> Verdict | None:
        """Store what the script has told; whether the training is to end."""
        verdict, made = None, []
        for reading in readings:
            try:
                evaluation = _evaluation(request.trial, course, points, reading)
            except ProgressError as error:
                verdict = Verdict(status=Status.ERROR, reason=Reason.as_written(str(error)))
                break
            made += [] if evaluation is None else [evaluation]
            verdict = course.verdict()
            if verdict is not None:
                break
        if made:  # all in one: a fast script tells a hundred a second
            self._store.put_evaluations(request.trial.trial_id, made)
        if readings:
            self._tell(request, min(1.0, course.step / request.last_step))
        return verdict

    def _verdict_of_end(
        self, course: ScriptCourse, end: CommandEnd | None, request: RunRequest
    ) -> Verdict:
        """What it means that the script ended by itself."""
        assert end is not None
        if end.status is not Status.OK:
            return Verdict(status=end.status, reason=end.reason)
        if not course.evaluations:
            return Verdict(
                status=Status.ERROR,
                reason=Reason.of("metric_never_seen", metric=self._command.metric),
            )
        # It was told how long to train, and its last evaluation may lie before the end.
        is_whole = self._command.spans_a_length
        if is_whole or course.step >= request.last_step:
            return Verdict(status=Status.OK)
        reason = Reason.of(ENDED_ITSELF, step=course.step, asked=request.last_step)
        return Verdict(status=Status.TIMEOUT, reason=reason)

    def _stop_if_hopeless(self, end: CommandEnd) -> None:
        """End the study where the same failure came again and again.

        Raises:
            TrialError: with the command's last lines.
        """
        why = self._failures.add(end)
        if why is not None:
            said = " | ".join(end.last_lines[-3:])
            raise TrialError(f"the study stops: {reason_text(why)}. Its last lines: {said}")

    def _learn(self, trial: Trial, wall_s: float) -> None:
        record = self._store.record(trial.trial_id)
        if record is not None:
            self.cost_model = self.cost_model.with_run(
                record, from_step=0, wall_s=wall_s, step_s=self._step_s(trial.batch_size)
            )

    # ---- what is told

    def _tell(self, request: RunRequest, fraction: float) -> None:
        trial = request.trial
        done, left_s = self._time_left.at(trial.trial_id, fraction)
        rate = number_text(trial.learning_rate, "rate")
        self._listener.progress(
            done_fraction=done,
            left_s=left_s,
            text=f"batch size {trial.batch_size}, learning rate {rate}, seed {trial.seed}: "
            f"{fraction:.0%}",
            short=f"{trial.batch_size} at {rate}, seed {trial.seed}: {fraction:.0%}",
        )

    def _warn(self, trial: Trial, verdict: Verdict) -> None:
        rate = number_text(trial.learning_rate, "rate")
        self._listener.warning(
            f"batch size {trial.batch_size}, learning rate {rate}, seed {trial.seed}: "
            f"{verdict.status} ({reason_text(verdict.reason)})"
        )

    # ---- time

    @property
    def marker(self) -> str:
        """Marks the processes of this store's trainings of this command."""
        return f"{self._store.path.absolute()}-{self._plan.trial.workload_id}"

    @property
    def _grace_s(self) -> float:
        if self._budget_s is None:
            return _GRACE_S
        return min(_GRACE_S, _GRACE_FRACTION * self._budget_s)

    def _left_s(self) -> float:
        return math.inf if self._budget_s is None else self._budget_s - self.spent_s()

    def _step_s(self, batch_size: int) -> float:
        return self._plan.step_s.get(batch_size, _UNKNOWN_STEP_S)


def _evaluation(
    trial: Trial, course: ScriptCourse, points: ProgressPoints, reading: Reading
) -> Evaluation | None:
    """The evaluation that a reading is; None: it is none.

    Raises:
        ProgressError: it contradicts what was told before.
    """
    point = points.add(reading)
    samples = points.samples_at(reading) if point is None else point.samples
    if samples is None:
        return None
    step = trial.plan.step_at(samples) if reading.step is None else reading.step
    values = dict(reading.values)
    if point is not None:
        values[course.metric] = point.value
    return course.add(values, step=step, samples=trial.plan.samples_at(step), at_s=reading.at_s)


def _last_told(course: ScriptCourse, verdict: Verdict, request: RunRequest) -> tuple[Reason, ...]:
    """That a whole training told its metric last before its end."""
    last = course.evaluations[-1].step if course.evaluations else 0
    if verdict.status is not Status.OK or last >= request.last_step:
        return ()
    return (Reason.of(LAST_TOLD, step=last, asked=request.last_step),)


def _in_time(record: TrialRecord | None, request: RunRequest, engine: str) -> TrialRecord:
    """What is known of a training for which no time was left."""
    if record is None:
        return request.never_begun(engine)
    return replace(record, status=Status.TIMEOUT, reason=OUT_OF_TIME, target=request.length.until)


def _opening_record(request: RunRequest, engine: str) -> TrialRecord:
    return TrialRecord(
        trial=request.trial,
        status=None,
        engine=engine,
        threads=1,
        versions=(),
        target=request.length.until,
        evaluations=(),
        peak_bytes=None,
        notes=request.trial.notes,
    )


def _tail(end: CommandEnd | None) -> str | None:
    return None if end is None else "\n".join(end.last_lines)
