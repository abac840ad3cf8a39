"""What leads while a study is under way, and that telling of it decides nothing."""

import pytest
from tests.reference.simulated_advice import ALIKE, EPOCHS, SIZES, WatchedEngine
from tests.reference.simulated_engine import SimulatedEngine, Truth
from tests.reference.simulated_question import knee, question

from batchlab.advice.advice import Purpose
from batchlab.advice.advisor import advise, best_so_far
from batchlab.advice.run_log import CellKey, RunLog
from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar

STEP_S = knee(64)


def run_log(**changes):
    asked = question(STEP_S, budget_s=1000.0, **changes)
    engine = SimulatedEngine(truth=Truth(noise=0.0), step_s=STEP_S)
    return RunLog(question=asked, engine=engine, until=asked.target)


def run(log, *runs, steps=20_000):
    log.run(
        [log.request(CellKey(size, rate), seed, steps=steps) for size, rate, seed in runs], "search"
    )


def test_the_least_mean_time_leads_with_its_seconds():
    log = run_log()
    run(log, (64, 0.02, 0), (64, 0.02, 1), (64, 0.04, 0), (16, 0.01, 0))

    found = best_so_far(log)

    costs = {}
    for (cell, _), record in log.records.items():
        time_s = record.crossing(log.until).middle * STEP_S(cell.batch_size)
        costs.setdefault((cell.batch_size, cell.learning_rate), []).append(time_s)
    means = {cell: sum(found) / len(found) for cell, found in costs.items()}
    assert (found.batch_size, found.learning_rate) == min(means, key=means.get)
    assert found.quantity == "time_to_target_s"
    assert found.value == pytest.approx(min(means.values()))


@pytest.mark.parametrize(("better", "largest"), [("higher", True), ("lower", False)])
def test_for_quality_the_best_mean_of_the_metric_leads(better, largest):
    """Here the engine's accuracy is taken for a metric that goes up, or down."""
    log = run_log(objective="quality", better=better)
    run(log, (64, 0.02, 0), (64, 0.04, 0), (16, 0.01, 0), steps=300)

    found = best_so_far(log)

    values = {
        cell[:2]: log.question.best_value(record) for (cell, _), record in log.records.items()
    }
    best = max(values, key=values.get) if largest else min(values, key=values.get)
    assert (found.batch_size, found.learning_rate) == best
    assert (found.quantity, found.value) == ("accuracy", values[best])


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


@pytest.mark.slow
def test_who_looks_on_sees_every_run_with_its_reason_and_changes_nothing():
    def advised(watcher=None):
        engine = WatchedEngine(truth=Truth(**ALIKE), step_s=knee(1024))
        asked = question(knee(1024), budget_s=15.0, target=None, sizes=SIZES, planned_epochs=EPOCHS)
        return advise(asked, engine, watcher=watcher)

    watcher = Watcher()

    advice = advised(watcher)

    assert advice == advised()
    seen = {
        (size, seed) for runs in watcher.runs for size in runs.batch_sizes for seed in runs.seeds
    }
    assert seen == {(run.batch_size, run.seed) for run in advice.tried}
    why = {(one, runs.why.code) for one, runs in zip(watcher.purposes, watcher.runs, strict=True)}
    assert why == {
        ("pilot", "asked_for_end"),
        ("search", "asked_to_compare"),
        ("whole", "asked_to_train_whole"),
    }
    assert watcher.leads[0] is None
    assert watcher.leads[-1].batch_size == advice.named.batch_size
