"""What a whole training ends with, and the level that counts as ending as well.

By the rule of the advice (`batchlab.advice.end_level`), but from many trainings of the reference
where the advice has one.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.advice.end_level import (
    TAIL,
    TAIL_OF_A_SHAPE,
    EndLevel,
    as_well_as,
    margin_beside,
)
from batchlab.advice.parts import Configuration
from batchlab.advice.question import Question
from batchlab.laws.plateau import default_delta
from batchlab.records.quantities import Better
from batchlab.records.target import Target

Curve = Sequence[tuple[int, float | None]]
"""(step, value of the validation metric) at every evaluation, by step; None: not finite."""


@dataclass(frozen=True, kw_only=True)
class WholeLevel:
    """The level to reach, and what it was taken from.

    Attributes:
        target: the level, to be met to stay.
        end: what trainings of the reference end with, their mean.
        margin: how much worse than it still counts as ending as well, in the metric's unit.
    """

    target: Target
    end: float
    margin: float

    def shortfall(self, end: float, *, beside: float) -> float:
        """How many margins worse than `beside` an end is; negative: it is better."""
        worse = beside - end if self.target.better == "higher" else end - beside
        return worse / self.margin


def end_of(curve: Curve, *, has_schedule: bool) -> float | None:
    """What a whole training ends with: the mean over its last quarter, or twentieth.

    Args:
        curve: of the training.
        has_schedule: whether its rate followed a shape: then it may still rise at three quarters.

    Returns:
        None where a value there is not finite, or none was seen.
    """
    first = (1 - (TAIL_OF_A_SHAPE if has_schedule else TAIL)) * curve[-1][0]
    values = [value for step, value in curve if step >= max(1.0, first)]
    found = [value for value in values if value is not None]
    return statistics.fmean(found) if found and len(found) == len(values) else None


def level_of(
    curves: Sequence[Curve], *, metric: str, better: Better, has_schedule: bool
) -> WholeLevel:
    """The level that whole trainings of the reference set.

    Args:
        curves: of its trainings; at least one has an end.
        metric: whose curves they are.
        better: its direction.
        has_schedule: whether their rate followed a shape.
    """
    found = [end_of(curve, has_schedule=has_schedule) for curve in curves]
    ends = [end for end in found if end is not None]
    end = statistics.fmean(ends)
    margin = statistics.fmean(
        margin_of(end, curve, metric=metric, better=better) for curve in curves
    )
    question = _question(metric, better)
    whole = EndLevel(value=end, n=len(ends), ended_by="planned_end", margin=margin, epochs=1.0)
    return WholeLevel(target=as_well_as(question, whole), end=end, margin=margin)


def margin_of(end: float, curve: Curve, *, metric: str, better: Better) -> float:
    """5 % more errors, or what the plateau's rule calls no improvement, whichever is more."""
    values = [value for step, value in curve if step > 0 and value is not None]
    unseen = default_delta(metric, values) / 2
    return max(margin_beside(_question(metric, better), end, otherwise=unseen), unseen)


def _question(metric: str, better: Better) -> Question:
    """One that asks for nothing but the direction of the metric."""
    return Question(
        objective="time",
        metric=metric,
        better=better,
        target=None,
        target_origin="pilot",
        reference=Configuration(batch_size=1, micro_batch_size=1, learning_rate=1.0),
        options=(),
        n_train=1,
        budget_s=1.0,
    )
