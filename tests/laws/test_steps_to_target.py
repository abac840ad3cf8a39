"""The law of steps to target: known answers, coverage, and what it refuses to say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.law_coverage import b_crit_coverage, coverage
from tests.reference.by_day import by_day
from tests.reference.steps_to_target import (
    ANY_EXPONENT,
    EXPONENTS,
    FIVE,
    STUDIES,
    MadeUpStudy,
    drawn,
    exact,
    f_statistic,
    fit_by_search,
    on_the_law,
)

from batchlab.errors import FitError
from batchlab.laws.steps import fit_steps_to_target
from batchlab.laws.steps_curve import StepsObservation
from batchlab.words.reasons import reason_text

# The point


@pytest.mark.parametrize("seeds", [1, 3])
def test_points_on_a_known_law_give_it_back_to_1e_6(seeds):
    fit = fit_steps_to_target(on_the_law(seeds=seeds))

    assert fit.s_min.estimate == pytest.approx(1000, rel=1e-6)
    assert fit.e_min.estimate == pytest.approx(200_000, rel=1e-6)
    assert fit.b_crit.estimate == pytest.approx(200, rel=1e-6)
    assert (fit.b_crit.low, fit.b_crit.high) == pytest.approx((200, 200), rel=1e-6)
    assert fit.law_holds


def test_the_order_of_the_runs_changes_nothing_but_the_order_of_the_residuals():
    seen = drawn()

    fit, turned = fit_steps_to_target(seen), fit_steps_to_target(seen[::-1])

    assert turned.b_crit.estimate == pytest.approx(fit.b_crit.estimate, rel=1e-9)
    assert turned.residuals[::-1] == pytest.approx(fit.residuals, abs=1e-9)


def test_residuals_are_logs_and_a_run_that_never_got_there_has_none():
    seen = [
        *on_the_law(),
        exact(50, 5000 * math.exp(0.01)),
        StepsObservation(batch_size=800, after_steps=500, steps=None),
    ]

    fit = fit_steps_to_target(seen)

    assert fit.residuals[-1] is None
    assert fit.residuals[-2] - fit.residuals[1] == pytest.approx(0.01)


def test_the_same_seed_gives_the_same_draws_and_another_gives_others():
    seen = drawn()

    first, again, other = (fit_steps_to_target(seen, seed=seed) for seed in (3, 3, 4))

    assert np.array_equal(first.log_steps_draws([8, 100]), again.log_steps_draws([8, 100]))
    assert not np.array_equal(first.log_steps_draws([8]), other.log_steps_draws([8]))
    assert first.log_steps_draws([8, 100]).shape == (999, 2)


# Whether the law holds


def test_the_test_statistic_is_the_textbook_one():
    seen = drawn(2, cadence=0.0)
    points = [(one.batch_size, one.steps) for one in seen]

    test = fit_steps_to_target(seen).lack_of_fit

    assert test.statistic == pytest.approx(f_statistic(points, *fit_by_search(points)), rel=1e-5)


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
    assert fit.e_min.estimate is None
    assert "exponent" in reason_text(fit.e_min.reason)
    assert fit.exponent.low < 0.7 < fit.exponent.high


@pytest.mark.parametrize("exponent", [0.6, 0.8, 1.25, 1.5])
def test_points_on_the_generalized_law_give_its_b_crit_and_s_min_back_to_1e_6(exponent):
    fit = fit_steps_to_target(on_the_law((1, 10, 50, 200, 800), seeds=2, exponent=exponent))

    assert not fit.law_holds
    assert fit.b_crit.estimate == pytest.approx(200, rel=1e-6)
    assert (fit.b_crit.low, fit.b_crit.high) == pytest.approx((200, 200), rel=1e-6)
    assert fit.s_min.estimate == pytest.approx(1000, rel=1e-6)


def test_without_repeats_the_law_cannot_be_tested_and_the_reason_says_so():
    test = fit_steps_to_target(on_the_law()).lack_of_fit

    assert (test.statistic, test.rejected) == (None, None)
    assert "more seeds" in reason_text(test.reason)


@pytest.mark.slow
def test_seeds_that_all_agree_leave_the_interval_to_the_distances_from_the_curve():
    held, n_draws = [], 200
    rng = np.random.default_rng(8)
    study = MadeUpStudy(sizes=FIVE, b_crit=250, seeds=1, sigma=0.04, cadence=0.0)
    for _ in range(n_draws):
        seen = [one for one in study.draw(rng)[0] for _ in range(3)]
        fit = fit_steps_to_target(seen, n_resamples=199)
        if fit.law_holds:
            held.append(fit.b_crit.holds(250))

    assert len(held) > 0.95 * n_draws
    assert abs(np.mean(held) - 0.95) < 4 * (0.95 * 0.05 / len(held)) ** 0.5


# Steps of the configurations as tuned


def test_a_batch_size_that_lies_off_the_law_keeps_its_own_measurement():
    seen = drawn(sigma=0.005, cadence=0.0, seeds=5)
    off = [exact(one.batch_size, one.steps * (1.15 if one.batch_size == 64 else 1)) for one in seen]

    fit = fit_steps_to_target(off)

    own = 1000 * (1 + 120 / 64) * 1.15
    assert math.exp(fit.log_steps([64])[0]) == pytest.approx(own, rel=0.02)
    assert fit.steps(64).low < own < fit.steps(64).high


def test_without_a_law_the_steps_are_interpolated_and_stay_monotone():
    fit = fit_steps_to_target(drawn(exponent=0.7, sigma=0.03))
    sizes = np.geomspace(8, 2048, 30)

    log_steps = fit.log_steps_draws(sizes)

    assert not fit.law_holds
    assert np.all(np.diff(log_steps) <= 1e-12)
    assert np.all(np.diff(log_steps + np.log(sizes)) >= -1e-12)


def test_without_a_law_nothing_is_said_beyond_the_measured_batch_sizes():
    fit = fit_steps_to_target(drawn(exponent=0.7, sigma=0.03))

    assert "measured from 8 to 2048" in reason_text(fit.steps(4096).reason)
    with pytest.raises(FitError, match="measure there"):
        fit.log_steps_draws([4096])


def test_beyond_the_range_steps_neither_rise_nor_fall_faster_than_perfect_scaling():
    fit = fit_steps_to_target(drawn(sizes=(32, 64, 128, 256, 512), b_crit=1e6))

    draws = fit.line_draws().log_steps([512, 5120])

    assert np.all(np.diff(draws) <= 1e-9)
    assert np.all(np.diff(draws) >= -math.log(10) - 1e-9)


def test_the_curve_has_no_jump_at_the_ends_of_the_range():
    fit = fit_steps_to_target(drawn(sizes=(32, 64, 128, 256, 512), b_crit=1e6))

    draws = fit.line_draws().log_steps([31.9999, 32, 512, 512.0001])

    assert np.any(fit.line_draws().fall > math.log(512 / 32))
    assert np.abs(draws[:, 0] - draws[:, 1]).max() < 1e-4
    assert np.abs(draws[:, 2] - draws[:, 3]).max() < 1e-4


# Too little


@pytest.mark.parametrize("sizes", [(64,), (64, 256)])
def test_fewer_than_three_batch_sizes_are_refused_by_name(sizes):
    with pytest.raises(FitError, match=rf"was reached: {len(sizes)} \(64"):
        fit_steps_to_target(on_the_law(sizes, seeds=3))


def test_a_batch_size_that_never_reached_the_target_does_not_count_as_a_third():
    never = StepsObservation(batch_size=1024, after_steps=99, steps=None)

    with pytest.raises(FitError, match="was reached: 2 "):
        fit_steps_to_target([*on_the_law((64, 256)), never])


# Coverage


BY_DAY = (
    "9 sizes, 3 seeds, 6 %",
    "5 sizes, 2 seeds, 6 %",
    "B_crit 10 times above the range",
    "a third of two sizes stopped early",
)


# With more draws: tests/nightly.
@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(STUDIES, BY_DAY))
def test_intervals_hold_the_truth_92_to_98_times_in_100(name):
    n_draws = 200

    shares = coverage(STUDIES[name], n_studies=n_draws, seed=101)

    slack = 3 * (0.95 * 0.05 / n_draws) ** 0.5
    assert 0.92 - slack < shares["B_crit"] < 0.98 + slack
    assert 0.92 - slack < shares["steps"] < 0.98 + slack
    assert shares["withheld"] < 0.1


# All rows at all exponents: tests/nightly.
@pytest.mark.slow
@pytest.mark.parametrize("exponent", [EXPONENTS[0], 1.1, EXPONENTS[-1]])
@pytest.mark.parametrize("name", list(ANY_EXPONENT)[:1])
def test_b_crit_holds_the_truth_at_every_exponent(name, exponent):
    study, n_studies = replace(ANY_EXPONENT[name], exponent=exponent), 200

    held, told = b_crit_coverage(study, n_studies=n_studies, seed=102)

    assert held > 0.92 - 3 * (0.95 * 0.05 / (told * n_studies)) ** 0.5
    # Where little is known intervals are wider than they need be, so nothing is asked from above.
    assert told > 0.5
