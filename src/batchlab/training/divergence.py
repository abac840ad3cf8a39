"""Divergence: when a trial is beyond hope, told from its evaluations alone."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.records.evaluation import Evaluation
from batchlab.records.reason import Reason

# A loss ten times that of the untrained model at three evaluations in a row does not come back to
# anything useful; a single spike may.
FACTOR = 10.0
EVALUATIONS = 3


def divergence(evaluations: Sequence[Evaluation]) -> Reason | None:
    """Why the trial has diverged, or None.

    A trial has diverged when its loss was above `FACTOR` times the untrained model's, or not a
    finite number, at each of the last `EVALUATIONS` evaluations. The loss is the validation loss
    where there is one, else that of the training batches.

    Args:
        evaluations: by step, beginning with step 0.

    Returns:
        The reason with the losses seen, or None.
    """
    if len(evaluations) <= EVALUATIONS:
        return None
    first = _loss(evaluations[0])
    if first is None or first <= 0:
        return None
    last = [_loss(evaluation) for evaluation in evaluations[-EVALUATIONS:]]
    if any(loss is not None and loss <= FACTOR * first for loss in last):
        return None
    return Reason.of(
        "losses_far_above_untrained",
        n=EVALUATIONS,
        seen=tuple(_seen(loss) for loss in last),
        factor=FACTOR,
        first=first,
    )


def _seen(loss: float | None) -> Reason:
    if loss is None:
        return Reason.of("loss_seen_not_finite")
    return Reason.of("loss_seen", loss=loss)


def _loss(evaluation: Evaluation) -> float | None:
    if any(score.split == "validation" for score in evaluation.scores):
        return evaluation.score("validation", "loss")
    if evaluation.step == 0:
        return evaluation.score("train", "loss")
    return evaluation.batch_loss
