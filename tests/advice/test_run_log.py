"""The runs of a study, what they cost, and what the study takes from them."""

import pytest
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.run_log import CellKey, RunLog
from batchlab.advice.study import Configured

OWN = CellKey(64, 0.04)


def run_log(*, budget_s=10.0, kind=SimulatedEngine, **asked):
    asked = question(knee(64), budget_s=budget_s, **asked)
    engine = kind(truth=Truth(noise=0.0), step_s=knee(64))
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


def test_what_is_in_the_records_costs_nothing_again():
    log = run_log()
    request = log.request(OWN, 0, steps=1000)
    assert log.expected_s(request) == pytest.approx(1.0)

    ran(log, (64, 0.04, 0), steps=400)

    assert log.expected_s(log.request(OWN, 0, steps=400)) == 0
    assert log.expected_s(request) == pytest.approx(0.6)
    assert log.left_s() == pytest.approx(10.0 - 0.4)


class OfSeveralLengths(SimulatedEngine):
    schedule_epochs = 10


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
    assert log.expected_s(longer) == pytest.approx(left_s, rel=0.01)


def test_what_missed_the_level_does_not_count_among_the_steps_of_those_that_met_it():
    steps = {0: (10.0, 0.1), 1: (10.4, 0.1), 2: (13.5, 0.5)}
    one = Configured(cell=OWN, steps=steps, met_on={0, 1}, missed_on={2})

    of_those_that_met = one.log2_steps(0.2, only_met=True)

    assert of_those_that_met == pytest.approx((10.2, (0.2**2 + 0.1**2) / 2))
    one.met_on.clear()
    assert one.log2_steps(0.2, only_met=True) == one.log2_steps(0.2, only_met=False)
