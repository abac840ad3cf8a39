"""The runs of a study: kept once, what they cost and what is left is known, and what leads."""

from dataclasses import replace

import pytest
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.advisor import best_so_far
from batchlab.advice.run_log import CellKey, RunLog

OWN = CellKey(64, 0.04)


def run_log(*, n_workers=1, budget_s=10.0, kind=SimulatedEngine, **asked):
    asked = question(knee(64), budget_s=budget_s, **asked)
    engine = kind(truth=Truth(noise=0.0), step_s=knee(64), n_workers=n_workers)
    return RunLog(question=asked, engine=engine, until=asked.target)


def ran(log, *runs, steps=1000):
    """Their records; a run is its batch size, learning rate and seed."""
    asked = [log.request(CellKey(size, rate), seed, steps=steps) for size, rate, seed in runs]
    return log.run(asked, "search")


class DearToEvaluate(SimulatedEngine):
    """An evaluation takes as long as 20 steps, then as 30; it is not known before the first run."""

    def evaluation_steps(self, batch_size):
        return {0: 0.0, 1: 20.0}.get(len(self.asked), 30.0)

    def expected_s(self, batch_size, length):
        self.expected = length
        return super().expected_s(batch_size, length)


def test_evaluations_are_twice_as_far_apart_as_they_take_once_that_is_known():
    log = run_log(kind=DearToEvaluate)
    for run in ((64, 0.04, 0), (64, 0.04, 1), (256, 0.04, 2)):
        ran(log, run)

    intervals = [asked.length.interval_samples for asked in log.engine.asked]
    assert intervals == [0, 2 * 20 * 64, 2 * 20 * 64]  # in samples, the same from there on
    often, seldom = (len(log.records[OWN, seed].evaluations) for seed in (0, 1))
    assert seldom < often
    log.run_s(64, 100)
    assert log.engine.expected.interval_samples == 2 * 20 * 64


def test_a_run_cut_before_its_first_evaluation_is_not_kept():
    log = run_log(budget_s=1.0)
    log.engine.budget_s = 0.0

    (record,) = ran(log, (64, 0.04, 0))

    assert (record.steps, log.records) == (0, {})


@pytest.mark.parametrize(("n_workers", "expected_s"), [(1, 4.0), (2, 2.0)])
def test_expected_seconds_are_those_of_runs_side_by_side(n_workers, expected_s):
    """What is in the records costs nothing again."""
    log = run_log(n_workers=n_workers)
    requests = [log.request(OWN, seed, steps=1000) for seed in range(4)]
    assert log.expected_s(requests) == pytest.approx(expected_s)

    ran(log, (64, 0.04, 0), steps=400)

    assert log.expected_s([log.request(OWN, 0, steps=400)]) == 0
    assert log.expected_s(requests[:1]) == pytest.approx(0.6)
    assert log.left_s() == pytest.approx(10.0 - 0.4 / n_workers)


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
    log = run_log(kind=OfSeveralLengths, constant_until=constant_until, planned_epochs=10.0)
    steps = log.steps_in(64, 10)
    log.run([log.request(OWN, 0, steps=steps, whole=True)], "whole")

    found = [
        log.shared_steps((CellKey(64, 0.04, horizon), seed)) * 1000 / steps
        for horizon, seed in [(0.5, 0), (2.0, 0), (2.0, 1)]
    ]
    again = log.shared_steps((OWN, 0))
    longer = log.request(CellKey(64, 0.04, 2.0), 0, steps=2 * steps, whole=True)

    assert found == pytest.approx(saved, abs=1)
    assert again == 0  # it would go on from its own checkpoint
    left_s = (2 - saved[1] / 1000) * steps * 1e-3
    assert log.expected_s([longer]) == pytest.approx(left_s, rel=0.01)


def test_the_least_mean_time_leads_with_its_seconds():
    log = run_log(budget_s=1000.0)
    ran(log, (64, 0.02, 0), (64, 0.02, 1), (64, 0.04, 0), (16, 0.01, 0), steps=20_000)

    found = best_so_far(log)

    times = {}
    for (cell, _), record in log.records.items():
        time_s = record.crossing(log.until).middle * knee(64)(cell.batch_size)
        times.setdefault(cell[:2], []).append(time_s)
    means = {cell: sum(each) / len(each) for cell, each in times.items()}
    assert (found.batch_size, found.learning_rate) == min(means, key=means.get)
    assert found.quantity == "time_to_target_s"
    assert found.value == pytest.approx(min(means.values()))


@pytest.mark.parametrize(("better", "best_of"), [("higher", max), ("lower", min)])
def test_for_quality_the_best_mean_of_the_metric_leads(better, best_of):
    """Here the engine's accuracy is taken for a metric that goes up, or down."""
    log = run_log(budget_s=1000.0, objective="quality", better=better)
    ran(log, (64, 0.02, 0), (64, 0.04, 0), (16, 0.01, 0), steps=300)

    found = best_so_far(log)

    values = {cell[:2]: log.question.best_value(one) for (cell, _), one in log.records.items()}
    best = best_of(values, key=values.get)
    assert (found.batch_size, found.learning_rate) == best
    assert (found.quantity, found.value) == ("accuracy", values[best])
