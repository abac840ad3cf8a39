"""The level of whole trainings: what the advice takes from one run, from many."""

from __future__ import annotations

import pytest
from benchmarks.regret.whole_level import level_of
from tests.reference.made_up import approach, made_up_record
from tests.reference.simulated_question import knee, question

from batchlab.advice.level import as_well_as, end_level

RECORD = made_up_record(
    curves={("validation", "accuracy"): approach(0.9)}, epochs=10, evaluations_per_epoch=4
)
CURVE = [(evaluation.step, value) for evaluation, value in RECORD.curve("validation", "accuracy")]


def test_the_level_of_one_training_is_that_of_the_advice() -> None:
    asked = question(knee(64), budget_s=1.0, target=None)
    end = end_level(asked, RECORD, planned_steps=RECORD.steps)
    assert end is not None

    level = level_of([CURVE], metric="accuracy", better="higher", has_schedule=False)

    target = as_well_as(end.value, end.margin, metric="accuracy", better="higher")
    assert level.target == target
    assert (level.end, level.margin) == pytest.approx((end.value, end.margin))
