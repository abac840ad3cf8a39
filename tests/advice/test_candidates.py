"""Candidates: the figures of each batch size in closed form, and how far it is from the best."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.reference.made_up_outcome import (
    STEP_S,
    STEPS,
    WHY,
    decision,
    quality_state,
    state_of,
)
from tests.reference.made_up_state import learning_rate
from tests.reference.simulated_engine import N_TRAIN
from tests.reference.simulated_question import option

from batchlab.advice.decision import candidates, costs_of, learning_cost


def candidates_of(state, decided=None):
    return candidates(state, costs_of(state), decided or decision())


def candidate_of(state, batch_size):
    return next(c for c in candidates_of(state) if c.batch_size == batch_size)


def test_every_batch_size_in_question_is_a_candidate():
    out = replace(option(256, STEP_S), note=WHY)
    state = state_of(options=(option(64, STEP_S), option(128, STEP_S), out))

    candidates = candidates_of(state)

    assert [c.batch_size for c in candidates] == [64, 128, 256]
    assert [c.fits for c in candidates] == [True, True, False]
    assert [c.n_runs for c in candidates] == [3, 3, 0]
    assert [c.learning_rate for c in candidates] == [learning_rate(64), learning_rate(128), None]
    assert candidates[2].note == candidates[2].relative.reason == WHY
    assert [c.in_flat_set for c in candidates] == [False, True, False]


@pytest.mark.parametrize(
    ("objective", "figure"), [("time", "time_to_target_s"), ("samples", "samples_to_target")]
)
def test_the_cost_of_a_candidate_is_the_figure_asked_for(objective, figure):
    candidate = candidate_of(state_of(objective=objective), 128)

    steps = np.exp(np.mean(np.log(STEPS[128])))
    assert candidate.steps_to_target.estimate == pytest.approx(steps)
    assert candidate.time_to_target_s.estimate == pytest.approx(steps * STEP_S)
    # An epoch has 157 steps, its last of 32 examples.
    assert candidate.samples_to_target.estimate == pytest.approx(steps * N_TRAIN / 157)
    assert candidate.cost == getattr(candidate, figure)


def test_the_cost_of_a_candidate_for_quality_is_its_distance_from_perfect():
    candidate = candidate_of(quality_state(), 128)

    assert candidate.cost.estimate == pytest.approx(0.04)
    assert candidate.samples_to_target.estimate == pytest.approx(5 * N_TRAIN)


def test_a_candidate_stands_to_the_best_as_the_decision_has_it():
    far = decision(high=(math.inf, 1.02))

    first, second = candidates_of(state_of(), far)[:2]

    assert (first.relative.estimate, first.relative.low, first.relative.high) == (2.0, 1.9, None)
    assert (second.relative.low, second.relative.high, second.relative.n) == (1.0, 1.02, 3)


def test_a_candidate_that_was_not_run_is_bounded_by_those_that_were():
    # At equal step times, 32 takes no fewer steps than the best, 128, and 256 at least half of it.
    state = state_of(sizes=(32, 64, 128, 256))

    below, above = candidate_of(state, 32).relative, candidate_of(state, 256).relative
    mean = np.mean(np.log(STEPS[64])) - np.mean(np.log(STEPS[128]))
    assert below.low == pytest.approx(math.exp(mean))
    assert (below.estimate, below.high, below.n) == (None, None, 0)
    assert (above.estimate, above.low, above.high) == (None, None, None)
    assert below.reason
    assert not candidate_of(state, 32).in_flat_set


def test_a_candidate_that_was_ruled_out_says_why():
    state = state_of()
    state.ruled_out[256] = WHY

    candidate = candidate_of(state, 256)

    assert candidate.fits
    assert candidate.note == candidate.steps_to_target.reason == WHY
    assert str(WHY) in str(candidate.relative.reason)


def test_without_runs_nothing_bounds_a_candidate():
    found = candidates(state_of({}), None, None)

    assert all(c.relative.low is None and c.relative.reason for c in found)
    assert all(c.steps_to_target.reason for c in found)


def test_scaling_rules_are_told_as_multiples_of_the_references_tuned_rate():
    rules = ((128, (("linear", 2.0), ("sqrt", 2**0.5))),)

    tuned = state_of(rules=rules)
    untuned = state_of({128: STEPS[128]}, rules=rules)

    assert dict(candidate_of(tuned, 128).rule_learning_rates) == pytest.approx(
        {"linear": 2.0 * learning_rate(64), "sqrt": 2**0.5 * learning_rate(64)}
    )
    assert candidate_of(tuned, 256).rule_learning_rates == ()
    assert candidate_of(untuned, 128).rule_learning_rates == ()


def test_the_steps_of_a_batch_size_lie_in_the_middle_of_its_draws():
    state = state_of()
    costs = costs_of(state)

    steps = learning_cost(state, costs, 128)

    drawn = np.exp(costs.learning_cost_draws[:, costs.batch_sizes.index(128)])
    assert steps.estimate == pytest.approx(np.exp(np.mean(np.log(STEPS[128]))))
    assert (steps.low, steps.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), rel=1e-4)
    assert steps.n == 3
    assert learning_cost(state, costs, 256).reason
    assert learning_cost(state, None, 128).reason
