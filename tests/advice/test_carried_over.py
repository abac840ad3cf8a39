"""CarriedOver: the bounds of two rules, and what rejects them."""

import math

import pytest

from batchlab.advice.carried_over import CarriedOver
from batchlab.records.estimate import Reason

MONOTONE = {64: (1000, 1010, 1020), 256: (500, 505, 510), 1024: (400, 404, 408)}
RISING = MONOTONE | {1024: (800, 808, 816)}
SUPERLINEAR = MONOTONE | {256: (100, 101, 102), 1024: (90, 91, 92)}


def rules(steps, delta=0.1):
    return CarriedOver.by(steps, delta=delta)


def test_a_larger_batch_needs_no_more_steps_and_no_fewer_examples():
    found = rules(MONOTONE)

    assert found.least_log_steps(math.log(1000), 64, 256) == pytest.approx(math.log(250))
    assert found.least_log_steps(math.log(1000), 64, 16) == pytest.approx(math.log(1000))
    assert found.least_log_steps(math.log(1000), 64, 64) == pytest.approx(math.log(1000))
    assert found.most_steps(1000, 64, 256) == 1000
    assert found.most_steps(1000, 64, 16) == 4000
    assert found.caveats() == []


def test_samples_that_fall_leave_larger_batches_without_a_bound():
    found = rules(SUPERLINEAR)

    assert found.least_log_steps(math.log(1000), 64, 256) == -math.inf
    assert found.most_steps(1000, 64, 16) == math.inf
    # Of steps that rise nothing was seen.
    assert found.least_log_steps(math.log(1000), 64, 16) == pytest.approx(math.log(1000))
    assert found.most_steps(1000, 64, 256) == 1000
    assert found.least_log_steps(math.log(1000), 64, 64) == pytest.approx(math.log(1000))
    (caveat,) = found.caveats()
    assert caveat == Reason.of("samples_fall", smaller=64, larger=256)


def test_steps_that_rise_leave_smaller_batches_without_a_bound():
    found = rules(RISING)

    assert found.least_log_steps(math.log(1000), 64, 16) == -math.inf
    assert found.most_steps(1000, 64, 256) == math.inf
    assert found.least_log_steps(math.log(1000), 64, 256) == pytest.approx(math.log(250))
    assert found.most_steps(1000, 64, 16) == 4000
    (caveat,) = found.caveats()
    assert caveat == Reason.of("steps_rise", smaller=256, larger=1024)


def test_runs_that_were_not_repeated_reject_nothing():
    assert rules({64: (100,), 256: (9000,), 1024: (1,)}).caveats() == []
