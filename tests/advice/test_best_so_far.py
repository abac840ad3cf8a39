"""What leads while a study is under way, and that telling of it decides nothing."""

import pytest
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.advice import Purpose
from batchlab.advice.advisor import advise, best_so_far
from batchlab.advice.run_log import RunLog
from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar

STEP_S = knee(64)


def run_log(**changes):
    asked = question(STEP_S, budget_s=1000.0, **changes)
    engine = SimulatedEngine(truth=Truth(noise=0.0), step_s=STEP_S)
    return RunLog(question=asked, engine=engine, until=asked.target)


def run(log, *runs, steps=20_000):
    log.run([log.request((size, rate), seed, steps=steps) for size, rate, seed in runs], "tune")


def test_the_least_mean_time_leads_with_its_seconds():
    log = run_log()
    run(log, (64, 0.02, 0), (64, 0.02, 1), (64, 0.04, 0), (16, 0.01, 0))

    found = best_so_far(log)

    costs = {}
    for (size, rate, _), record in log.records.items():
        costs.setdefault((size, rate), []).append(record.crossing(log.until).middle * STEP_S(size))
    means = {cell: sum(found) / len(found) for cell, found in costs.items()}
    assert (found.batch_size, found.learning_rate) == min(means, key=means.get)
    assert found.quantity == "time_to_target_s"
    assert found.value == pytest.approx(min(means.values()))


class Watcher:
    def __init__(self):
        self.purposes: list[Purpose] = []
        self.runs: list[RunsAsked] = []
        self.leads: list[BestSoFar | None] = []

    def asked(self, runs, purpose):
        self.runs.append(runs)
        self.purposes.append(purpose)

    def answered(self, log):
        self.leads.append(best_so_far(log))


def test_who_looks_on_sees_every_run_and_changes_nothing():
    def advised(watcher=None):
        engine = SimulatedEngine(truth=Truth(), step_s=knee(1024))
        budget_s = 60 * Truth().best_steps(64) * 1e-3
        return advise(question(knee(1024), budget_s=budget_s), engine, watcher=watcher)

    watcher = Watcher()

    advice = advised(watcher)

    assert advice == advised()
    assert watcher.purposes[0] == "tune"
    assert "verify" in watcher.purposes
    seen = {
        (size, seed) for runs in watcher.runs for size in runs.batch_sizes for seed in runs.seeds
    }
    assert seen >= {(run.batch_size, run.seed) for run in advice.tried}
    assert watcher.leads[0] is None
    assert watcher.leads[-1].batch_size in advice.flat_set


def test_every_round_of_runs_says_why():
    watcher = Watcher()
    engine = SimulatedEngine(truth=Truth(), step_s=knee(1024))
    asked = question(knee(1024), budget_s=60 * Truth().best_steps(64) * 1e-3, target=None)

    advise(asked, engine, watcher=watcher)

    codes = {
        (each, runs.why.code) for each, runs in zip(watcher.purposes, watcher.runs, strict=True)
    }
    assert {("pilot", "asked_for_end"), ("verify", "asked_to_verify")} < codes
    assert {("tune", "asked_for_rate"), ("tune", "larger_may_be_better")} < codes
    assert ("value", "asked_on_fresh_seeds") in codes
