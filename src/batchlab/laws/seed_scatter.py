"""SeedScatter: how far seeds lie apart, pooled over cells by a hierarchical model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, polygamma, stdtr

__all__ = ["OwnScatter", "SeedScatter"]

Array = NDArray[np.float64]

# Standard deviation, over cells, of the logarithm of a cell's own standard deviation. The recorded
# grids have 0.4 to 0.9. The prior rises in proportion: cells that look alike may do so by chance.
# A flat one moves the coverage by less than a point.
_UNLIKENESS = (np.arange(24) + 0.5) / 24 * 1.8
# Reach and step of the search for the usual variance, as a logarithm, around the cells' own. One
# cell of two seeds bounds it weakly: with both reaches its interval is Student's to 0.2 %.
_BELOW, _ABOVE, _STEP = 24.0, 18.0, 0.4
_LEAST_WEIGHT = 1e-6  # of a place that can still move a bound in its third digit


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnScatter:
    """What the seeds of one cell say of their scatter.

    Attributes:
        variance: of one seed, unbiased; 0 is a cell whose seeds agree, or that has one only.
        n: how many seeds there are, at least one.
    """

    variance: float
    n: int

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the variance."""
        return self.n - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedScatter:
    """The usual scatter of seeds and how unlike it single cells are, as far as both are known.

    A cell's variance has the prior s0² d0 / chi²(d0), so its posterior is in closed form: variance
    (d0 s0² + d s²) / (d0 + d) with d0 + d degrees of freedom. Smyth estimates s0² and d0 from
    thousands of genes; a sweep has two to ten cells, so both are summed over a grid here. Without
    that, cells that look alike by chance would count as alike for certain.

    Attributes:
        prior_degrees: d0, shape (m,).
        prior_variance: s0², shape (m,).
        weight: probability of each pair of them, shape (m,), sums to 1.

    Source: Smyth 2004, "Linear models and empirical Bayes methods for assessing differential
    expression in microarray experiments", sections 3 and 4; doi:10.2202/1544-6115.1027.
    """

    prior_degrees: Array
    prior_variance: Array
    weight: Array

    @classmethod
    def of(cls, cells: Sequence[OwnScatter]) -> SeedScatter | None:
        """Pool the scatter of cells.

        Args:
            cells: on one scale; variances above 0 where there is more than one seed.

        Returns:
            None where no cell has two seeds.
        """
        repeated = [cell for cell in cells if cell.degrees]
        if not repeated:
            return None
        logs = [math.log(cell.variance) for cell in repeated]
        log_usual = np.arange(min(logs) - _BELOW, max(logs) + _ABOVE, _STEP)[None, :]
        degrees = _prior_degrees()[:, None]
        log_weight = np.log(_UNLIKENESS)[:, None] + np.zeros_like(log_usual)
        for log_variance, cell in zip(logs, repeated, strict=True):
            log_weight = log_weight + _log_f(log_variance - log_usual, cell.degrees, degrees)
        weight = np.exp(log_weight - log_weight.max()).ravel()
        kept = weight > _LEAST_WEIGHT * weight.max()
        prior_degrees, log_usual = np.broadcast_arrays(degrees, log_usual)
        return cls(
            prior_degrees=prior_degrees.ravel()[kept],
            prior_variance=np.exp(log_usual.ravel()[kept]),
            weight=weight[kept] / weight[kept].sum(),
        )

    def half_width(self, cell: OwnScatter, confidence: float) -> float:
        """Half the width of the interval of a cell's mean.

        Args:
            cell: one of those that were pooled.
            confidence: coverage, between 0 and 1.
        """
        degrees = self.prior_degrees + cell.degrees
        error = np.sqrt(self._variance(cell) / cell.n)

        def beyond(half: float) -> float:
            inside = 2 * stdtr(degrees, half / error) - 1
            return float(self.weight @ inside) - confidence

        high = float(error.max())
        while beyond(high) < 0:
            high *= 2
        return float(brentq(beyond, 0.0, high, xtol=1e-9 * high))

    def _variance(self, cell: OwnScatter) -> Array:
        own = cell.degrees * cell.variance + self.prior_degrees * self.prior_variance
        return np.asarray(own / (cell.degrees + self.prior_degrees))


@cache
def _prior_degrees() -> Array:
    """Degrees of freedom at which the log standard deviations of cells scatter that much."""

    def degrees(unlike: float) -> float:
        # log chi² with d degrees has the variance trigamma(d / 2).
        return math.exp(
            brentq(lambda log: float(polygamma(1, math.exp(log) / 2)) / 4 - unlike**2, -9, 15)
        )

    return np.array([degrees(float(unlike)) for unlike in _UNLIKENESS])


def _log_f(log_ratio: Array, degrees: int, prior_degrees: Array) -> Array:
    """Log density of log F: own variance over the usual one, with d and d0 degrees of freedom."""
    d, d0 = degrees, prior_degrees
    shape = gammaln((d + d0) / 2) - gammaln(d / 2) - gammaln(d0 / 2) + d / 2 * np.log(d / d0)
    spread = np.logaddexp(0.0, np.log(d / d0) + log_ratio)
    return np.asarray(shape + d / 2 * log_ratio - (d + d0) / 2 * spread)
