"""EarlyStopping: whether a run has waited long enough for its metric to improve."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.records.batch_plan import BatchPlan
from batchlab.records.evaluation import Evaluation
from batchlab.records.quantities import Better
from batchlab.records.reason import Reason


def stopped_early(
    evaluations: Sequence[Evaluation],
    plan: BatchPlan,
    *,
    metric: str,
    better: Better,
    patience_epochs: int,
) -> Reason | None:
    """Why the run ends at its last evaluation, or None: it goes on.

    Args:
        evaluations: by step.
        plan: where the epochs end; evaluations in between say nothing here.
        metric: the one that counts, taken on validation data.
        better: its direction.
        patience_epochs: without a better value for so many epochs it ends.

    Returns:
        A note with the epochs done and the epoch of the best value.
    """
    epoch, steps_since = plan.position(evaluations[-1].step)
    if steps_since:
        return None
    sign = 1 if better == "higher" else -1
    best: tuple[float, int] | None = None
    for evaluation in evaluations:
        ended, after = plan.position(evaluation.step)
        value = evaluation.score("validation", metric)
        if after or ended == 0 or value is None:
            continue
        if best is None or sign * value > best[0]:
            best = (sign * value, ended)
    if best is None or epoch - best[1] < patience_epochs:
        return None
    return Reason.of("stopped_early", epochs=epoch, best=best[1], metric=metric)
