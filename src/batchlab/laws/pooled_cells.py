"""PooledCells: means of cells and their differences, with the seeds' scatter of all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from batchlab.errors import UsageError
from batchlab.laws.metric_scale import MetricScale
from batchlab.laws.seed_scatter import SeedScatter
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

__all__ = ["PooledCells"]

Values = Sequence[float]  # one a seed


@dataclass(frozen=True, kw_only=True, slots=True)
class PooledCells:
    """What several cells say together of the scatter of each one's seeds.

    Attributes:
        scale: of the metric.
        scatter: pooled over the cells; None: none of them has two seeds.
    """

    scale: MetricScale
    scatter: SeedScatter | None

    @classmethod
    def of(cls, cells: Sequence[Values], *, metric: str, n_examples: int) -> PooledCells:
        """Pool cells that measured the same metric of the same split.

        Args:
            cells: the values of each, one a seed, in the metric's unit; empty ones don't count.
            metric: the metric's name.
            n_examples: how many examples each value is a mean of.

        Raises:
            UsageError: a value that is not finite; a trial that diverged is never averaged.
        """
        known = [list(values) for values in cells if len(values)]
        if not all(math.isfinite(value) for value in chain(*known)):
            raise UsageError(
                "a mean over values that are not finite was asked for; leave out the trials that "
                "diverged and name them"
            )
        scale = MetricScale.of(metric, chain(*known), n_examples=n_examples)
        return cls(scale=scale, scatter=SeedScatter.of([scale.own_scatter(v) for v in known]))

    def mean(self, values: Values, *, confidence: float = 0.95) -> Estimate:
        """The mean of one of the cells; without bounds where no cell has two seeds."""
        if not len(values):
            return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
        level = float(np.mean(values))
        if self.scatter is None:
            return Estimate.of(level, interval=(None, None), n=len(values))
        half = self.scatter.half_width(self.scale.own_scatter(values), confidence)
        return Estimate.of(level, interval=self.scale.mean_bounds(level, half), n=len(values))

    def difference(self, first: Values, second: Values, *, confidence: float = 0.95) -> Estimate:
        """The mean of one of the cells less that of another; its n counts the trials of both.

        The interval follows from those of the two means: each bound lies as far from the estimate
        as the two bounds that pull it there, as the sides of a right angle. So it needs no normal
        law of the difference, and that of a share stays within -1 and 1. Seeds count as
        independent between cells (docs/plateau-and-diagnosis.md says why).

        Source: Zou and Donner 2008, "Construction of confidence limits about effect measures: a
        general approach", doi:10.1002/sim.3095; for shares Newcombe 1998, "Interval estimation for
        the difference between independent proportions", Statistics in Medicine 17, method 10.
        """
        one, other = (self.mean(values, confidence=confidence) for values in (first, second))
        if one.estimate is None or other.estimate is None:
            return one if one.estimate is None else other
        apart, n = one.estimate - other.estimate, one.n + other.n
        if one.low is None or one.high is None or other.low is None or other.high is None:
            return Estimate.of(apart, interval=(None, None), n=n)
        below = math.hypot(one.estimate - one.low, other.high - other.estimate)
        above = math.hypot(one.high - one.estimate, other.estimate - other.low)
        return Estimate.of(apart, interval=(apart - below, apart + above), n=n)
