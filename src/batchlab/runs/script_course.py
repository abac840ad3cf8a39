"""ScriptCourse: the evaluations of one training, taken from the progress of its script."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from operator import attrgetter

from batchlab.errors import OtherBatchSizeError, ProgressError
from batchlab.records.estimate import Reason
from batchlab.records.quantities import Better, direction_of
from batchlab.records.run import Outcome, RunRequest
from batchlab.records.trial import Evaluation, Score, Status, Target, crossing_of
from batchlab.script.command import TrainingCommand
from batchlab.script.metric import BATCH_LOSSES, ProgressPoints, plain_name
from batchlab.script.reading import Reading
from batchlab.training.plain import divergence

# If at least this many evaluations have the same imperfect value, the model was not trained.
_FEWEST_STILL = 3
_step_of = attrgetter("step")
_PERFECT: dict[Better, set[float | None]] = {"lower": {0.0}, "higher": {1.0, 100.0}}


class ScriptCourse:
    """The evaluations that a script has reported, and whether its training has to end now.

    Once the training has to end, further progress is ignored.
    """

    def __init__(
        self, request: RunRequest, command: TrainingCommand, *, earlier: Sequence[Evaluation] = ()
    ) -> None:
        """Start without any evaluation; `earlier` has those of the run that this run resumes.

        The earlier evaluations are in the order of steps. Only those before this run's first step
        are used.
        """
        self._request = request
        self._metric = command.metric  # the validation metric of the study
        self._better = command.direction
        self._earlier = tuple(earlier)
        self.evaluations: list[Evaluation] = []  # All evaluations, in the order of their steps.
        self._began_s: float | None = None
        self._losses: list[float] = []
        self._lost_at: int | None = None
        size = command.trained_size(request.trial)
        self.points = ProgressPoints(command.metric, request.trial, command.pattern, size=size)
        self.unstored: dict[int, Evaluation] = {}  # New evaluations by step, stored by the caller.
        self.ended: Outcome | None = None  # The outcome, once the training has to end.
        self.step = 0  # The highest number of optimizer steps that was reported.
        self.n_made = 0
        self._first_told: dict[str, float] = {}  # The first reported value of each metric.
        self._has_moved = False
        self.taken_up_at: int | None = None
        # True if evaluations turned out to be of another metric with a similar name: the caller
        # has to replace the stored ones.
        self.is_renamed = False

    @property
    def last_step(self) -> int:
        """The step of the last evaluation, or 0 without evaluations."""
        return self.evaluations[-1].step if self.evaluations else 0

    def take(self, reading: Reading) -> None:
        """Process a progress line of the script; set `ended` if the training has to end."""
        if self.ended is not None:
            return
        near = self.points.printed
        try:
            point = self.points.add(reading)
        except ProgressError as error:
            reason = Reason.as_written(str(error))
            if isinstance(error, OtherBatchSizeError):
                reason = Reason.of("other_batch_size", error=str(error))
            self.ended = Outcome(status=Status.ERROR, reason=reason)
            raise
        if near not in (None, self.points.printed):
            self._forget()
        if point is None:
            return
        values = dict(reading.values)
        values.pop(self._metric, None)  # `point.value` replaces this value
        if point.value is not None:
            values[self._metric] = point.value
        self.add(values, step=point.step, at_s=reading.at_s)

    def add(self, values: Mapping[str, float], *, step: int, at_s: float) -> None:
        """Add a progress report, and set `ended` if the training has to end."""
        self._begin(step, at_s)
        assert self._began_s is not None
        if self.ended is not None:
            return  # The evaluations copied from the earlier run already end the training.
        self.step = max(self.step, step)
        self._note_batch_loss(values, step)
        for name, value in values.items():
            if direction_of(name) and self._first_told.setdefault(name, value) != value:
                self._has_moved = True
        if self._metric not in values:
            self.ended = self.verdict()
            return
        value = values[self._metric]
        finite = value if math.isfinite(value) else None
        losses = list(filter(math.isfinite, self._losses))
        evaluation = Evaluation(
            step=step,
            samples=self._request.trial.plan.samples_at(step),
            train_s=at_s - self._began_s,
            eval_s=0.0,  # a script does not report evaluation times
            batch_loss=math.fsum(losses) / len(losses) if losses and step else None,
            scores=(Score(split="validation", metric=self._metric, value=finite),),
        )
        self._losses.clear()
        self.n_made += 1
        self._put(evaluation)

    def verdict(self) -> Outcome | None:
        """Return the outcome if the progress so far ends the training; None to continue."""
        if self._lost_at is not None:
            reason = Reason.of("metric_not_finite", metric="loss", step=self._lost_at)
            return Outcome(status=Status.NAN, reason=reason)
        if not self.evaluations:
            return None
        last = self.evaluations[-1]
        if last.step > 0 and last.is_not_finite("validation", self._metric):
            reason = Reason.of("metric_not_finite", metric=self._metric, step=last.step)
            return Outcome(status=Status.NAN, reason=reason)
        if self._better == "lower":
            diverged = divergence(
                self.evaluations, lambda seen: seen.score("validation", self._metric)
            )
            if diverged is not None:
                return Outcome(status=Status.DIVERGED, reason=diverged)
        if self._has_met_target():
            return Outcome(status=Status.TARGET_REACHED)
        return self.whole() if last.step >= self._request.last_step else None

    def whole(self) -> Outcome:
        """Return the outcome of a training that ended: an error if no metric has ever changed.

        If the metric always had a perfect value, such as an accuracy of 1, this is no error.
        """
        values = {seen.score("validation", self._metric) for seen in self.evaluations}
        is_often = min(self.n_made, len(self.evaluations)) >= _FEWEST_STILL
        is_still = is_often and len(values) == 1 and not self._has_moved
        if not is_still or values <= _PERFECT[self._better]:
            return Outcome(status=Status.OK)
        (value,) = values
        reason = Reason.of(
            "metric_never_changed",
            metric=self._metric,
            value=f"{value:g}",
            n=len(self.evaluations),
        )
        return Outcome(status=Status.ERROR, reason=reason)

    def _forget(self) -> None:
        """Drop this run's evaluations, because they are of another metric with a similar name."""
        taken_up_at = -1 if self.taken_up_at is None else self.taken_up_at
        del self.evaluations[bisect_right(self.evaluations, taken_up_at, key=_step_of) :]
        self.n_made = 0
        self.unstored.clear()
        self.is_renamed = True

    def _begin(self, step: int, at_s: float) -> None:
        """At the first report, copy the earlier run's evaluations before `step` to this training.

        A copied evaluation may already end this training: if batchlab was killed, the earlier run
        may have continued beyond the requested length.
        """
        if self._began_s is not None:
            return
        self._began_s = at_s
        for evaluation in self._earlier:
            if evaluation.step < step and self.ended is None:
                self.taken_up_at = evaluation.step
                self._began_s = at_s - evaluation.train_s
                self._put(evaluation)

    def _put(self, evaluation: Evaluation) -> None:
        """Add an evaluation in the order of steps; set `ended` if the training has to end.

        An earlier evaluation at the same step is replaced.
        """
        place = bisect_left(self.evaluations, evaluation.step, key=_step_of)
        end = bisect_right(self.evaluations, evaluation.step, lo=place, key=_step_of)
        self.evaluations[place:end] = [evaluation]
        self.unstored[evaluation.step] = evaluation
        self.ended = self.verdict()

    def _has_met_target(self) -> bool:
        until = self._request.length.until
        if until is None:
            return False
        # Examine only the evaluations from the last one, before the newest, that missed the target:
        # earlier ones do not matter, and there may be thousands.
        first = max(0, len(self.evaluations) - 2)
        while first > 0 and self._meets(self.evaluations[first], until):
            first -= 1
        crossing = crossing_of(self.evaluations[first:], until)
        return crossing is not None and crossing.held

    def _meets(self, evaluation: Evaluation, target: Target) -> bool:
        value = evaluation.score("validation", self._metric)
        return value is not None and target.met_by(value)

    def _note_batch_loss(self, values: Mapping[str, float], step: int) -> None:
        by_name = {plain_name(name): value for name, value in values.items()}
        by_name.pop(plain_name(self._metric), None)
        name = next(filter(by_name.__contains__, BATCH_LOSSES), None)
        if name is None:
            return
        self._losses.append(by_name[name])
        # Only NaN ends a training: after an infinite loss, a gradient scaler may skip the step.
        if math.isnan(by_name[name]) and self._lost_at is None:
            self._lost_at = step
