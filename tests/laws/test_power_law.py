"""Power laws by least squares on logarithms."""

import math

import numpy as np
import pytest
from scipy.stats import linregress

from batchlab.errors import FitError
from batchlab.laws.lines import fit_power_law
from batchlab.words.reasons import reason_text


def test_points_on_a_power_law_give_it_back():
    x = [1, 3, 10, 50]
    fit = fit_power_law(x, [7 * value**-0.4 for value in x])

    assert fit.exponent.estimate == pytest.approx(-0.4, rel=1e-12)
    assert fit.coefficient.estimate == pytest.approx(7, rel=1e-12)


def test_its_intervals_are_those_of_the_textbook_line():
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 100, 6)
    y = 3 * x**0.5 * np.exp(0.1 * rng.normal(size=6))

    fit = fit_power_law(x, y)

    line = linregress(np.log(x), np.log(y))
    half = 2.7764451051977987 * line.stderr  # t(4, 0.975)
    assert (fit.exponent.low, fit.exponent.high) == pytest.approx(
        (line.slope - half, line.slope + half)
    )
    half = 2.7764451051977987 * line.intercept_stderr
    assert fit.coefficient.low == pytest.approx(math.exp(line.intercept - half))
    assert fit.coefficient.high == pytest.approx(math.exp(line.intercept + half))


def test_the_interval_of_the_coefficient_holds_the_truth_95_times_in_100():
    rng, n_draws = np.random.default_rng(1), 1000
    x = np.array([1.0, 2.0, 4.0, 8.0])
    held = 0
    for _ in range(n_draws):
        told = fit_power_law(x, 2 * x**0.5 * np.exp(0.2 * rng.normal(size=4))).coefficient
        held += told.low <= 2 <= told.high

    assert abs(held / n_draws - 0.95) < 4 * (0.95 * 0.05 / n_draws) ** 0.5


def test_two_points_have_a_law_and_no_interval():
    fit = fit_power_law([1, 4], [1, 2])

    assert (fit.exponent.estimate, fit.exponent.low) == (pytest.approx(0.5), None)
    assert (fit.coefficient.low, fit.coefficient.high) == (None, None)


def test_points_at_one_x_leave_nothing_to_tell():
    fit = fit_power_law([3, 3, 3], [1, 2, 4])

    assert fit.exponent.estimate is None
    assert "needs 2" in reason_text(fit.coefficient.reason)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_a_point_without_a_logarithm_is_refused(bad):
    with pytest.raises(FitError, match="above 0"):
        fit_power_law([1, 2, 3], [1, bad, 2])
    with pytest.raises(FitError, match="above 0"):
        fit_power_law([bad, 2, 3], [1, 1, 2])
    with pytest.raises(FitError, match="as many"):
        fit_power_law([1, 2], [1])
