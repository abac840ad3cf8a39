"""What a whole training ends with, and the level that counts as ending as well.

By the rule of the advice (`batchlab.advice.level`), but from many trainings of the reference
where the advice has one.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.recorded.grid import Curve, GridHeader

from batchlab.advice.level import as_well_as
from batchlab.belief.final_value import final_value
from batchlab.belief.margin import margin_of
from batchlab.records.trial import Target


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

    def is_met_by(self, end: float) -> bool:
        """Whether a training that ends so ends at most a margin worse."""
        worse = self.end - end if self.target.better == "higher" else end - self.end
        return worse <= self.margin


def end_of(curve: Curve, header: GridHeader) -> float | None:
    """What a whole training ends with, as `batchlab.belief.final_value` reads it.

    Returns:
        None where a value that counts is not finite, or none was seen.
    """
    trained = [(step, value) for step, value in curve if step > 0]
    return final_value(trained, better=header.better, keeps_best=header.keeps_best)


def level_of(curves: Sequence[Curve], header: GridHeader) -> WholeLevel:
    """The level that whole trainings of the reference set; at least one of them has an end."""
    metric, better = header.metric, header.better
    ends = [end_of(curve, header) for curve in curves]
    end = statistics.fmean(end for end in ends if end is not None)
    margin = margin_of(end, metric=metric, better=better, untrained=untrained_value(curves[0]))
    target = as_well_as(end, margin, metric=metric, better=better)
    return WholeLevel(target=target, end=end, margin=margin)


def untrained_value(curve: Curve) -> float | None:
    """The metric before the first step, where it was seen."""
    return curve[0][1] if curve and curve[0][0] == 0 else None
