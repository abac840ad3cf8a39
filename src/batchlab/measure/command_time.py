"""Measure the step time of a user's training command, which is stopped after enough steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from batchlab.errors import OtherBatchSizeError
from batchlab.machine import place_here
from batchlab.measure.profile import ProfilePoint
from batchlab.records.estimate import Reason
from batchlab.records.study import StepTiming
from batchlab.records.trial import Status, Trial
from batchlab.script.command import TrainingCommand
from batchlab.script.follow import FEWEST_STRETCHES, step_intervals
from batchlab.script.look import Look

# Stop when the time between progress lines was measured 12 times, which is enough for a 95 %
# interval. But do not stop before 2 s, because the clock speed takes this long to become steady.
_STRETCHES = 12
_TIMED_S = 2.0
# Also stop after 4 timed intervals and 10 s, since a script may report its progress only rarely.
_FEW_STRETCHES = 4
_LONG_S = 10.0


def timed_command(
    command: TrainingCommand, trial: Trial, *, folder: Path, marker: str, limit_s: float
) -> ProfilePoint:
    """Run a command until enough of its steps are timed or `limit_s` has passed, then stop it.

    Return the step time and memory at the batch size of `trial`, or why they are unknown.
    """
    look = Look(command, trial, is_timed=True)
    try:
        look.run(_is_timed, folder=folder, marker=marker, limit_s=limit_s)
    except OtherBatchSizeError as error:
        return ProfilePoint(
            batch_size=trial.batch_size,
            micro_batch_size=trial.micro_batch_size,
            status=Status.ERROR,
            reason=Reason.as_written(str(error)),
        )
    return _point(look)


def _is_timed(look: Look) -> bool:
    """Return whether enough steps of the command were timed."""
    if not look.points:
        return False
    _, step_s, _ = step_intervals(look.points, resolution_s=look.resolution_s)
    n = len(step_s)
    seen_s = look.points[-1].at_s - look.points[0].at_s
    return (n >= _STRETCHES and seen_s >= _TIMED_S) or (n >= _FEW_STRETCHES and seen_s >= _LONG_S)


def _point(look: Look) -> ProfilePoint:
    trial, end = look.trial, look.end
    warmup_step_s, step_s, with_evaluations = step_intervals(
        look.points, resolution_s=look.resolution_s
    )
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
    if len(step_s) < FEWEST_STRETCHES:
        reason = Reason.of("steps_seen_too_seldom", n=len(step_s))
        if end.was_asked:
            return replace(point, status=Status.TIMEOUT, reason=reason)
        if not step_s:
            reason = Reason.of("over_too_soon", seconds=end.duration_s)
        last_step = max((point.step for point in look.points), default=0)
        if not last_step:
            return replace(point, status=Status.ERROR, reason=reason)
        return replace(point, reason=reason, at_most_step_s=end.duration_s / last_step)
    return replace(
        point,
        status=Status.OK,
        reason=None,
        with_evaluations=with_evaluations,
        timing=StepTiming(
            workload_id=trial.workload_id,
            batch_size=trial.batch_size,
            micro_batch_size=trial.micro_batch_size,
            device=trial.device,
            place=place_here(trial.device),
            threads=1,
            warmup_s=warmup_step_s,
            block_s=step_s,
            block_steps=1,
            peak_bytes=end.peak_bytes,
        ),
    )
