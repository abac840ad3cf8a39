"""Steps made monotone, and interpolated, and whether their means reject it."""

import math

import numpy as np
import pytest
from scipy.stats import t

from batchlab.laws.steps_curve import MonotoneTest, interpolated, monotone_log_steps, monotone_test

LOG_SIZES = np.log([8, 16, 64, 100, 1000])


def test_steps_with_scatter_come_out_falling_and_never_faster_than_perfect_scaling():
    raw = np.random.default_rng(0).normal(size=(500, 5)) - 0.5 * LOG_SIZES

    made = monotone_log_steps(raw, LOG_SIZES)

    assert np.all(np.diff(made) <= 1e-12)
    assert np.all(np.diff(made + LOG_SIZES) >= -1e-12)


@pytest.mark.parametrize("slope", [0.0, -0.4, -1.0])
def test_steps_that_are_monotone_already_stay_as_they_are(slope):
    raw = 3 + slope * LOG_SIZES[None, :]

    assert monotone_log_steps(raw, LOG_SIZES) == pytest.approx(raw, abs=1e-12)


def test_between_batch_sizes_a_power_law_is_followed_exactly():
    log_steps = (2 - 0.7 * LOG_SIZES)[None, :]
    at = np.log([8, 11, 64, 500, 1000])

    assert interpolated(log_steps, LOG_SIZES, at)[0] == pytest.approx(2 - 0.7 * at)


def test_two_means_reject_a_rule_from_student_s_quantile_on():
    sizes, variance, degrees = np.array([8.0, 16.0]), np.array([0.0003, 0.0001]), 4
    critical = float(t.ppf(1 - 0.05 / 2, degrees)) * math.sqrt(0.0004)

    for share, is_rejected in ((0.999, False), (1.001, True)):
        rising = monotone_test(sizes, np.array([3, 3 + share * critical]), variance, degrees)
        steeper = np.array([3, 3 - math.log(2) - share * critical])
        falling = monotone_test(sizes, steeper, variance, degrees)

        assert (rising.steps_rise == (8, 16)) == is_rejected
        assert (falling.samples_fall == (8, 16)) == is_rejected
        assert rising.samples_fall is falling.steps_rise is None


def test_the_pair_that_rejects_most_clearly_need_not_be_neighbours():
    sizes = np.array([8.0, 16, 64, 100, 1000])

    test = monotone_test(sizes, 5 - 1.3 * np.log(sizes), np.full(5, 1e-3), 10)

    assert test == MonotoneTest(samples_fall=(8, 1000))


@pytest.mark.parametrize(
    ("rise", "degrees", "tolerance", "rejected"),
    [(0.05, 4, 0.0, True), (0.05, 4, 0.06, False), (6.0, 0, 0.0, False)],
)
def test_a_rise_within_the_tolerance_or_without_repeats_is_no_rise(
    rise, degrees, tolerance, rejected
):
    sizes, means, exact = np.array([8.0, 16.0]), np.array([3, 3 + rise]), np.full(2, 1e-9)

    test = monotone_test(sizes, means, exact, degrees, tolerance=tolerance)

    assert test.rejected == rejected


@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_a_truth_at_the_edge_of_monotone_is_rejected_at_most_5_times_in_100(slope):
    rng = np.random.default_rng(4)
    n_draws, degrees = 2000, 10
    rejected = []
    for _ in range(n_draws):
        means = slope * LOG_SIZES + 0.05 * rng.normal(size=5)
        variance = np.full(5, 0.05**2 * rng.chisquare(degrees) / degrees)
        rejected.append(monotone_test(np.exp(LOG_SIZES), means, variance, degrees).rejected)

    assert 0.005 < np.mean(rejected) < 0.05 + 4 * (0.05 * 0.95 / n_draws) ** 0.5
