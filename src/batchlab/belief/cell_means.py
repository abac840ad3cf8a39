"""CellMeans: the expected value of a metric in each cell of a study, by joint draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray

from batchlab.belief.metric_scale import MetricScale
from batchlab.belief.seed_scatter import PRIORS, OwnScatter, ScatterPrior, SeedScatter
from batchlab.laws.mean import require_finite
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.quantities import Better

Array = NDArray[np.float64]
Values = Sequence[float]  # one per seed

# With this many draws, a bound at 2.5 % is off by a hundredth of the interval's width.
_N_DRAWS = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class CellMeans:
    """The joint belief about the mean of each cell, from the seeds of all cells.

    All statements about cells are read off the same draws, so they agree with each other. Seeds
    count as independent between cells: in the recorded trainings the same seed at two batch sizes
    correlates by 0.1 in the median, which would narrow a difference by a twentieth.
    """

    cells: tuple[Values, ...]
    scale: MetricScale
    prior: ScatterPrior | None  # the prior of the seed scatter on that scale
    draws: Array | None  # shape (n_draws, cells), in the metric's unit; NaN for a cell without runs

    @classmethod
    def of(
        cls,
        cells: Sequence[Values],
        *,
        metric: str,
        better: Better,
        n_examples: int | None = None,
        end_errors: Sequence[float] = (),
    ) -> CellMeans:
        """Pool cells that measured the same metric of the same split.

        Args:
            cells: the values of each, one per seed, in the metric's unit; a cell may be empty.
            metric: the metric's name.
            better: its direction.
            n_examples: how many examples each value is a mean of, if known.
            end_errors: the errors of the ends of single runs, in the metric's unit, as far as known
                (`belief.final_value.end_errors`).

        Raises:
            UsageError: a value that is not finite; a trial that diverged is never averaged.
        """
        values = list(chain(*cells))
        require_finite(values)
        scale, error = MetricScale.of(metric, values, better=better, n_examples=n_examples), None
        if end_errors and values:
            error = scale.slope(fmean(values)) * median(end_errors)
        return cls._pooled(cells, scale, ScatterPrior.of(scale, end_error=error))

    def of_gaps(self, gaps: Sequence[Values]) -> CellMeans:
        """Pool gaps between the train metric and this held-out metric.

        Seeds fit the training data about equally well, so gaps scatter as the held-out metric does.
        """
        require_finite(chain(*gaps))
        prior, values = self.prior, [*chain(*self.cells)]
        if prior is not None and values:
            prior = prior.over(self.scale.slope(fmean(values)))
        return self._pooled(gaps, MetricScale(kind="plain"), prior)

    @classmethod
    def of_steps(cls, cells: Sequence[Values]) -> CellMeans:
        """Pool logarithms of steps to a target."""
        require_finite(chain(*cells))
        return cls._pooled(cells, MetricScale(kind="plain"), PRIORS["steps"])

    @classmethod
    def _pooled(
        cls, cells: Sequence[Values], scale: MetricScale, prior: ScatterPrior | None
    ) -> CellMeans:
        belief = cls(cells=tuple(map(tuple, cells)), scale=scale, prior=prior, draws=None)
        is_filled = np.array([*map(len, cells)]) > 0
        places, scatters = [], []
        for values in filter(None, belief.cells):
            places.append(scale.place(fmean(values)))
            scatters.append(_own_scatter(scale, values))
        scatter = SeedScatter.of(scatters, prior)
        if scatter is None or not scatters:
            return belief
        draws = np.full((_N_DRAWS, len(cells)), np.nan)
        draws[:, is_filled] = scale.values(np.array(places) + scatter.errors(scatters, _N_DRAWS))
        return replace(belief, draws=draws)

    def mean(self, i: int, *, confidence: float = 0.95) -> Estimate:
        """Return the mean of a cell; without bounds if the scatter of seeds is unknown."""
        if not len(self.cells[i]):
            return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
        value, n = fmean(self.cells[i]), len(self.cells[i])
        if self.draws is None:
            return Estimate.of(value, n=n)
        return Estimate.of(value, interval=_interval(self.draws[:, i], value, confidence), n=n)

    def difference(self, i: int, j: int, *, confidence: float = 0.95) -> Estimate:
        """Return the mean of one cell minus that of another; `n` is the number of their trials."""
        if not (len(self.cells[i]) and len(self.cells[j])):
            return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
        value = fmean(self.cells[i]) - fmean(self.cells[j])
        n = len(self.cells[i]) + len(self.cells[j])
        if self.draws is None:
            return Estimate.of(value, n=n)
        apart = self.draws[:, i] - self.draws[:, j]
        return Estimate.of(value, interval=_interval(apart, value, confidence), n=n)


def _own_scatter(scale: MetricScale, values: Values) -> OwnScatter:
    if len(values) < 2:
        return OwnScatter(variance=1.0, n=1)
    return OwnScatter(variance=scale.variance(values), n=len(values))


def _interval(draws: Array, value: float, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return min(value, float(low)), max(value, float(high))
