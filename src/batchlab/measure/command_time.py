"""Step time of a user's command, which runs until enough of its steps were seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from batchlab.errors import OtherBatchSizeError
from batchlab.machine import place_here
from batchlab.measure.profile import ProfilePoint
from batchlab.records.estimate import Reason
from batchlab.records.study import StepTiming
from batchlab.records.trial import Status, Trial
from batchlab.script.command import TrainingCommand, trial_values
from batchlab.script.follow import FollowedTraining, Moment, StepIntervals, step_intervals
from batchlab.script.formats import LOG_SHAPE
from batchlab.script.look import FirstLook
from batchlab.script.metric import BATCH_LOSSES, ProgressPoints, plain_name
from batchlab.script.process import CommandEnd
from batchlab.script.reading import Reading
from batchlab.script.supervisor import REST_S

# These are enough for an interval that holds the median 95 times in 100, and for clocks to settle.
_STRETCHES = 12
_TIMED_S = 2.0
# Fewer must do if a script reports its progress only once in many seconds.
_FEW_STRETCHES = 4
_LONG_S = 10.0
_GRACE_S = 5.0
# A training whose trial has no horizon is asked to take this many steps. It may end by itself
# before, with fewer.
_MOST_STEPS = 10**9


def timed_command(
    command: TrainingCommand, trial: Trial, *, folder: Path, marker: str, limit_s: float
) -> tuple[ProfilePoint, FirstLook | None]:
    """Run a command until enough of its steps were seen, and end it; after `limit_s` at the latest.

    Return its time and memory at the batch size of `trial`, or why they are not known. If it ended
    well by itself, return its output too, because it is then a training like any other.
    """
    until_s = time.monotonic() + limit_s
    seen = _Seen(command, trial)
    values = trial_values(trial, last_step=trial.horizon_steps or _MOST_STEPS)

    def take(readings: Sequence[Reading]) -> bool:
        for reading in readings:
            seen.add(reading)
        return seen.refused is not None or seen.is_enough or time.monotonic() >= until_s

    with FollowedTraining(
        command, values, folder=folder, marker=marker, grace_s=min(_GRACE_S, limit_s / 4)
    ) as training:
        end = training.follow(take)
    if seen.refused is not None:
        end = replace(end, status=Status.ERROR, reason=seen.refused, was_asked=False)
    look = FirstLook(
        trial=trial,
        progress=seen.points,
        readings=tuple(seen.readings),
        start_s=None,
        took_s=end.duration_s,
        end=end,
        values=values,
        is_whole=end.status is Status.OK and not end.was_asked,
    )
    return _point(trial, seen, end), look if look.is_whole else None


class _Seen:
    """The readings and moments of one run."""

    def __init__(self, command: TrainingCommand, trial: Trial) -> None:
        size = command.trained_size(trial)
        self.points = ProgressPoints(command.metric, trial, command.pattern, size=size)
        self.readings: list[Reading] = []
        self._moments: list[Moment] = []
        self.refused: Reason | None = None  # why its progress says nothing about this batch size

    def add(self, reading: Reading) -> None:
        # Values of a loss of batches are not needed, and validation may have the same name for its.
        told = replace(reading, values=()) if self._is_of_steps else reading
        self.readings.append(reading)
        try:
            point = None if self.refused else self.points.add(told)
        except OtherBatchSizeError as error:
            self.refused, point = Reason.as_written(str(error)), None
        if point is None:
            return
        self._moments.append(
            Moment(
                at_s=reading.at_s,
                step=point.step,
                has_metric=point.value is not None and not self._is_of_steps,
                resolution_s=0.0 if reading.shape == LOG_SHAPE else REST_S,
            )
        )

    @property
    def _is_of_steps(self) -> bool:
        """Whether the metric is the loss of training batches, which needs no evaluation."""
        return plain_name(self.points.printed or "") in BATCH_LOSSES

    @property
    def last_step(self) -> int:
        """The last step that was reported, or 0 if none was."""
        return max((moment.step for moment in self._moments), default=0)

    @property
    def intervals(self) -> StepIntervals:
        return step_intervals(self._moments)

    @property
    def is_enough(self) -> bool:
        found = self.intervals
        seen_s = self._moments[-1].at_s - self._moments[0].at_s if self._moments else 0.0
        n = len(found.step_s)
        return (n >= _STRETCHES and seen_s >= _TIMED_S) or (
            n >= _FEW_STRETCHES and seen_s >= _LONG_S
        )


def _point(trial: Trial, seen: _Seen, end: CommandEnd) -> ProfilePoint:
    found = seen.intervals
    point = ProfilePoint(
        batch_size=trial.batch_size,
        micro_batch_size=trial.micro_batch_size,
        status=end.status,
        reason=end.reason,
        peak_bytes=end.peak_bytes,
        gpu_peak_bytes=end.gpu_peak_bytes,
    )
    if not (end.was_asked or end.status is Status.OK):
        return point
    if not found.is_enough:
        reason = Reason.of("steps_seen_too_seldom", n=len(found.step_s))
        if end.was_asked:
            return replace(point, status=Status.TIMEOUT, reason=reason)
        if not found.step_s:
            reason = Reason.of("over_too_soon", seconds=end.duration_s)
        if not seen.last_step:
            return replace(point, status=Status.ERROR, reason=reason)
        return replace(point, reason=reason, at_most_step_s=end.duration_s / seen.last_step)
    return replace(
        point,
        status=Status.OK,
        reason=None,
        with_evaluations=found.with_evaluations,
        timing=StepTiming(
            workload_id=trial.workload_id,
            batch_size=trial.batch_size,
            micro_batch_size=trial.micro_batch_size,
            device=trial.device,
            place=place_here(trial.device),
            threads=1,
            warmup_s=found.warmup_step_s,
            block_s=found.step_s,
            block_steps=1,
            peak_bytes=end.peak_bytes,
        ),
    )
