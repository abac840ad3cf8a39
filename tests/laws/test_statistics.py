"""Means of independent observations."""

import math

import numpy as np
import pytest

from batchlab.errors import UsageError
from batchlab.laws.scatter import mean_interval


def test_mean_interval_agrees_with_the_textbook_t_interval():
    estimate = mean_interval([1.0, 2.0, 4.0])

    # mean 7/3, standard deviation sqrt(7/3), t(2, 0.975) = 4.302653
    half = 4.302652729911275 * math.sqrt(7 / 3) / math.sqrt(3)
    assert estimate.estimate == pytest.approx(7 / 3)
    assert (estimate.low, estimate.high) == pytest.approx((7 / 3 - half, 7 / 3 + half))
    assert estimate.n == 3


def test_interval_covers_the_truth_95_times_in_100():
    rng = np.random.default_rng(0)
    n_draws = 2000
    estimates = [mean_interval(rng.normal(5.0, 2.0, 4).tolist()) for _ in range(n_draws)]

    covered = np.mean([estimate.low <= 5.0 <= estimate.high for estimate in estimates])

    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / n_draws) ** 0.5


def test_higher_confidence_widens_the_interval():
    wide, narrow = mean_interval([1, 2, 4], confidence=0.99), mean_interval([1, 2, 4])

    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_one_seed_has_a_mean_and_no_interval():
    estimate = mean_interval([0.5])

    assert (estimate.estimate, estimate.low, estimate.high, estimate.n) == (0.5, None, None, 1)


def test_no_seed_has_a_reason_instead_of_a_mean():
    estimate = mean_interval([])

    assert estimate.estimate is None
    assert estimate.reason


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_never_averaged(bad):
    with pytest.raises(UsageError, match="diverged"):
        mean_interval([1.0, bad])
