"""Curves with an exponent of their own: closed forms, and what the exponent adds to B_crit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.reference.steps_to_target import ANY_EXPONENT, WIDE, drawn, exact, on_the_law

from batchlab.laws.steps import fit_steps_to_target
from batchlab.laws.steps_curve import StepsLine, StepsTable
from batchlab.laws.steps_posterior import FreeLines, at_expectation, free_lines


def through(steps_at, *, exponent, smallest=16.0, largest=4096.0):
    """The curve that has these steps at its ends."""
    return FreeLines(
        level=np.log([steps_at(largest)]),
        fall=np.log([steps_at(smallest) / steps_at(largest)]),
        exponent=np.array([exponent]),
        smallest=smallest,
        largest=largest,
    )


@pytest.mark.parametrize("exponent", [0.3, 0.6, 1.0, 1.5, 4.0])
def test_s_min_and_b_crit_follow_from_the_ends_and_the_exponent(exponent):
    line = through(lambda b: 700 * (1 + (250 / b) ** exponent), exponent=exponent)

    assert line.s_min[0] == pytest.approx(700, rel=1e-9)
    assert line.b_crit[0] == pytest.approx(250, rel=1e-9)


def test_with_exponent_1_they_are_those_of_the_law():
    line = through(lambda b: 700 * (1 + 250 / b), exponent=1.0)

    law = StepsLine.over([16, 4096], level=line.level, fall=line.fall)
    assert line.s_min == pytest.approx(law.s_min)
    assert line.b_crit == pytest.approx(law.b_crit)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_steps_that_never_level_off_have_no_finite_b_crit_and_flat_ones_have_0(exponent):
    assert through(lambda b: 1e6 * b**-exponent * 2, exponent=exponent * 0.9).b_crit[0] == math.inf
    assert through(lambda b: 700.0, exponent=exponent).b_crit[0] == 0


def test_three_batch_sizes_leave_the_exponent_to_the_prior_and_b_crit_wider_than_the_law_does():
    seen = drawn(sizes=(16, 256, 4096), b_crit=250, seeds=3)
    table = StepsTable.of(seen)
    expected, law = at_expectation(table)

    point, draws = free_lines(
        table, expected, expected[None, :], law, n_draws=999, generator=np.random.default_rng(0)
    )

    of_the_law = fit_steps_to_target(seen).line_draws()
    low, high = np.log(np.quantile(draws.b_crit, (0.025, 0.975), method="nearest"))
    law_low, law_high = np.log(np.quantile(of_the_law.b_crit, (0.025, 0.975), method="nearest"))
    assert high - low > law_high - law_low
    assert low < math.log(point.b_crit[0]) < high
    # The prior's own 95 % lie between 0.46 and 2.2: three batch sizes add something, not much.
    assert 0.3 < np.quantile(draws.exponent, 0.025) < 0.9
    assert 1.1 < np.quantile(draws.exponent, 0.975) < 3


def test_many_precise_batch_sizes_overrule_the_prior():
    fit = fit_steps_to_target(drawn(sizes=WIDE, exponent=0.5, seeds=6, sigma=0.01, cadence=0.0))

    assert fit.b_crit.holds(120)
    assert fit.b_crit.high / fit.b_crit.low < 1.6


def test_the_interval_of_b_crit_is_wider_than_with_the_exponent_known():
    seen = ANY_EXPONENT["6 sizes, 2 seeds, 6 %"].draw(np.random.default_rng(3))[0]
    fit = fit_steps_to_target(seen)

    of_the_law = fit.line_draws().b_crit
    low, high = np.quantile(of_the_law, (0.025, 0.975), method="nearest")
    assert fit.b_crit.high / fit.b_crit.low > high / low


@pytest.mark.slow
def test_what_is_told_holds_its_estimate():
    rng = np.random.default_rng(5)
    for exponent in (0.6, 1.0, 1.5):
        for _ in range(20):
            seen = [
                exact(b, 1000 * (1 + (250 / b) ** exponent) * math.exp(0.1 * rng.normal()))
                for b in (16, 128, 1024, 8192)
                for _ in range(2)
            ]
            fit = fit_steps_to_target(seen, n_resamples=199)

            for found in (fit.b_crit, fit.s_min):
                assert found.estimate is None or found.holds(found.estimate)


def test_the_parameters_are_the_same_however_often_they_are_asked_for():
    fit, again = (fit_steps_to_target(on_the_law(seeds=2), seed=4) for _ in range(2))

    assert (fit.b_crit, fit.s_min, fit.e_min) == (again.b_crit, again.s_min, again.e_min)
    assert fit.b_crit is fit.b_crit
