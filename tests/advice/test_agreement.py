"""Agreement: what fresh seeds say against a recommendation, case by case."""

from __future__ import annotations

import math

import pytest
from tests.reference.made_up_state import learning_rate, made_up_state, met

from batchlab.advice.verification import disagreement
from batchlab.records.estimate import Estimate

MINE = (128, learning_rate(128))
REFERENCE = (64, 0.01)
STATE = made_up_state({64: [met(2000), met(2100)], 128: [met(1000), met(1050)]})
AS_PROMISED = [math.log(1010), math.log(1040), math.log(1000)]


def gain(estimate: float, low: float, high: float) -> Estimate:
    return Estimate.of(estimate, interval=(low, high), n=3)


def later(by: float) -> list[float]:
    return [cost + by for cost in AS_PROMISED]


@pytest.mark.parametrize(
    ("log_costs", "missed", "code"),
    [
        (AS_PROMISED, 0, None),
        (later(-1.0), 0, None),
        (later(math.log(1.09)), 0, None),  # within chance and delta
        (later(math.log(2.6)), 0, "slower_on_fresh_seeds"),
        (AS_PROMISED[:2], 1, None),
        (AS_PROMISED, 3, "missed_on_fresh_seeds"),  # half of them
    ],
)
def test_what_stands_against_it_are_misses_and_more_than_was_promised(log_costs, missed, code):
    gains = {REFERENCE: gain(2.0, 1.6, 2.4)}

    why, instead = disagreement(STATE, MINE, log_costs, missed=missed, gains=gains, lost_to=[])

    assert (why and why.code, instead) == (code, None)


@pytest.mark.parametrize(
    ("other", "found", "lost", "falls"),
    [
        (REFERENCE, gain(0.8, 0.7, 0.9), False, True),  # for sure
        (REFERENCE, gain(0.85, 0.6, 1.2), True, True),  # on every seed, and by more than delta
        (REFERENCE, gain(0.85, 0.6, 1.2), False, False),
        (REFERENCE, gain(0.95, 0.6, 1.2), True, False),  # within delta
        (MINE, gain(0.8, 0.7, 0.9), True, False),  # it is not held against itself
    ],
)
def test_a_reference_that_was_better_stands_in_for_it(other, found, lost, falls):
    lost_to = [other] if lost else []

    against = disagreement(
        STATE, MINE, AS_PROMISED, missed=0, gains={other: found}, lost_to=lost_to
    )

    expected = ("reference_was_better", REFERENCE) if falls else (None, None)
    assert (against[0] and against[0].code, against[1]) == expected
