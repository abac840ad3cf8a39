"""SeedScatter: how much results vary over seeds, from the study and from recorded trainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, polygamma

from batchlab.belief.metric_scale import MetricScale

Array = NDArray[np.float64]

# All priors in this file were fitted by maximum likelihood to the nineteen recorded workloads by
# `python -m benchmarks.seed_scatter_coverage`.
#
# Some configurations vary more over seeds than others. Their "unlikeness" is the standard deviation
# over configurations of log(SD over seeds). This is a grid of its possible values.
_UNLIKENESS = (np.arange(24) + 0.5) / 24 * 1.8
_LOG_UNLIKENESS = (-1.20, 0.78)  # The mean and SD of the normal prior of log(unlikeness).
# The grid of log(typical variance over seeds): the distance of its points, and how many standard
# deviations of the prior it extends to either side.
_STEP, _REACH_SDS = 0.2, 6.0
# Without a prior, the grid extends this far below the smallest and above the largest logarithm of
# a measured variance.
_BELOW, _ABOVE = 24.0, 18.0
_LEAST_WEIGHT = 1e-6  # Drop grid points with less than this fraction of the largest weight.
# The accuracies and error rates that the priors were fitted to are means over this many examples.
_RECORDED_EXAMPLES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ScatterPrior:
    """The prior of a metric's standard deviation over seeds, after conversion by a `MetricScale`.

    The logarithm of the standard deviation has Student's t distribution with center `log_sd` and
    scale `log_sd_sd`. The `degrees` of freedom are few (heavy tails) because few families of
    workloads were recorded.
    """

    log_sd: float
    log_sd_sd: float
    degrees: int

    @classmethod
    def of(cls, scale: MetricScale, *, end_error: float | None = None) -> ScatterPrior | None:
        """Return the prior for the scale of a metric; None if no similar metric was recorded.

        The standard deviation is larger for noisy curves, and for accuracies over few examples,
        because each seed gets other examples right.

        Args:
            scale: the scale of the metric.
            end_error: the standard error of one run's final value on `scale`, if known.
        """
        if scale.kind == "plain":
            return None
        fewer = max(1.0, _RECORDED_EXAMPLES / (scale.n_examples or math.inf))
        prior, more = PRIORS[scale.kind], math.sqrt(fewer)
        if end_error is not None:
            prior, usual = PRIORS_OF_ERROR[scale.kind]
            more *= max(1.0, end_error / (usual * more)) ** _BY_ERROR
        return replace(prior, log_sd=prior.log_sd + math.log(more))

    def over(self, factor: float) -> ScatterPrior:
        """Convert the prior to a unit that is `factor` times as large."""
        return replace(self, log_sd=self.log_sd - math.log(factor))

    def log_density(self, log_sd: Array) -> Array:
        """Return the log density at each log standard deviation, up to a constant."""
        t = (log_sd - self.log_sd) / self.log_sd_sd
        return np.asarray(-(self.degrees + 1) / 2 * np.log1p(t**2 / self.degrees))


PRIORS = {
    "share": ScatterPrior(log_sd=-3.59, log_sd_sd=0.80, degrees=10),
    "loss": ScatterPrior(log_sd=-4.94, log_sd_sd=0.78, degrees=5),
    "steps": ScatterPrior(log_sd=-2.04, log_sd_sd=0.40, degrees=16),
}
# For each kind of metric, the prior to use if a final value's standard error is known, and the
# typical standard error. Above the typical error, the standard deviation over seeds grows with the
# standard error to the power `_BY_ERROR`. Below it, the standard deviation is constant.
PRIORS_OF_ERROR = {
    "share": (ScatterPrior(log_sd=-3.90, log_sd_sd=0.58, degrees=10), 0.0117),
    "loss": (ScatterPrior(log_sd=-5.44, log_sd_sd=0.33, degrees=5), 0.00189),
}
_BY_ERROR = 0.83


OwnScatter = tuple[float, int]
"""The unbiased variance over seeds of a configuration (> 0), and the number of seeds (>= 1)."""


def own_scatter(
    values: Sequence[float], variance: Callable[[Sequence[float]], float]
) -> OwnScatter:
    """Return `variance(values)` and the number of values; (1.0, 1) for fewer than two values."""
    return (variance(values), len(values)) if len(values) > 1 else (1.0, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedScatter:
    """The posterior of two numbers that describe the variances over seeds of all configurations.

    s0² is the typical variance; d0 is a number of degrees of freedom, higher if variances are more
    alike. Given both, the prior of a configuration's variance is s0² d0 / chi²(d0). A sample
    variance s² with d degrees of freedom gives the posterior (d0 s0² + d s²) / chi²(d0 + d). Smyth
    estimates s0² and d0 from thousands of genes. A study has two to ten configurations, too few
    for one estimate, so results are averaged over a grid of both numbers.

    Source: Smyth 2004, "Linear models and empirical Bayes methods for assessing differential
    expression in microarray experiments", sections 3 and 4; doi:10.2202/1544-6115.1027.
    """

    prior_degrees: Array  # The degrees of freedom (d0) at each of m grid points, shape (m,).
    prior_variance: Array  # The typical variance over seeds (s0²) at each grid point, shape (m,).
    weight: Array  # The probability of each grid point, shape (m,); the sum is 1.

    @classmethod
    def of(cls, cells: Sequence[OwnScatter], prior: ScatterPrior | None) -> SeedScatter | None:
        """Compute the posterior from the variances of configurations.

        Return None if there is no prior and no configuration has several seeds.
        """
        repeated = [(math.log(variance), n) for variance, n in cells if n > 1]
        if not repeated and prior is None:
            return None
        logs = [log_variance for log_variance, _ in repeated]
        log_usual = _grid(logs, prior)[None, :]
        degrees = _prior_degrees()[:, None]
        log_weight = _log_unlikeness()[:, None] + np.zeros_like(log_usual)
        if prior is not None:
            log_weight = log_weight + prior.log_density(log_usual / 2)
        for log_variance, n in repeated:
            log_weight = log_weight + _log_f(log_variance - log_usual, n - 1, degrees)
        weight = np.exp(log_weight - log_weight.max()).ravel()
        is_kept = weight > _LEAST_WEIGHT * weight.max()
        prior_degrees, log_usual = np.broadcast_arrays(degrees, log_usual)
        return cls(
            prior_degrees=prior_degrees.ravel()[is_kept],
            prior_variance=np.exp(log_usual.ravel()[is_kept]),
            weight=weight[is_kept] / weight[is_kept].sum(),
        )

    def sds(self, cells: Sequence[OwnScatter], k: int) -> Array:
        """Return k equally likely guesses of each configuration's standard deviation over seeds.

        The grid points, sorted by typical variance, are divided into k groups of equal probability.
        A group's guess is the root of the configuration's variance, averaged over the group.

        Returns:
            Shape (k, cells), rows in ascending order of the typical variance.
        """
        order = np.argsort(self.prior_variance, kind="stable")
        ends = np.cumsum(self.weight[order])
        edges = np.linspace(0, ends[-1], k + 1)[:, None]
        below = np.clip(edges, ends - self.weight[order], ends)
        shares = k * np.diff(below, axis=0)
        d0, s0_sq = self.prior_degrees[order][:, None], self.prior_variance[order][:, None]
        n, squares = _numbers_and_squares(cells)
        moderated = (d0 * s0_sq + squares) / (d0 + (n - 1))
        return np.asarray(np.sqrt(shares @ moderated))

    @property
    def usual_sd(self) -> float:
        """The square root of the expected variance of a metric over seeds."""
        return math.sqrt(float(self.weight @ self.prior_variance))

    def errors(self, cells: Sequence[OwnScatter], n_draws: int) -> Array:
        """Draw random errors of each configuration's mean over seeds, shape (n_draws, cells).

        Each draw uses one grid point for all configurations. Draws come in pairs of opposite sign,
        so their mean is 0. The random seed is fixed, so equal `cells` give equal draws.
        """
        stream = np.random.default_rng(0)
        half = n_draws // 2
        at = stream.choice(len(self.weight), size=half, p=self.weight)
        d0, s0_sq = self.prior_degrees[at][:, None], self.prior_variance[at][:, None]
        n, squares = _numbers_and_squares(cells)
        variance = (d0 * s0_sq + squares) / stream.chisquare(d0 + n - 1)
        errors = np.sqrt(variance / n) * stream.standard_normal((half, len(cells)))
        return np.concatenate([errors, -errors])


def _numbers_and_squares(cells: Sequence[OwnScatter]) -> tuple[Array, Array]:
    variance, n = np.array(cells).T
    return n, (n - 1) * variance


def _grid(logs: Sequence[float], prior: ScatterPrior | None) -> Array:
    """Return the grid of log(typical variance) that covers `logs`, the measured log variances."""
    if prior is None:
        return np.arange(min(logs) - _BELOW, max(logs) + _ABOVE, _STEP)
    middle, reach = 2 * prior.log_sd, 2 * _REACH_SDS * prior.log_sd_sd
    return np.arange(min([middle - reach, *logs]), max([middle + reach, *logs]) + _STEP, _STEP)


def _log_unlikeness() -> Array:
    """Return the log prior density of each value in `_UNLIKENESS`, up to a constant."""
    mean, sd = _LOG_UNLIKENESS
    return np.asarray(-0.5 * ((np.log(_UNLIKENESS) - mean) / sd) ** 2 - np.log(_UNLIKENESS))


@cache
def _prior_degrees() -> Array:
    """Return the degrees of freedom that correspond to each unlikeness in `_UNLIKENESS`."""
    # The logarithm of a chi² variable with d degrees of freedom has the variance trigamma(d / 2).
    # Solve for d / 2 by Newton's method, as in the appendix of Smyth 2004 (see `SeedScatter`).
    variance = 4 * _UNLIKENESS**2
    half = 0.5 + 1 / variance
    for _ in range(20):
        trigamma = polygamma(1, half)
        half += trigamma * (1 - trigamma / variance) / polygamma(2, half)
    return np.asarray(2 * half)


def _log_f(log_ratio: Array, degrees: int, prior_degrees: Array) -> Array:
    """Return the log density of `log_ratio`, the log of an F(degrees, prior_degrees) variable."""
    d, d0 = degrees, prior_degrees
    shape = gammaln((d + d0) / 2) - gammaln(d / 2) - gammaln(d0 / 2) + d / 2 * np.log(d / d0)
    spread = np.logaddexp(0.0, np.log(d / d0) + log_ratio)
    return np.asarray(shape + d / 2 * log_ratio - (d + d0) / 2 * spread)
