"""Bounds and wide intervals in the law of steps to target."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.reference.steps_to_target import WIDE, drawn, exact, fit_with_bounds_by_search

from batchlab.laws.steps import fit_steps_to_target
from batchlab.laws.steps_curve import StepsObservation


def test_narrow_intervals_of_evaluations_count_as_their_geometric_middle():
    middles = [exact(b, 1000 * (1 + 200 / b)) for b in (1, 50, 200, 800)]
    intervals = [
        StepsObservation(
            batch_size=one.batch_size, after_steps=one.steps / 1.02, steps=one.steps * 1.02
        )
        for one in middles
    ]

    assert fit_steps_to_target(intervals).b_crit.estimate == pytest.approx(200, rel=1e-9)


def test_a_run_that_never_got_there_raises_the_steps_that_leaving_it_out_would_underrate():
    all_there = drawn(1, cadence=0.0, seeds=5)
    law = {b: 1000 * (1 + 120 / b) for b in WIDE}
    cut = [
        one
        if one.batch_size < 1024 or one.steps < law[one.batch_size]
        else StepsObservation(
            batch_size=one.batch_size, after_steps=law[one.batch_size], steps=None
        )
        for one in all_there
    ]

    fit = fit_steps_to_target(cut)
    without = fit_steps_to_target([one for one in cut if not one.censored])

    truth = math.log(law[2048])
    assert abs(fit.log_steps([2048])[0] - truth) < abs(without.log_steps([2048])[0] - truth)
    assert fit.steps(2048).low < law[2048] < fit.steps(2048).high


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


def test_seeds_that_agree_better_than_their_evaluations_resolve_do_not_disprove_the_law():
    rejected = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        seen = []
        for b in WIDE:
            first = 1000 * (1 + 120 / b) * math.exp(-0.05 * rng.uniform())
            seen += [StepsObservation(batch_size=b, after_steps=first, steps=first * 1.05)] * 3
        fit = fit_steps_to_target(seen)
        rejected += bool(fit.lack_of_fit.rejected)

        assert fit.seed_sd == pytest.approx(math.log(1.05) / 12**0.5)
    assert rejected <= 6


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
