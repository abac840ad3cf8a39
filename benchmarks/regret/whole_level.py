"""What a whole training ends with, and the level that counts as ending as well.

By the rule of the advice (`batchlab.advice.level`), but from many trainings of the reference
where the advice has one.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.advice.level import TAIL, TAIL_OF_A_SHAPE, as_well_as, margin_of
from batchlab.records.quantities import Better
from batchlab.records.trial import Target

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
        margin_of(end, trained_values(curve), metric=metric, better=better) for curve in curves
    )
    target = as_well_as(end, margin, metric=metric, better=better)
    return WholeLevel(target=target, end=end, margin=margin)


def trained_values(curve: Curve) -> list[float]:
    """The finite values of a curve, but for the untrained model's."""
    return [value for step, value in curve if step > 0 and value is not None]
