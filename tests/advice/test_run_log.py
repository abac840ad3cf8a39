"""The run_log: what was run is kept once, what it cost is known, what is left is what is left."""

from dataclasses import replace

import pytest
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.run_log import CellKey, RunLog


def run_log(*, n_workers=1, budget_s=10.0, kind=SimulatedEngine):
    asked = question(knee(64), budget_s=budget_s)
    engine = kind(truth=Truth(noise=0.0), step_s=knee(64), n_workers=n_workers)
    return RunLog(question=asked, engine=engine, until=asked.target)


def request(of, seed=0, steps=1000, rate=0.04, size=64):
    return of.request(CellKey(size, rate), seed, steps=steps)


class DearToEvaluate(SimulatedEngine):
    """An evaluation takes as long as 20 steps, then as 30; it is not known before the first run."""

    worth = 20.0

    def __post_init__(self):
        super().__post_init__()
        self.expected = []

    def evaluation_steps(self, batch_size):
        return {0: 0.0, 1: self.worth}.get(len(self.asked), 1.5 * self.worth)

    def expected_s(self, batch_size, length):
        self.expected.append(length)
        return super().expected_s(batch_size, length)


def test_evaluations_are_twice_as_far_apart_as_they_take_once_that_is_known():
    recorder = run_log(kind=DearToEvaluate)
    recorder.run([request(recorder, seed=0)], "search")
    recorder.run([request(recorder, seed=1)], "search")
    recorder.run([request(recorder, seed=2, size=256)], "search")

    intervals = [asked.length.interval_samples for asked in recorder.engine.asked]
    assert intervals == [0, 2 * 20 * 64, 2 * 20 * 64]  # in samples, the same from there on
    own = CellKey(64, 0.04)
    seldom, often = (len(recorder.records[own, seed].evaluations) for seed in (1, 0))
    assert seldom < often
    recorder.run_s(64, 100)
    assert recorder.engine.expected[-1].interval_samples == 2 * 20 * 64


def test_a_run_cut_before_its_first_evaluation_is_not_kept():
    recorder = run_log(budget_s=1.0)
    recorder.engine.budget_s = 0.0

    (record,) = recorder.run([request(recorder)], "search")

    assert record.steps == 0
    assert recorder.records == {}


@pytest.mark.parametrize(("n_workers", "expected_s"), [(1, 4.0), (2, 2.0)])
def test_expected_seconds_are_those_of_runs_side_by_side(n_workers, expected_s):
    """What is in the records costs nothing again."""
    recorder = run_log(n_workers=n_workers)
    requests = [request(recorder, seed=seed) for seed in range(4)]
    assert recorder.expected_s(requests) == pytest.approx(expected_s)

    recorder.run([request(recorder, steps=400)], "search")

    assert recorder.expected_s([request(recorder, steps=400)]) == 0
    assert recorder.expected_s([request(recorder, steps=1000)]) == pytest.approx(0.6)
    assert recorder.left_s() == pytest.approx(10.0 - 0.4 / n_workers)


@pytest.mark.parametrize("seconds", [0.0015, 0.5, 3.0])
def test_affordable_steps_are_those_that_the_seconds_pay_for(seconds):
    steps = run_log().affordable_steps(64, seconds)

    assert steps <= max(1, seconds / 1e-3) <= 1.02 * steps + 1


class OfSeveralLengths(SimulatedEngine):
    """Each length of a schedule is a trial of its own."""

    def trial(self, *, horizon=1.0, **of):
        trial = super().trial(**of)
        return replace(trial, horizon_steps=trial.plan.steps_in(horizon * 10))


@pytest.mark.parametrize(("constant_until", "saved"), [(0.8, (400, 800, 0)), (0.0, (0, 0, 0))])
def test_steps_before_the_rate_falls_cost_nothing_for_another_length(constant_until, saved):
    recorder = run_log(kind=OfSeveralLengths)
    steps = recorder.steps_in(64, 10)
    recorder.question = replace(
        recorder.question, constant_until=constant_until, planned_epochs=10.0
    )
    recorder.run([recorder.request(CellKey(64, 0.04), 0, steps=steps, whole=True)], "whole")

    found = [
        recorder.shared_steps((CellKey(64, 0.04, horizon), seed)) * 1000 / steps
        for horizon, seed in [(0.5, 0), (2.0, 0), (2.0, 1)]
    ]
    again = recorder.shared_steps((CellKey(64, 0.04), 0))
    longer = recorder.request(CellKey(64, 0.04, 2.0), 0, steps=2 * steps, whole=True)

    assert found == pytest.approx(saved, abs=1)
    assert again == 0  # it would go on from its own checkpoint
    assert recorder.expected_s([longer]) == pytest.approx(
        (2 - saved[1] / 1000) * steps * knee(64)(64), rel=0.01
    )
