from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.reference.made_up import made_up_record, made_up_trial

from batchlab.plans.cadence import pauses
from batchlab.records.run import AllSplits, RunLength
from batchlab.records.trial import TrialRecord
from batchlab.runs.contract import CostModel

STEP_S = 0.01
TRIAL = made_up_trial(batch_size=64, n_train=640)  # ten steps an epoch


def run(*, epochs: int = 4, slowness: float = 3.0, eval_s: float = 0.5) -> TrialRecord:
    """A run in which a step took `slowness` times as long, and an evaluation `eval_s`."""
    record = made_up_record(trial=TRIAL, epochs=epochs, step_s=slowness * STEP_S, eval_s=eval_s)
    evaluations = tuple(
        replace(each, train_s=each.step * slowness * STEP_S, eval_s=index * eval_s)
        for index, each in enumerate(record.evaluations)
    )
    return replace(record, evaluations=evaluations)


def expected_s(cost_model: CostModel, steps: int, **watched: Any) -> float:
    return cost_model.expected_s(TRIAL, RunLength(steps=steps, **watched), step_s=STEP_S)


def test_steps_evaluations_and_the_start_are_told_apart() -> None:
    record = run()
    trained_s, evaluated_s = 40 * 3 * STEP_S, 4 * 0.5

    cost_model = CostModel().with_run(
        record, from_step=0, wall_s=trained_s + evaluated_s + 0.25, step_s=STEP_S
    )

    assert cost_model.slowness(64) == pytest.approx(3.0)
    assert cost_model.whole == (4, pytest.approx(2.0))
    assert cost_model.starts == (1, pytest.approx(0.25))
    # Of a run of another session all but the start is learned.
    before = CostModel().with_run(record, from_step=0, wall_s=None, step_s=STEP_S)
    assert before == replace(cost_model, starts=(0, 0.0))
    # Of one that is taken up again what is new is learned.
    resumed = CostModel().with_run(record, from_step=20, wall_s=2.0, step_s=STEP_S)
    assert resumed.steps_s == ((64, pytest.approx(20 * 3 * STEP_S), pytest.approx(20 * STEP_S)),)
    assert resumed.whole[0] == 2


@pytest.mark.parametrize("seldom", [{"watched_from_samples": 6400}, {"interval_samples": 1280}])
def test_a_run_that_is_evaluated_less_is_expected_to_cost_less(seldom: dict[str, int]) -> None:
    known = CostModel(validations=(10, 5.0), whole=(2, 14.0))

    often_s, seldom_s = (expected_s(known, 100, all_splits="never", **how) for how in ({}, seldom))

    often, less = (len(list(pauses(TRIAL.plan, last_step=100, **how))) for how in ({}, seldom))
    assert less < often
    assert often_s - seldom_s == pytest.approx(0.5 * (often - less))


@pytest.mark.parametrize(("all_splits", "whole"), [("on_the_way", 6), ("at_end", 1), ("never", 0)])
def test_a_run_that_seldom_sees_all_data_is_expected_to_cost_less(
    all_splits: AllSplits, whole: int
) -> None:
    cost_model = CostModel(validations=(10, 5.0), whole=(2, 14.0), starts=(1, 0.25))
    n_pauses = len(list(pauses(TRIAL.plan, last_step=100)))

    found_s = expected_s(cost_model, 100, all_splits=all_splits)

    steps_s = 0.25 + 100 * STEP_S * cost_model.slowness(64)
    assert found_s == pytest.approx(steps_s + (n_pauses - whole) * 0.5 + whole * 7.0)


def test_an_evaluation_is_told_in_steps_beside_others() -> None:
    known = CostModel(steps_s=((64, 3.0, 1.0),), validations=(10, 6.0))

    assert CostModel().evaluation_steps(64, step_s=STEP_S) == 0.0
    assert known.evaluation_steps(64, step_s=STEP_S) == pytest.approx(0.6 / (3 * STEP_S))


def test_an_unknown_batch_size_is_as_slow_as_the_nearest() -> None:
    cost_model = CostModel(steps_s=((8, 4.0, 1.0), (512, 2.0, 1.0)))

    assert [cost_model.slowness(size) for size in (1, 32, 128, 4096)] == [4.0, 4.0, 2.0, 2.0]
