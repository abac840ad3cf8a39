"""Slow twins of the joint belief: a Gaussian process entry by entry, and the value of a run."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from batchlab.belief.surface import AS_HALF_THE_SIZE, HORIZON_SCALE, Places, SurfacePrior

Array = NDArray[np.float64]

COMMON = 9.0  # variance of what all costs, and all final values, have in common


def before_any_run(
    prior: SurfacePrior, places: Places, log_weight: Sequence[float]
) -> tuple[Array, Array]:
    """Return mean and covariance of costs and final values, one entry at a time.

    Rasmussen and Williams 2006, section 2.7 (a trend with Gaussian coefficients adds h(x)ᵀ B h(x')
    to the kernel) and section 4.2 (Matérn kernel with smoothness 3/2).
    """
    n = len(places.size)
    mean, covariance = np.zeros(2 * n), np.zeros((2 * n, 2 * n))
    for row in range(2 * n):
        kind, i = divmod(row, n)
        h = _basis(prior, places, i)
        mean[row] = sum(h[k] * prior.mean[kind, k] for k in range(5))
        mean[row] += log_weight[i] if kind == 0 else 0.0
        for column in range(2 * n):
            other, j = divmod(column, n)
            g, is_same = _basis(prior, places, j), kind == other
            alike = np.ones(5) if is_same else prior.correlation
            sds = prior.sd[kind] * prior.sd[other]
            trend = sum(h[k] * alike[k] * sds[k] * g[k] for k in range(5))
            residual = prior.residual[kind] * prior.residual[other] * _matern(prior, places, i, j)
            if is_same:
                covariance[row, column] = trend + residual + COMMON
            else:
                covariance[row, column] = trend + prior.residual_correlation * residual
        covariance[row, row] += prior.roughness[kind] ** 2
    return mean, covariance


def _basis(prior: SurfacePrior, places: Places, i: int) -> list[float]:
    u = float(places.rate[i] - prior.ridge * places.size[i])
    b = _as_size(places, i)
    return [u, b, u**2 / 4, b * u / 4, b**2 / 4]


def _as_size(places: Places, i: int) -> float:
    """A longer training counts as a smaller batch size, which has as many steps."""
    return float(places.size[i] - AS_HALF_THE_SIZE * places.horizon[i])


def _matern(prior: SurfacePrior, places: Places, i: int, j: int) -> float:
    across = float(places.rate[i] - places.rate[j])
    across -= prior.ridge * float(places.size[i] - places.size[j])
    along = _as_size(places, i) - _as_size(places, j)
    longer = float(places.horizon[i] - places.horizon[j])
    apart = (along / prior.size_scale, across / prior.rate_scale, longer / HORIZON_SCALE)
    r = math.sqrt(sum(part**2 for part in apart))
    return (1 + math.sqrt(3) * r) * math.exp(-math.sqrt(3) * r)


def observe(
    mean: Array, covariance: Array, at: int, value: float, variance: float
) -> tuple[Array, Array]:
    """Condition a Gaussian on one of its numbers, seen with an error of this variance."""
    gain = covariance[:, at] / (covariance[at, at] + variance)
    return mean + gain * (value - mean[at]), covariance - np.outer(gain, covariance[at])


Choice = Callable[[Array, Array], int]


def value_of_seeing(
    mean: Array, covariance: Array, at: int, sd: float, n_draws: int, choose: Choice
) -> tuple[float, float]:
    """Draw a truth and what a run shows of it, condition, and choose.

    Returns:
        By how much lower the chosen number is than the one chosen without the run, and the
        standard deviation of that over draws.
    """
    stream = np.random.default_rng(0)
    without, gains = choose(mean, covariance), []
    for truth in stream.multivariate_normal(mean, covariance, n_draws):
        shown = truth[at] + sd * stream.standard_normal()
        gains.append(truth[without] - truth[choose(*observe(mean, covariance, at, shown, sd**2))])
    return float(np.mean(gains)), float(np.std(gains))
