"""The level of whole trainings: what the advice takes from one run, from many."""

from __future__ import annotations

import pytest
from benchmarks.regret.whole_level import end_of, level_of
from tests.reference.made_up import approach, made_up_record
from tests.reference.simulated_question import knee, question

from batchlab.advice.level import as_well_as, end_level

RECORD = made_up_record(
    curves={("validation", "accuracy"): approach(0.9)}, epochs=10, evaluations_per_epoch=4
)
CURVE = [(evaluation.step, value) for evaluation, value in RECORD.curve("validation", "accuracy")]


def test_an_end_is_the_mean_of_the_last_quarter() -> None:
    curve = [(0, 0.0), (10, 0.5), (20, 0.7), (30, 0.8), (40, 0.9)]

    assert end_of(curve, has_schedule=False) == pytest.approx(0.85)


def test_the_level_of_one_training_is_that_of_the_advice() -> None:
    asked = question(knee(64), budget_s=1.0, target=None)
    end = end_level(asked, RECORD, planned_steps=RECORD.steps)
    assert end is not None

    level = level_of([CURVE], metric="accuracy", better="higher", has_schedule=False)

    target = as_well_as(end.value, end.margin, metric="accuracy", better="higher")
    assert level.target == target
    assert (level.end, level.margin) == pytest.approx((end.value, end.margin))


def test_the_level_of_several_is_taken_from_their_mean_end() -> None:
    worse = [(step, value - 0.1 if step else value) for step, value in CURVE]

    level = level_of([CURVE, worse], metric="accuracy", better="higher", has_schedule=False)

    first = end_of(CURVE, has_schedule=False)
    assert first is not None
    assert level.end == pytest.approx(first - 0.05)
    assert level.target.value == pytest.approx(level.end - 0.05 * (1 - level.end), abs=0.001)
