"""Whether a stored training answers what is asked, and what one costs."""

from dataclasses import replace
from typing import Any

import pytest
from tests.reference.made_up import made_up_record, made_up_trial

from batchlab.plans.cadence import pauses
from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength
from batchlab.records.trial import Status, Target, TrialRecord
from batchlab.runs.contract import CostModel
from batchlab.runs.engine import as_asked, is_answered

TRIAL = made_up_trial(batch_size=10, n_train=1000)
TOLD_BEFORE_END = Reason.of("metric_reported_before_end", step=50, asked=60)
ENDED_ITSELF = Reason.of("script_ended_itself", step=50, asked=99)
TRAINED_TO_ITS_END = Reason.of("script_trained_to_its_end", step=50)


def record(status: Status | None, *, steps: int = 50, **fields: Any) -> TrialRecord:
    """Evaluated every ten steps, where the metric is 1 / step."""
    curves = {("validation", "m"): lambda epoch: 1 / max(1, round(100 * epoch))}
    made = made_up_record(
        trial=TRIAL, curves=curves, epochs=1, evaluations_per_epoch=10, status=status
    )
    return replace(made, evaluations=made.evaluations[1 : steps // 10 + 1], **fields)


@pytest.mark.parametrize(
    ("stored", "steps", "answers"),
    [
        (None, 50, False),
        (record(None), 50, False),
        (record(Status.OK), 50, True),
        (record(Status.OK), 51, False),
        (record(Status.NAN), 500, True),
        (record(Status.OOM), 500, True),
        (record(Status.KILLED), 50, False),
        (record(Status.ERROR), 50, False),
        (record(Status.TIMEOUT, reason=Reason.of("out_of_time")), 50, False),
        (record(Status.OK, notes=(ENDED_ITSELF,)), 500, True),
        (record(Status.OK, notes=(TRAINED_TO_ITS_END,)), 500, True),
        (record(Status.OK, notes=(TOLD_BEFORE_END,)), 60, True),
        (record(Status.OK, notes=(TOLD_BEFORE_END,)), 61, False),
        (record(Status.OK), None, False),
        (record(Status.OK, notes=(TRAINED_TO_ITS_END,)), None, True),
    ],
)
def test_it_answers_if_it_is_long_enough_or_cannot_be_longer(stored, steps, answers):
    length = RunLength(steps=steps, to_own_end=steps is None)

    assert is_answered(stored, length, keeps_cadence=False) == answers


@pytest.mark.parametrize(
    ("level", "steps", "status"),
    [(30, 500, Status.TARGET_REACHED), (30, 40, Status.TARGET_REACHED), (51, 40, Status.OK)],
)
def test_it_has_the_status_of_what_is_asked_now(level, steps, status):
    target = Target(metric="m", value=1 / level, better="lower")
    length = RunLength(steps=steps, until=target)

    assert is_answered(record(Status.OK), length, keeps_cadence=False)
    asked = as_asked(record(Status.OK), length)
    assert (asked.status, asked.target) == (status, target)


@pytest.mark.parametrize(
    ("watched", "answers"),
    [
        ({}, False),
        ({"watched_from_samples": 900}, True),
        # Another session times evaluations anew: its interval is a little shorter.
        ({"interval_samples": 25}, True),
        ({"interval_samples": 24}, False),
    ],
)
def test_one_that_was_not_watched_as_asked_where_it_met_the_target_is_done_again(watched, answers):
    # Evaluated every 100 samples, where an epoch of 1000 has 64 marks.
    target = Target(metric="m", value=1 / 80, better="lower")
    length = RunLength(steps=100, until=target, all_splits="never", **watched)
    stored = record(Status.OK, steps=100)

    assert is_answered(stored, length, keeps_cadence=True) == answers
    assert is_answered(stored, length, keeps_cadence=False)


# What a run costs


STEP_S = 0.01
TIMED = made_up_trial(batch_size=64, n_train=640)  # ten steps an epoch


def expected_s(cost_model: CostModel, steps: int, **watched: Any) -> float:
    return cost_model.expected_s(TIMED, RunLength(steps=steps, **watched), step_s=STEP_S)


def test_steps_evaluations_and_the_start_are_told_apart():
    record = made_up_record(trial=TIMED, epochs=4, step_s=3 * STEP_S, eval_s=0.5)
    trained_s, evaluated_s = 40 * 3 * STEP_S, 4 * 0.5

    cost_model = CostModel().with_run(
        record, from_step=0, wall_s=trained_s + evaluated_s + 0.25, step_s=STEP_S
    )

    assert cost_model.slowness == pytest.approx(3.0)
    assert cost_model.whole == (4, pytest.approx(2.0))
    assert cost_model.starts == (1, pytest.approx(0.25))
    # Of a run of another session all but the start is learned.
    before = CostModel().with_run(record, from_step=0, wall_s=None, step_s=STEP_S)
    assert before == replace(cost_model, starts=(0, 0.0))
    # Of one that is taken up again what is new is learned.
    resumed = CostModel().with_run(record, from_step=20, wall_s=2.0, step_s=STEP_S)
    assert resumed.steps_s == pytest.approx((20 * 3 * STEP_S, 20 * STEP_S))
    assert resumed.whole[0] == 2


@pytest.mark.parametrize(
    ("all_splits", "seldom", "whole"),
    [
        ("on_the_way", {}, 6),
        ("at_end", {}, 1),
        ("never", {}, 0),
        ("never", {"watched_from_samples": 6400}, 0),
        ("never", {"interval_samples": 1280}, 0),
    ],
)
def test_a_run_evaluated_seldom_or_on_less_costs_less(all_splits, seldom, whole):
    cost_model = CostModel(validations=(10, 5.0), whole=(2, 14.0), starts=(1, 0.25))
    n_pauses = len(list(pauses(TIMED.plan, last_step=100, **seldom)))
    assert not seldom or n_pauses < len(list(pauses(TIMED.plan, last_step=100)))

    found_s = expected_s(cost_model, 100, all_splits=all_splits, **seldom)

    steps_s = 0.25 + 100 * STEP_S * cost_model.slowness
    assert found_s == pytest.approx(steps_s + (n_pauses - whole) * 0.5 + whole * 7.0)


def test_an_evaluation_is_told_in_steps_beside_others():
    known = CostModel(steps_s=(3.0, 1.0), validations=(10, 6.0))

    assert CostModel().evaluation_steps(step_s=STEP_S) == 0.0
    assert known.evaluation_steps(step_s=STEP_S) == pytest.approx(0.6 / (3 * STEP_S))
