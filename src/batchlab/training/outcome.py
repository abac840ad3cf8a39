"""Outcome: how a run ended, and whether it has to end at an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.records.evaluation import Evaluation
from batchlab.records.reason import Reason
from batchlab.records.target import Target, crossing_of
from batchlab.records.trial import Status, Trial
from batchlab.training.divergence import divergence
from batchlab.training.early_stopping import stopped_early
from batchlab.workload.definition import Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: its status; None: it was asked to stop, and can go on.
        reason: why it ended badly; None where it ended well.
        traceback: an error's whole report.
        peak_bytes: peak memory of its process above the idle process; None: not known.
        notes: what a reader of its record must know of its end.
    """

    status: Status | None
    reason: Reason | None = None
    traceback: str | None = None
    peak_bytes: int | None = None
    notes: tuple[Reason, ...] = ()


def outcome_at(
    evaluations: Sequence[Evaluation],
    step: int,
    *,
    workload: Workload,
    trial: Trial,
    until: Target | None,
) -> Outcome | None:
    """How a run ends after `step` steps, as its evaluations say; None: it goes on.

    Args:
        evaluations: by step, beginning with step 0.
        step: steps taken; what was evaluated before says nothing of the weights now.
        workload: with its metrics and its patience.
        trial: what is trained.
        until: the target at which it ends.
    """
    is_evaluated = evaluations[-1].step == step
    if is_evaluated and step > 0 and (reason := _not_a_number(evaluations[-1], workload)):
        return Outcome(status=Status.NAN, reason=reason)
    if reason := divergence(evaluations):
        return Outcome(status=Status.DIVERGED, reason=reason)
    crossing = None if until is None else crossing_of(evaluations, until)
    if crossing is not None and crossing.held:
        return Outcome(status=Status.TARGET_REACHED)
    if is_evaluated and workload.patience_epochs is not None:
        counts = workload.metric_names[0]
        note = stopped_early(
            evaluations,
            trial.plan,
            metric=counts,
            better=workload.better(counts),
            patience_epochs=workload.patience_epochs,
        )
        return None if note is None else Outcome(status=Status.OK, notes=(note,))
    return None


def _not_a_number(last: Evaluation, workload: Workload) -> Reason | None:
    # Without a loss the metric that counts stands for it; others may have no value yet.
    watched = workload.metric_names[0] if workload.loss is None else "loss"
    # Nothing is decided by test data.
    scores = [score for score in last.scores if score.split != "test" and score.metric == watched]
    if all(score.value is not None for score in scores):
        return None
    if workload.loss is None:
        return Reason.of("metric_not_finite_at_evaluation", metric=watched, step=last.step)
    return Reason.of("loss_not_finite_at_evaluation", step=last.step)


def not_finite(value: float, step: int) -> Outcome:
    """The end of a run whose batch losses are no finite number any more.

    Args:
        value: the loss seen.
        step: the step that gave it, counted from 1.
    """
    if math.isnan(value):
        return Outcome(status=Status.NAN, reason=Reason.of("loss_not_a_number", step=step))
    return Outcome(status=Status.DIVERGED, reason=Reason.of("loss_infinite", step=step))
