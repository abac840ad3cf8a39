"""The course of a run, and how two of different length are compared."""

from __future__ import annotations

import math

import pytest
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.run_log import Course, slower_by
from batchlab.records.run import RunLength, RunRequest
from batchlab.runs.contract import run_all


def course(*points):
    return Course(points=tuple(points))


def approach(rate, until):
    """1 - exp(-rate t) at every whole t."""
    return course(*((t, 1 - math.exp(-rate * t)) for t in range(until + 1)))


def test_the_cost_to_a_level_lies_on_the_line_between_two_evaluations():
    run = course((0, 0.1), (10, 0.5), (30, 0.9))

    assert run.cost_to(0.5) == 10
    assert run.cost_to(0.7) == pytest.approx(20)
    assert run.cost_to(0.05) == 0
    assert run.cost_to(0.95) == math.inf
    assert (run.start, run.best, run.cost) == (0.1, 0.9, 30)


@pytest.mark.parametrize(("length", "most"), [(40, math.inf), (12, math.inf), (40, 0.3)])
def test_a_run_that_is_half_as_fast_takes_twice_as_long_to_whatever_both_have_reached(length, most):
    leader, challenger = approach(0.1, 40), approach(0.05, length)

    assert slower_by(challenger, leader, most=most) == pytest.approx(2.0, rel=0.01)
    assert slower_by(leader, challenger, most=most) == pytest.approx(0.5, rel=0.01)


def test_a_run_that_is_no_better_than_at_its_start_is_slower_by_any_factor():
    flat = course((0, 0.1), (10, 0.1), (20, 0.1))

    assert slower_by(flat, approach(0.1, 20), most=1.0) == math.inf
    assert slower_by(approach(0.1, 20), flat, most=1.0) == 0.0
    assert slower_by(flat, flat, most=1.0) == math.inf


@pytest.mark.parametrize(("better", "first"), [("higher", 1), ("lower", -1)])
def test_the_course_of_a_record_never_falls_and_is_signed_so_that_higher_is_better(better, first):
    engine = SimulatedEngine(truth=Truth(), step_s=knee(1024))
    trial = engine.trial(batch_size=64, learning_rate=0.04, seed=0)
    (record,) = run_all(engine, [RunRequest(trial=trial, length=RunLength(steps=500))])

    asked = question(knee(1024), budget_s=10.0, target=None, better=better)
    run = Course.of(record, asked, per_step=0.5)

    values = [value for _, value in run.points]
    assert values == sorted(values)
    assert run.cost == 250
    assert math.copysign(1, values[0]) == first
