"""Lines, the law of memory and means: known ones come back, intervals hold the truth."""

import math

import numpy as np
import pytest
from scipy.stats import linregress

from batchlab.errors import UsageError
from batchlab.laws.lines import StraightLine, fit_memory
from batchlab.laws.mean import mean_interval


@pytest.mark.parametrize(("n", "t"), [(3, 12.706204736), (4, 4.3026527299), (20, 2.1009220402)])
def test_line_and_intervals_are_those_of_scipy(n, t):
    """Two points have no bounds."""
    rng = np.random.default_rng(n)
    x = rng.uniform(5, 9, n)
    y = 2 - 3 * x + rng.normal(size=n)

    line, of_two = StraightLine.through(x, y), StraightLine.through([1, 3], [10, 20])

    told = linregress(x, y)
    assert (line.slope, line.level) == pytest.approx((told.slope, told.intercept))
    assert line.at(7) == pytest.approx(told.intercept + 7 * told.slope)
    half = t * told.stderr
    assert line.slope_interval() == pytest.approx((told.slope - half, told.slope + half))
    half = t * told.intercept_stderr
    assert line.level_interval() == pytest.approx((told.intercept - half, told.intercept + half))
    assert (of_two.slope, of_two.level, of_two.n) == (5, 5, 2)
    assert of_two.slope_interval() == of_two.level_interval() == (None, None)


SIZES = (1, 4, 16, 64, 256, 1024)


def test_the_interval_of_a_size_that_did_not_run_holds_its_peak_95_times_in_100():
    rng = np.random.default_rng(1)
    n_draws, held = 600, 0
    for _ in range(n_draws):
        *noise, further = rng.normal(0, 2e6, len(SIZES) + 1)
        peaks = [(b, round(50e6 + 3e4 * b + e)) for b, e in zip(SIZES, noise, strict=True)]
        held += fit_memory(peaks).predicted_bytes(4096).holds(50e6 + 3e4 * 4096 + further)

    standard_error = math.sqrt(0.95 * 0.05 / n_draws)
    assert abs(held / n_draws - 0.95) < 4 * standard_error


@pytest.mark.parametrize(
    ("points", "slope"),
    [
        ([], None),
        ([(8, 1000), (8, 1010)], None),
        ([(1, 2_000), (2, 1_500), (3, 1_000)], pytest.approx(-500)),
    ],
)
def test_one_batch_size_is_no_line_and_a_line_may_fall(points, slope):
    fit = fit_memory(points)

    assert fit.bytes_per_example.estimate == slope
    if slope is None:
        assert fit.bytes_per_example.reason.code == "too_few"
        assert fit.predicted_bytes(8).reason == fit.fixed_bytes.reason


def test_mean_interval_agrees_with_the_textbook_t_interval():
    estimate = mean_interval([1.0, 2.0, 4.0])

    # mean 7/3, standard deviation sqrt(7/3), t(2, 0.975) = 4.302653
    half = 4.302652729911275 * math.sqrt(7 / 3) / math.sqrt(3)
    assert estimate.estimate == pytest.approx(7 / 3)
    assert (estimate.low, estimate.high) == pytest.approx((7 / 3 - half, 7 / 3 + half))
    assert estimate.n == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_never_averaged(bad):
    with pytest.raises(UsageError, match="diverged"):
        mean_interval([1.0, bad])
