"""What a paper measures of trials: against trials made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.reference.made_up import made_up_record, made_up_trial

from batchlab.records.study import Study
from batchlab.records.trial import TrialRecord
from batchlab.replications.papers import shen2018
from batchlab.replications.papers.folklore import time_to_level
from batchlab.replications.tables import PublishedTable

STEP_S = {16: 0.001, 1024: 0.004}


def climbing(batch_size: int, seed: int, *, to: float, within: float) -> TrialRecord:
    """Accuracy rises evenly over so many of four epochs, of 4096 examples each."""
    trial = made_up_trial(batch_size=batch_size, seed=seed)
    curve = {("validation", "accuracy"): lambda epoch: to * min(1.0, epoch / within)}
    return made_up_record(trial=trial, curves=cast(Any, curve), epochs=4)


def test_a_level_that_is_met_between_two_evaluations_is_met_anywhere_between() -> None:
    small = tuple(climbing(16, seed, to=0.9, within=2.0) for seed in range(3))
    large = tuple(climbing(1024, seed, to=0.9, within=3.0) for seed in range(3))

    found = time_to_level({16: small, 1024: large}, STEP_S)

    # After one epoch and at two of 256 steps; after two and at three of four.
    assert found.low == pytest.approx((2 * 4 * 0.004) / (2 * 256 * 0.001))
    assert found.high == pytest.approx((3 * 4 * 0.004) / (1 * 256 * 0.001))
    assert found.low < (found.estimate or 0.0) < found.high


def test_a_level_that_was_there_at_the_first_look_bounds_nothing_from_above() -> None:
    # One seed of three was there after one epoch, and may have been there after one step.
    small = tuple(climbing(16, seed, to=0.9, within=1.0 + (seed > 0)) for seed in range(3))
    large = tuple(climbing(1024, seed, to=0.9, within=3.0) for seed in range(3))

    found = time_to_level({16: small, 1024: large}, STEP_S)

    assert found.high is None
    assert found.low is not None


def ending(batch_size: int, rate: float, seed: int, accuracy: float) -> TrialRecord:
    trial = made_up_trial(batch_size=batch_size, learning_rate=rate, seed=seed)
    curve = {("test", "accuracy"): lambda epoch: accuracy}
    return made_up_record(trial=trial, curves=cast(Any, curve), epochs=1)


def test_the_settings_that_are_left_open_are_held_to_all_three_accuracies_at_once() -> None:
    def study(small: float, large: float, raised: float) -> Study:
        ends = ((64, 0.01, small), (1024, 0.01, large), (1024, 0.1, raised), (64, 0.1, 0.5))
        records = [
            ending(size, rate, seed, accuracy + 0.001 * seed)
            for size, rate, accuracy in ends
            for seed in range(3)
        ]
        return cast(Study, SimpleNamespace(records=tuple(records)))

    studies = {
        "momentum 0, torch, unit": study(0.98, 0.90, 0.98),  # two of the three
        "momentum 0.9, he, unit": study(0.97, 0.95, 0.97),  # each a point off
    }
    found = shen2018.measured(studies, PublishedTable.of("shen2018"))

    assert found["three"].estimate == pytest.approx((0.010 + 0.009 + 0.008) / 3)
    apart = found["small less large; momentum 0, torch, unit"]
    assert apart.estimate == pytest.approx(0.08)
    assert found["tiny"].estimate is None
