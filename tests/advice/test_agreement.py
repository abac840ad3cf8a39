"""Agreement: what fresh seeds say against a recommendation, case by case."""

from __future__ import annotations

import math

import pytest
from tests.reference.made_up_state import learning_rate, made_up_state, met

from batchlab.advice.verification import Objection, disagreement
from batchlab.records.estimate import Estimate

MINE = (128, learning_rate(128))
REFERENCE = (64, 0.01)
STATE = made_up_state({64: [met(2000), met(2100)], 128: [met(1000), met(1050)]})
AS_PROMISED = (math.log(1010), math.log(1040), math.log(1000))


def objection(
    log_costs=AS_PROMISED, *, missed=0, gain: Estimate | None = None, lost=False
) -> Objection | None:
    gains = {} if gain is None else {REFERENCE: gain}
    lost_to = [REFERENCE] if lost else []
    return disagreement(STATE, MINE, log_costs, missed=missed, gains=gains, lost_to=lost_to)


def gain(estimate: float, low: float, high: float) -> Estimate:
    return Estimate.of(estimate, interval=(low, high), n=3)


def test_what_comes_out_as_promised_has_nothing_against_it():
    assert objection(gain=gain(2.0, 1.6, 2.4)) is None


@pytest.mark.parametrize(("missed", "n_met", "falls"), [(1, 2, False), (2, 4, False), (3, 3, True)])
def test_half_of_the_seeds_that_miss_stand_against_it(missed, n_met, falls):
    found = objection(AS_PROMISED[:n_met], missed=missed)

    assert (found is not None) is falls


def test_slower_than_promised_counts_beyond_chance_and_delta_only():
    just_within = [cost + math.log(1.09) for cost in AS_PROMISED]
    far = [cost + math.log(2.6) for cost in AS_PROMISED]

    assert objection(just_within) is None
    found = objection(far)
    assert found is not None
    assert (found.why.code, found.instead) == ("slower_on_fresh_seeds", None)


def test_faster_than_promised_is_no_objection():
    assert objection([cost - 1.0 for cost in AS_PROMISED]) is None


@pytest.mark.parametrize(
    ("worse", "lost", "falls"),
    [
        (gain(0.8, 0.7, 0.9), False, True),  # for sure
        (gain(0.85, 0.6, 1.2), True, True),  # on every seed, and by more than delta
        (gain(0.85, 0.6, 1.2), False, False),
        (gain(0.95, 0.6, 1.2), True, False),  # within delta
    ],
)
def test_a_reference_that_was_better_stands_in_for_it(worse, lost, falls):
    found = objection(gain=worse, lost=lost)

    assert (found is not None) is falls
    assert found is None or (found.why.code, found.instead) == ("reference_was_better", REFERENCE)


def test_the_recommendation_is_not_held_against_itself():
    alone = {MINE: gain(1.0, 1.0, 1.0)}

    assert disagreement(STATE, MINE, AS_PROMISED, missed=0, gains=alone, lost_to=[MINE]) is None
