"""The law of steps to target: known answers, coverage, and what it refuses to say."""

import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.law_coverage import b_crit_coverage, coverage
from tests.reference.steps_to_target import (
    ANY_EXPONENT,
    EXPONENTS,
    FIVE,
    MARKED,
    STUDIES,
    WIDE,
    MadeUpStudy,
    drawn,
    exact,
    f_statistic,
    fit_by_search,
    fit_with_bounds_by_search,
    on_the_law,
)

from batchlab.errors import FitError
from batchlab.laws.steps import fit_steps_to_target
from batchlab.laws.steps_curve import StepsObservation

NEVER = StepsObservation(batch_size=800, after_steps=500, steps=None)


@pytest.mark.parametrize("seeds", [1, 3])
def test_points_on_a_known_law_give_it_back_to_1e_6(seeds):
    fit = fit_steps_to_target(on_the_law(seeds=seeds))

    assert fit.s_min.estimate == pytest.approx(1000, rel=1e-6)
    assert fit.e_min.estimate == pytest.approx(200_000, rel=1e-6)
    assert fit.b_crit.estimate == pytest.approx(200, rel=1e-6)
    assert (fit.b_crit.low, fit.b_crit.high) == pytest.approx((200, 200), rel=1e-6)
    assert fit.law_holds


@pytest.mark.parametrize("exponent", [0.6, 0.8, 1.25, 1.5])
def test_points_on_the_generalized_law_give_its_parameters_back_to_1e_6(exponent):
    fit = fit_steps_to_target(on_the_law((1, 10, 50, 200, 800), seeds=2, exponent=exponent))

    assert not fit.law_holds
    assert fit.exponent.estimate == pytest.approx(exponent, rel=1e-6)
    assert fit.b_crit.estimate == pytest.approx(200, rel=1e-6)
    assert (fit.b_crit.low, fit.b_crit.high) == pytest.approx((200, 200), rel=1e-6)
    assert fit.s_min.estimate == pytest.approx(1000, rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_point_is_least_squares_on_log_steps_as_a_general_search_finds_it(seed):
    seen = drawn(seed, cadence=0.0)

    fit = fit_steps_to_target(seen)

    s_min, e_min = fit_by_search([(one.batch_size, one.steps) for one in seen])
    assert fit.s_min.estimate == pytest.approx(s_min, rel=1e-6)
    assert fit.e_min.estimate == pytest.approx(e_min, rel=1e-6)


def test_residuals_are_logs_and_a_run_that_never_got_there_has_none():
    seen = [*on_the_law(), exact(50, 5000 * math.exp(0.01)), NEVER]

    fit = fit_steps_to_target(seen)

    assert fit.residuals[-1] is None
    assert fit.residuals[-2] - fit.residuals[1] == pytest.approx(0.01)


def test_an_exponent_at_an_end_of_the_search_is_at_most_bounded():
    # The steepest fall of the first lies beyond where the exponent's search otherwise looks.
    anything, cliff = {1: 1, 2: 30000, 3: 1200, 4: 3e5}, {16: 4000, 32: 1000, 64: 1000, 128: 1000}

    unknown = fit_steps_to_target([exact(b, steps) for b, steps in anything.items()]).exponent
    fit = fit_steps_to_target([exact(b, s * e) for b, s in cliff.items() for e in (0.99, 1, 1.01)])

    assert unknown.reason.code == fit.exponent.reason.code == "exponent_beyond_limits"
    assert (unknown.low, fit.exponent.low > 2, fit.exponent.high) == (None, True, None)
    assert not fit.law_holds


def test_the_test_statistic_is_the_textbook_one():
    seen = drawn(2, cadence=0.0)
    points = [(one.batch_size, one.steps) for one in seen]

    test = fit_steps_to_target(seen).lack_of_fit

    assert test.statistic == pytest.approx(f_statistic(points, *fit_by_search(points)), rel=1e-5)
    assert test.rejected == (test.p_value < 0.05)


@pytest.mark.slow
def test_the_test_rejects_a_true_law_5_times_in_100():
    n_draws = 250
    rng = np.random.default_rng(11)
    study = MadeUpStudy(sizes=FIVE, b_crit=250, seeds=3, sigma=0.05, cadence=0.0)

    rejected = [
        bool(fit_steps_to_target(study.draw(rng)[0], n_resamples=100).lack_of_fit.rejected)
        for _ in range(n_draws)
    ]

    assert abs(np.mean(rejected) - 0.05) < 4 * (0.05 * 0.95 / n_draws) ** 0.5


def test_where_the_exponent_is_another_b_crit_is_told_and_what_only_the_law_has_is_withheld():
    fit = fit_steps_to_target(drawn(exponent=0.7, sigma=0.03))

    assert not fit.law_holds
    assert fit.b_crit.low < 120 < fit.b_crit.high
    assert fit.s_min.low < 1000 < fit.s_min.high
    assert fit.exponent.low < 0.7 < fit.exponent.high
    assert fit.e_min.estimate is None
    assert fit.e_min.reason.code == "law_does_not_hold"


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (on_the_law(), "no_seeds_repeated"),
        ([*on_the_law((1, 50, 800), seeds=2), NEVER], "two_sizes_always_fit"),
    ],
)
def test_with_too_little_the_law_cannot_be_tested_and_the_reason_says_so(seen, code):
    test = fit_steps_to_target(seen).lack_of_fit

    assert (test.statistic, test.p_value, test.rejected) == (None, None, None)
    assert test.reason.code == code


def test_without_a_law_the_steps_are_interpolated_and_stay_monotone():
    fit = fit_steps_to_target(drawn(exponent=0.7, sigma=0.03))
    sizes = np.geomspace(8, 2048, 30)

    log_steps = fit.log_steps_draws(sizes)

    assert not fit.law_holds
    assert np.all(np.diff(log_steps) <= 1e-12)
    assert np.all(np.diff(log_steps + np.log(sizes)) >= -1e-12)
    assert fit.steps(4096).reason.code == "steps_not_measured"
    with pytest.raises(FitError, match="measure there"):
        fit.log_steps_draws([4096])


def test_beyond_the_range_steps_neither_jump_nor_rise_nor_fall_faster_than_perfect_scaling():
    lines = fit_steps_to_target(drawn(sizes=(32, 64, 128, 256, 512), b_crit=1e6)).line_draws()

    draws = lines.log_steps([31.9999, 32, 512, 512.0001, 5120])

    assert np.any(lines.fall > math.log(512 / 32))
    assert np.abs(draws[:, 0] - draws[:, 1]).max() < 1e-4
    assert np.abs(draws[:, 2] - draws[:, 3]).max() < 1e-4
    assert np.all(draws[:, 4] - draws[:, 2] <= 1e-9)
    assert np.all(draws[:, 4] - draws[:, 2] >= -math.log(10) - 1e-9)


def test_b_crit_above_the_measured_range_is_a_lower_bound():
    fit = fit_steps_to_target(drawn(sizes=(32, 64, 128, 256, 512), b_crit=50_000))

    assert (fit.b_crit.estimate, fit.b_crit.high) == (None, None)
    assert 512 < fit.b_crit.low < 50_000
    assert fit.b_crit.reason.code == "b_crit_beyond_largest"


def test_the_same_steps_at_every_batch_size_give_an_upper_bound():
    fit = fit_steps_to_target([exact(b, 700) for b in FIVE for _ in range(2)])

    assert (fit.b_crit.estimate, fit.b_crit.low) == (None, None)
    assert 0 < fit.b_crit.high < 16
    assert fit.b_crit.reason.code == "b_crit_below_smallest"


def test_pure_scatter_leaves_b_crit_untold():
    rng = np.random.default_rng(0)
    seen = [exact(b, 1000 * math.exp(1.5 * rng.normal())) for b in (64, 80, 100)]

    fit = fit_steps_to_target(seen)

    assert (fit.b_crit.estimate, fit.b_crit.low, fit.b_crit.high) == (None, None, None)
    assert fit.b_crit.reason.code == "steps_scatter"


@pytest.mark.slow
def test_the_point_with_runs_that_never_got_there_is_that_of_greatest_likelihood():
    seen = drawn(4, cadence=0.0, seeds=8, sigma=0.3, stopped=-0.2)
    reached = [(one.batch_size, one.steps) for one in seen if not one.censored]
    never = [(one.batch_size, one.after_steps) for one in seen if one.censored]

    fit = fit_steps_to_target(seen)

    s_min, e_min = fit_with_bounds_by_search(reached, never)
    assert len(never) >= 6
    assert fit.s_min.estimate == pytest.approx(s_min, rel=0.01)
    assert fit.e_min.estimate == pytest.approx(e_min, rel=0.01)


def test_wide_intervals_are_used_as_intervals_and_not_as_their_middles():
    rng = np.random.default_rng(5)
    seen = []
    for b in WIDE:
        for _ in range(4):
            steps = 100 * (1 + 120 / b) * math.exp(0.05 * rng.normal())
            after = 2 ** math.floor(math.log2(steps))  # evaluated at 1, 2, 4, 8, ... steps
            seen.append(StepsObservation(batch_size=b, after_steps=after, steps=2 * after))

    fit = fit_steps_to_target(seen)

    assert fit.b_crit.holds(120)
    assert fit.steps(64).low < 100 * (1 + 120 / 64) < fit.steps(64).high


def test_fewer_than_three_batch_sizes_that_reached_the_target_are_refused_by_name():
    with pytest.raises(FitError, match=r"was reached: 1 \(64\)"):
        fit_steps_to_target(on_the_law((64,), seeds=3))
    with pytest.raises(FitError, match=r"was reached: 2 \(64, 256\)"):
        fit_steps_to_target([*on_the_law((64, 256)), NEVER])


def test_three_batch_sizes_leave_no_exponent_to_tell():
    fit = fit_steps_to_target(on_the_law((1, 50, 800), seeds=2))

    assert fit.exponent.reason.code == "exponent_needs_four"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 64, "after_steps": 0, "steps": math.nan}, "finite"),
        ({"batch_size": 64, "after_steps": 0, "steps": 0.0}, "above 0"),
        ({"batch_size": 0, "after_steps": 0, "steps": 5.0}, "at least 1"),
        ({"batch_size": 64, "after_steps": 9, "steps": 5.0}, "not below after_steps"),
        ({"batch_size": 64, "after_steps": 0, "steps": None}, "after_steps"),
    ],
)
def test_an_observation_that_cannot_be_is_refused(given, message):
    with pytest.raises(FitError, match=message):
        StepsObservation(**given)


# All of STUDIES, with more draws: tests/nightly.
@pytest.mark.slow
def test_intervals_hold_the_truth_92_to_98_times_in_100():
    n_draws = 200

    shares = coverage(STUDIES["5 sizes, 2 seeds, 6 %"], n_studies=n_draws, seed=101)

    slack = 3 * (0.95 * 0.05 / n_draws) ** 0.5
    assert 0.92 - slack < shares["B_crit"] < 0.98 + slack
    assert 0.92 - slack < shares["steps"] < 0.98 + slack
    assert shares["withheld"] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("marks", [key for key in MARKED if key[0] < 3])
def test_intervals_hold_the_truth_whatever_the_marks_an_epoch(marks):
    shares = coverage(MARKED[marks], n_studies=60, seed=3)

    for name in ("ratios", "steps", "B_crit"):
        share = shares[name]
        assert math.isnan(share) or share > 0.92 - 4 * (0.95 * 0.05 / 60) ** 0.5, shares


# All rows at all exponents: tests/nightly.
@pytest.mark.slow
def test_b_crit_holds_the_truth_at_another_exponent():
    study = replace(ANY_EXPONENT["9 sizes, 3 seeds, 6 %"], exponent=EXPONENTS[0])
    n_studies = 200

    held, told = b_crit_coverage(study, n_studies=n_studies, seed=102)

    assert held > 0.92 - 3 * (0.95 * 0.05 / (told * n_studies)) ** 0.5
    # Where little is known intervals are wider than they need be, so nothing is asked from above.
    assert told > 0.5
