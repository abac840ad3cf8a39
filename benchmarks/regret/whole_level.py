"""What a whole training ends with, and the level that counts as ending as well.

By the rule of the advice (`batchlab.advice.level`), but from many trainings of the reference
where the advice has one.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.advice.level import as_well_as
from batchlab.belief.final_value import final_value
from batchlab.belief.margin import margin_of
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


def end_of(curve: Curve, *, better: Better, keeps_best: bool = False) -> float | None:
    """What a whole training ends with, as `batchlab.belief.final_value` reads it.

    Args:
        curve: of the training.
        better: the direction of its metric.
        keeps_best: whether the training keeps its best model.

    Returns:
        None where a value that counts is not finite, or none was seen.
    """
    trained = [(step, value) for step, value in curve if step > 0]
    return final_value(trained, better=better, keeps_best=keeps_best)


def level_of(
    curves: Sequence[Curve], *, metric: str, better: Better, keeps_best: bool = False
) -> WholeLevel:
    """The level that whole trainings of the reference set.

    Args:
        curves: of its trainings; at least one has an end.
        metric: whose curves they are.
        better: its direction.
        keeps_best: whether a training keeps its best model.
    """
    found = [end_of(curve, better=better, keeps_best=keeps_best) for curve in curves]
    end = statistics.fmean(end for end in found if end is not None)
    margin = margin_of(end, metric=metric, better=better, untrained=untrained_value(curves[0]))
    target = as_well_as(end, margin, metric=metric, better=better)
    return WholeLevel(target=target, end=end, margin=margin)


def untrained_value(curve: Curve) -> float | None:
    """The metric before the first step, where it was seen."""
    return curve[0][1] if curve and curve[0][0] == 0 else None
