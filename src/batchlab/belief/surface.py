"""Surface: the joint belief about the costs and final values of all batch sizes and rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The prior variance of the constant that all costs share, and of the constant that all final values
# share. It is large because hardly anything is known about them before the first run.
_COMMON = 9.0
_JITTER = 1e-6  # Added to each variance, because rounding can break a Cholesky factorization.
# Doubling the epochs doubles the number of steps, as halving the batch size does. Final values are
# similar, too. So one doubling of the epochs counts as this many halvings of the batch size.
AS_HALF_THE_SIZE: Final = 0.8
HORIZON_SCALE: Final = 2.0  # Length scale along training length, in octaves (factors of 2).


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The settings of n configurations, each as log2(setting / the reference's setting)."""

    size: Array  # log2(batch size / the reference's), shape (n,).
    rate: Array  # log2(learning rate / the reference's), shape (n,).
    horizon: Array  # log2(training length in epochs / the reference's), shape (n,).


@dataclass(frozen=True, kw_only=True, slots=True)
class SurfacePrior:
    """The prior of costs and final values, from recorded trainings of other workloads.

    A cost is log2 of the steps to the target. A final value is asinh(m) if it is m margins worse
    than the reference's. Each is the sum of a quadratic trend, a smooth residual, and a deviation
    of the single configuration (roughness). The trend's terms are u, b, u² / 4, b u / 4 and b² / 4,
    with normal coefficients; u is `off_ridge`, and b is log2 of the relative batch size. In arrays
    with two rows, the first row is for costs. `python -m benchmarks.surface_prior` fits the prior.
    """

    mean: Array  # The means of the trends' coefficients, shape (2, 5).
    sd: Array  # The standard deviations of the trends' coefficients, shape (2, 5).
    # For each of the five coefficients, the correlation between its values for costs and for final
    # values, shape (5,).
    correlation: Array
    size_scale: float  # The length scale of the residuals along batch size, in octaves.
    rate_scale: float  # The length scale of the residuals along the rate, in octaves.
    residual: Array  # The SDs of the residual of costs and of that of final values, shape (2,).
    # The correlation between the residuals of costs and of final values.
    residual_correlation: float
    roughness: Array  # The SDs of the single configurations' deviations, shape (2,).
    ridge: float  # How many octaves the best rate rises per octave of batch size.

    @classmethod
    def of(cls, numbers: Sequence[float]) -> SurfacePrior:
        """Create the prior from the 33 unconstrained numbers that the fit returns.

        In `numbers`, scales and standard deviations are logarithms, and correlations are inverse
        hyperbolic tangents.
        """
        t = np.asarray(numbers, dtype=float)
        trends = t[:20].reshape(2, 2, 5)
        return cls(
            mean=trends[:, 0],
            sd=np.exp(trends[:, 1]),
            correlation=np.tanh(t[20:25]),
            size_scale=math.exp(t[25]),
            rate_scale=math.exp(t[26]),
            residual=np.exp(t[27:29]),
            residual_correlation=math.tanh(t[29]),
            roughness=np.exp(t[30:32]),
            ridge=float(t[32]),
        )

    def off_ridge(self, places: Places) -> Array:
        """Return how far each learning rate is above the expected best rate, in octaves.

        The expected best rate of a batch size is the rate of the reference, scaled by `ridge`.
        """
        return places.rate - self.ridge * places.size


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """The joint normal distribution of the costs and final values of n configurations.

    Source: Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", sections 2.2 and
    2.7 (explicit basis functions); the residual has the Matérn kernel with smoothness 3/2.
    """

    mean: Array  # The expected n costs, then the expected n final values, shape (2 n,).
    covariance: Array  # The covariances of costs and final values, shape (2 n, 2 n).

    @classmethod
    def before_any_run(cls, prior: SurfacePrior, places: Places, log_weight: Array) -> Surface:
        """Return the belief before any run.

        Args:
            prior: the prior of costs and final values.
            places: the coordinates of the configurations.
            log_weight: log2 of the cost of a step, such as its seconds, shape (n,).
        """
        h = places.horizon
        u, b = prior.off_ridge(places), places.size - AS_HALF_THE_SIZE * h
        basis = np.stack([u, b, u * u / 4, b * u / 4, b * b / 4], axis=1)
        scales = (prior.size_scale, HORIZON_SCALE, prior.rate_scale)
        apart_sq = np.zeros((len(b), len(b)))
        for coordinate, scale in zip((b, h, u), scales, strict=True):
            scaled = coordinate / scale
            apart_sq += (scaled[:, None] - scaled) ** 2
        apart = np.sqrt(3 * apart_sq)
        matern, one = (1 + apart) * np.exp(-apart), np.eye(len(b))
        cost, end = (
            (basis * sd**2) @ basis.T + residual**2 * matern + roughness**2 * one + _COMMON
            for sd, residual, roughness in zip(
                prior.sd, prior.residual, prior.roughness, strict=True
            )
        )
        cross = (basis * (prior.correlation * prior.sd.prod(axis=0))) @ basis.T
        cross += prior.residual_correlation * prior.residual.prod() * matern
        cost_mean, end_mean = prior.mean @ basis.T
        return cls(
            mean=np.concatenate([cost_mean + log_weight, end_mean]),
            covariance=np.block([[cost, cross], [cross.T, end]]),
        )

    def given(
        self, index: Sequence[int], values: Sequence[float], variances: Sequence[float]
    ) -> Surface:
        """Return the belief after observing some costs and final values.

        Args:
            index: what was observed: i is the cost of configuration i, n + i its final value.
            values: the observed value for each element of `index`.
            variances: the variance of the error of each observed value.
        """
        observed = np.asarray(index, dtype=int)
        root = np.linalg.cholesky(self.covariance[np.ix_(observed, observed)] + np.diag(variances))
        gain = np.linalg.solve(root, self.covariance[observed])
        off = np.linalg.solve(root, np.asarray(values) - self.mean[observed])
        return Surface(mean=self.mean + gain.T @ off, covariance=self.covariance - gain.T @ gain)

    def draws(self, standard: Array) -> tuple[Array, Array]:
        """Return joint random draws of all costs and final values.

        Args:
            standard: standard normal numbers, shape (n_draws, 2 n).

        Returns:
            Costs and final values as in `SurfacePrior`, each of shape (n_draws, n).
        """
        n = len(self.mean) // 2
        root = np.linalg.cholesky(self.covariance + _JITTER * np.eye(2 * n))
        both = self.mean + standard @ root.T
        return both[:, :n], both[:, n:]


def margins_of(end: Array, *, most: float = 12.0) -> Array:
    """Convert asinh(m) to m: how many margins each final value is worse than the reference's.

    Values beyond ± `most` count as ± `most`, on the asinh scale; 12 are 81,000 margins.
    """
    return np.asarray(np.sinh(np.clip(end, -most, most)))


def scatter_at(margins: Array, sd: float | Array) -> Array:
    """Convert standard deviations of final values from margins to the asinh scale.

    `margins` says how many margins worse than the reference each final value is.
    """
    return np.asarray((np.arcsinh(margins + sd) - np.arcsinh(margins - sd)) / 2)


# The arguments of `SurfacePrior.of`, as `python -m benchmarks.surface_prior` prints them.
_NUMBERS = (
    *(-0.1619, -0.9416, 0.3705, 0.1391, 0.1117),  # Trend of costs: means of the five coefficients.
    *(-1.575, -2.601, -2.058, -2.443, -2.841),  # Trend of costs: logarithms of their SDs.
    # Trend of final values: means of the five coefficients.
    *(-0.08648, 0.08691, 0.5154, 0.187, 0.1878),
    # Trend of final values: logarithms of the standard deviations of the five coefficients.
    *(-1.488, -2.457, -2.133, -2.161, -2.766),
    # For each coefficient, the correlation between costs and final values.
    *(1.586, 0.1142, 0.8652, 0.9438, 0.3279),
    # Residuals of the trends: two length scales, two standard deviations, one correlation.
    *(1.7, 1.054, -0.06046, 0.4347, 0.759),
    # The roughness of costs; the roughness of final values; how log2 of the best learning rate
    # rises with log2 of the batch size.
    *(-3.179, -1.305, 0.6638),
)
PRIOR = SurfacePrior.of(_NUMBERS)
"""The prior, fitted to fifteen recorded workloads; at each, three rates were the reference."""
