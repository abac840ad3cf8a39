"""The final value: exact on lines, and nearer to the end than a mean."""

import math

import numpy as np
import pytest

from batchlab.belief.final_value import end_error, final_value


def curve(values):
    return [(64 * (i + 1), value) for i, value in enumerate(values)]


def times(n):
    """Evaluations of a run that ends at 1."""
    return (np.arange(n) + 1) / n


def mean_of_last_quarter(values):
    return np.mean(values[math.ceil(0.75 * len(values)) - 1 :])


def noisy(truth, sd, n_seeds):
    return truth + sd * np.random.default_rng(0).standard_normal((n_seeds, len(truth)))


@pytest.mark.parametrize("better", ["higher", "lower"])
@pytest.mark.parametrize(("slope", "n"), [(0.2, 12), (0.2, 20), (-0.2, 20), (0.0, 20)])
def test_the_end_of_a_straight_line_through_the_last_quarter_is_exact(better, slope, n):
    line = 0.5 + slope * (times(n) - 1)
    late = np.where(times(n) < 0.75, 99.0, line)

    assert final_value(curve(line), better=better) == pytest.approx(0.5, abs=1e-12)
    assert final_value(curve(late), better=better) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("sd", [0.002, 0.005, 0.01])
def test_an_error_that_still_falls_is_not_overstated(sd):
    """Compare with the mean of the last quarter, seed by seed, where errors fall as t^-0.5."""
    runs = noisy(0.3 * times(40) ** -0.5, sd, 400)

    by_line = [abs(final_value(curve(run), better="lower") - 0.3) for run in runs]
    by_mean = [abs(mean_of_last_quarter(run) - 0.3) for run in runs]

    nearer = np.array(by_mean) - by_line
    assert nearer.mean() > 4 * nearer.std() / math.sqrt(len(runs))
    assert np.mean(by_line) < 0.5 * np.mean(by_mean)
    assert np.mean(nearer > 0) > 0.95


@pytest.mark.parametrize("n", [16, pytest.param(100, marks=pytest.mark.slow)])
def test_a_flat_curve_costs_at_most_twice_the_variance_of_a_mean(n):
    """The end of a plain line through many evaluations has four times the variance of their mean.

    With its slope b = t se shrunk by 1 - 1/t², what is left is 1 + 3 E[(t - 1/t)²; |t| > 1] = 2.0.
    """
    runs = noisy(np.full(n, 0.3), 0.01, 3000)

    ends = [final_value(curve(run), better="lower") for run in runs]

    assert np.var(ends) / np.var([mean_of_last_quarter(run) for run in runs]) < 2.1


@pytest.mark.parametrize("n", [4, 10])
def test_a_run_that_was_evaluated_seldom_ends_where_it_rises_to(n):
    """Its line rises by 0.15 an evaluation from 0.667, of which 4 % are its error."""
    end = final_value(curve([0.0] * (n - 3) + [0.5, 0.7, 0.8]), better="higher")

    assert end == pytest.approx(0.667 + 0.15 * (1 - 1 / 27), abs=1e-3)


@pytest.mark.parametrize("values", [[], [0.9], [0.5] * 11])
def test_of_fewer_than_three_late_evaluations_the_last_counts_and_tells_no_error(values):
    assert end_error(curve(values)) is None
    if len(values) < 3:
        assert final_value(curve(values), better="higher") == (values[-1] if values else None)
    assert final_value([(10, 0.1), (90, 0.7), (100, 0.9)], better="higher") == 0.9


@pytest.mark.parametrize(
    ("better", "last", "bound"),
    [("higher", 1.0, 1.0), ("higher", 100.0, 100.0), ("lower", 0.0, 0.0)],
)
def test_a_line_ends_within_the_bounds_of_its_metric(better, last, bound):
    """A curve that bends to its bound: a line through it would end beyond."""
    curved = last + (1 if better == "lower" else -1) * max(last, 1.0) * (1 - times(20)) ** 2

    assert final_value(curve(curved), better=better) == last


@pytest.mark.parametrize("n", [4, 20])
def test_a_value_that_is_not_finite_counts_only_at_the_end(n):
    for broken, is_end in ((0, True), (-2, False)):
        values = list(np.linspace(0.1, 0.5, n))
        values[broken] = None
        assert (final_value(curve(values), better="higher") is not None) == is_end


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ((0.1, 0.6, 0.8, 0.7, 0.2, 0.9, 0.1), 0.7),
        ((0.5, 0.6, 0.7, None), 0.6),
        ((0.5, 0.7, None), 0.6),
        ((None, None), None),
    ],
)
@pytest.mark.parametrize(("better", "sign"), [("higher", 1), ("lower", -1)])
def test_a_run_that_keeps_its_best_ends_with_the_best_three(better, sign, values, best):
    """A best model outlives what is not finite."""
    values = [None if value is None else sign * value for value in values]

    end = final_value(curve(values), better=better, keeps_best=True)

    assert end == (None if best is None else pytest.approx(sign * best))


def test_the_error_of_an_end_is_that_of_the_line_there():
    """Compare with how far the ends of lines through the same times scatter."""
    runs = noisy(0.5 + 0.1 * times(40), 0.01, 3_000)

    ends = [np.polyval(np.polyfit(times(40)[29:], run[29:], 1), 1.0) for run in runs]
    errors = [end_error(curve(run)) for run in runs]

    assert math.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(ends), rel=0.05)
