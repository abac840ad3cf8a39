"""The decision: upper bounds that hold all at once, and the verdicts they lead to."""

import math

import numpy as np
import pytest
from tests.reference.made_up_outcome import STEPS, decision, state_of
from tests.reference.made_up_state import Run, learning_rate, made_up_state
from tests.reference.reason_codes import codes

from batchlab.advice.allocation import _bounds_of
from batchlab.advice.decision import candidate, costs_of, decide
from batchlab.records.trial import Status
from batchlab.store.schema import kept_reason, reason_kept

SIZES = (16, 32, 64, 128)
GIVEN = {
    "delta": 0.1,
    "objective": "time",
    "may_recommend": [True] * len(SIZES),
    "all_compared": True,
    "peak_bytes": [1000 + size for size in SIZES],
}


def draws_around(log_costs, spread, *, n=2000, seed=0):
    rng = np.random.default_rng(seed)
    return np.array(log_costs) + spread * rng.standard_normal((n, len(log_costs)))


def decided(log_costs, spread, **changes):
    log_costs = np.array(log_costs)
    return decide(SIZES, log_costs, draws_around(log_costs, spread), **(GIVEN | changes))


def test_a_clear_best_is_recommended_with_a_flat_set_of_itself():
    decision = decided(np.log([2.0, 1.5, 1.0, 1.4]), 0.02)

    assert (decision.verdict, decision.batch_size) == ("recommend", 64)
    assert decision.flat_set == (64,)
    assert decision.relative == pytest.approx((2.0, 1.5, 1.0, 1.4))


def test_what_the_draws_leave_open_is_not_decided():
    decision = decided(np.log([2.0, 1.02, 1.0, 1.4]), 0.1)

    assert (decision.verdict, decision.batch_size) == ("cannot_tell", None)
    assert {decision.contender, decision.blocking} == {32, 64}


def test_where_all_are_the_same_the_one_with_the_least_memory_is_taken():
    decision = decided(np.log([1.01, 1.02, 1.0, 1.01]), 0.003)

    assert (decision.verdict, decision.batch_size) == ("indifferent", 16)
    assert decision.flat_set == SIZES


def test_it_is_not_all_the_same_while_a_batch_size_that_fits_was_not_compared():
    decision = decided(np.log([1.01, 1.02, 1.0, 1.01]), 0.003, all_compared=False)

    assert (decision.verdict, decision.batch_size) == ("recommend", 64)


def test_for_samples_the_largest_batch_size_inside_is_taken():
    decision = decided(np.log([1.0, 1.02, 1.04, 1.6]), 0.003, objective="samples")

    assert (decision.verdict, decision.batch_size) == ("recommend", 64)


def test_one_that_was_not_trained_enough_is_not_recommended():
    decision = decided(
        np.log([1.6, 1.0, 1.03, 1.6]), 0.003, may_recommend=[True, False, True, True]
    )

    assert decision.batch_size == 64


def test_what_may_be_worse_is_not_in_the_flat_set_though_it_lies_between():
    decision = decided(np.log([1.0, 1.5, 1.02, 1.5]), 0.003)

    assert decision.flat_set == (SIZES[0], SIZES[2])


@pytest.mark.slow
def test_the_upper_bounds_hold_all_at_once_in_95_of_100_studies():
    rng = np.random.default_rng(0)
    n_studies, held = 600, 0
    spread = np.array([0.05, 0.03, 0.08, 0.04])
    for _ in range(n_studies):
        truth = rng.normal(0.0, 0.05, 4)
        seen = truth + spread * rng.standard_normal(4)
        draws = seen + spread * rng.standard_normal((600, 4))
        decision = decide(
            SIZES,
            seen,
            draws,
            delta=0.1,
            objective="time",
            may_recommend=[True] * 4,
            all_compared=True,
            peak_bytes=[None] * 4,
        )
        held += bool(np.all(np.exp(truth - truth.min()) <= np.array(decision.high)))

    standard_error = (0.95 * 0.05 / n_studies) ** 0.5
    # Whichever is the best, its bounds hold; against the others they may be wider than need be.
    assert held / n_studies >= 0.95 - 4 * standard_error
    assert held / n_studies < 1


def test_a_batch_size_without_a_bound_is_told_and_kept_in_a_store():
    """An infinite number in a note was an error at the end of the study."""
    why = _bounds_of(decision(relative=(1.0, 1.0), high=(1.3, math.inf)))

    assert reason_kept(kept_reason(why)) == why
    assert codes(why) == {"near_the_best", "at_most_times", "no_bound_yet"}


def candidate_of(state, batch_size):
    return candidate(state, costs_of(state), decision(), state.sizes[batch_size])


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


def test_scaling_rules_are_told_as_multiples_of_the_references_tuned_rate():
    rules = ((128, (("linear", 2.0), ("sqrt", 2**0.5))),)

    tuned = state_of(rules=rules)
    untuned = state_of({128: STEPS[128]}, rules=rules)

    assert dict(candidate_of(tuned, 128).rule_learning_rates) == pytest.approx(
        {"linear": 2.0 * learning_rate(64), "sqrt": 2**0.5 * learning_rate(64)}
    )
    assert candidate_of(tuned, 256).rule_learning_rates == ()
    assert candidate_of(untuned, 128).rule_learning_rates == ()


def test_steps_to_a_target_met_at_the_first_evaluation_may_be_any_before_it():
    first = [Run(Status.TARGET_REACHED, ((0, 0.1), (94, 0.98))) for _ in range(2)]
    costs = [
        costs_of(made_up_state(dict.fromkeys(sizes, first), sizes=sizes))
        for sizes in ((64, 128), (64, 128, 256, 512))
    ]

    for found in costs:
        low, high = np.exp(np.quantile(found.learning_cost_draws, (0.025, 0.975), axis=0))
        assert (low < 10).all()
        assert (high > 90).all()
    assert [found.fit is None for found in costs] == [True, False]  # means, and the law
