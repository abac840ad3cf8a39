"""Whether a script's training is to end, by all of its evaluations each time: slow and obvious."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batchlab.records.quantities import Better
from batchlab.records.run import RunRequest
from batchlab.records.trial import Evaluation, Status, crossing_of
from batchlab.training.plain import divergence


def script_status(
    evaluations: Sequence[Evaluation], request: RunRequest, metric: str, better: Better
) -> Status | None:
    """How it is to end here; None: it goes on."""
    by_step = sorted(evaluations, key=lambda each: each.step)
    if not by_step:
        return None
    last = by_step[-1]
    if last.step > 0 and last.is_not_finite("validation", metric):
        return Status.NAN
    if better == "lower" and divergence([_as_loss(each) for each in by_step]) is not None:
        return Status.DIVERGED
    until = request.length.until
    crossing = None if until is None else crossing_of(by_step, until)
    if crossing is not None and crossing.held:
        return Status.TARGET_REACHED
    return Status.OK if last.step >= request.last_step else None


def _as_loss(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, scores=(replace(evaluation.scores[0], metric="loss"),))
