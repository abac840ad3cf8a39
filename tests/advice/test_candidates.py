"""Candidates: the figures of each batch size in closed form, and how far it is from the best."""

import math

import numpy as np
import pytest
from tests.reference.made_up_outcome import (
    STEPS,
    decision,
    state_of,
)
from tests.reference.made_up_state import learning_rate

from batchlab.advice.decision import candidates, costs_of


def candidates_of(state, decided=None):
    return candidates(state, costs_of(state), decided or decision())


def candidate_of(state, batch_size):
    return next(c for c in candidates_of(state) if c.batch_size == batch_size)


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
