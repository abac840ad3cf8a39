"""The surface: against its slow twin, and the closed form of what conditioning does."""

import math

import numpy as np
import pytest
from tests.reference import joint_belief as twin

from batchlab.belief.surface import Places, Surface, SurfacePrior, margins_of, scatter_at

# Fitted to fifteen recorded workloads, rounded.
NUMBERS = [
    *(-0.46, -0.98, 0.53, 0.15, 0.14),  # cost: means and log standard deviations
    *(-0.91, -2.75, -1.63, -2.67, -2.89),
    *(-0.53, 0.01, 0.79, 0.28, 0.28),  # final value
    *(-0.67, -2.39, -1.63, -2.17, -2.62),
    *(1.92, 0.51, 1.46, 0.64, 0.75),  # correlations of coefficients
    *(1.51, 0.89, -0.13, 0.64, 0.85),  # scales, residuals and their correlation
    *(-3.57, -1.52, 0.64),  # roughness, ridge
]
PRIOR = SurfacePrior.of(NUMBERS)
PLACES = Places(
    size=np.array([0.0, 0.0, 1.0, 2.0, 3.0, -1.0, 4.5]),
    rate=np.array([0.0, 1.0, 1.0, -1.0, 3.0, 0.0, 2.0]),
    horizon=np.array([0.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.6]),
)
N = len(PLACES.size)
LOG_WEIGHT = np.linspace(-3.0, -1.0, N)
BEFORE = Surface.before_any_run(PRIOR, PLACES, LOG_WEIGHT)
# Costs of four configurations, the first twice, and three final values.
SEEN = ([0, 3, 5, 0, 6, N, N + 3, N + 6], [5.0, 7.0, 4.5, 5.3, 9.0, 0.0, 1.5, -0.5])
VARIANCES = [0.05, 0.01, 0.3, 0.05, 1.0, 0.4, 0.02, 0.2]


def test_the_prior_is_that_of_the_slow_twin():
    mean, covariance = twin.before_any_run(PRIOR, PLACES, LOG_WEIGHT)

    np.testing.assert_allclose(BEFORE.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(BEFORE.covariance, covariance, rtol=1e-12)


def test_conditioning_is_the_textbook_formula_one_by_one():
    mean, covariance = BEFORE.mean, BEFORE.covariance
    for at, value, variance in zip(*SEEN, VARIANCES, strict=True):
        mean, covariance = twin.observe(mean, covariance, at, value, variance)

    after = BEFORE.given(*SEEN, VARIANCES)

    np.testing.assert_allclose(after.mean, mean, atol=1e-8)
    np.testing.assert_allclose(after.covariance, covariance, atol=1e-8)


def test_draws_have_the_mean_and_the_covariance_of_the_belief():
    after, n_draws = BEFORE.given(*SEEN, VARIANCES), 40_000

    cost, end = after.draws(np.random.default_rng(0).standard_normal((n_draws, 2 * N)))

    both, variance = np.concatenate([cost, end], axis=1), np.diag(after.covariance)
    mean_error = np.sqrt((variance + 1e-6) / n_draws)
    assert (np.abs(both.mean(axis=0) - after.mean) < 4 * mean_error).all()
    # The covariance of n normal draws has variance (v_i v_j + c_ij²) / n.
    error = np.sqrt((np.outer(variance, variance) + after.covariance**2) / n_draws)
    assert (np.abs(np.cov(both.T) - after.covariance) < 4.5 * error + 2e-6).all()


def test_margins_and_their_scatter_follow_one_scale():
    """A small scatter of margins is divided by the slope of margins over the surface's scale."""
    end, step = np.linspace(-3.9, 3.9, 27), 1e-5
    slope = (margins_of(end + step) - margins_of(end - step)) / (2 * step)

    np.testing.assert_allclose(np.arcsinh(margins_of(end)), end, atol=1e-12)
    np.testing.assert_allclose(scatter_at(margins_of(end), 1e-4), 1e-4 / slope, rtol=1e-6)
    bounded = margins_of(np.array([9.0, -9.0]), most=4.0)
    assert bounded == pytest.approx([math.sinh(4), -math.sinh(4)])
    assert scatter_at(np.array(2.0), 3.0) == pytest.approx((math.asinh(5) - math.asinh(-1)) / 2)
