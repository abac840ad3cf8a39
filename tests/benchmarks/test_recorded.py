"""Recorded grids, and the engine that answers from them as the plain engine did."""

from typing import Any

import pytest
from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import RecordedGrid
from tests.reference.engine_run import run_engine
from tests.reference.recorded_grid import TARGET, TO_A_LOSS, write_grid, write_loss_grid
from tests.reference.small_workloads import small_trial, small_workload

from batchlab.plans.cadence import pauses
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, Target, TrialRecord
from batchlab.runs.contract import run_all

pytestmark = pytest.mark.nightly  # nobody who uses batchlab runs what judges the advice


@pytest.fixture
def grid(tmp_path):
    return RecordedGrid.read(write_loss_grid(tmp_path))


STEP_S = {16: 0.001, 32: 0.001, 64: 0.002}


def request(
    engine: RecordedEngine, *, steps=1000, until=TARGET, batch_size=16, learning_rate=0.2, seed=0
) -> RunRequest:
    trial = engine.trial(batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    return RunRequest(trial=trial, length=RunLength(steps=steps, until=until))


def answer(engine: RecordedEngine, **asked: Any) -> TrialRecord:
    (record,) = run_all(engine, [request(engine, **asked)])
    return record


# Of one that diverges it is not recorded how far it would have gone unseen.
@pytest.mark.parametrize(
    ("learning_rate", "interval_samples"), [(0.05, 0), (20.0, 0), (0.05, 30), (0.05, 90)]
)
@pytest.mark.parametrize("value", [1.0, 0.8, 0.6])
def test_an_answer_is_what_the_plain_engine_gives(tmp_path, learning_rate, value, interval_samples):
    workload = small_workload()
    trial = small_trial(workload, batch_size=4, learning_rate=learning_rate)
    whole = run_engine(workload, trial, RunLength(steps=120))
    curve = [(each.step, each.score("validation", "loss")) for each in whole.evaluations]
    row = (4, learning_rate, trial.seed, str(whole.outcome.status), curve)
    path = write_grid(tmp_path, [row], n_train=trial.n_train, **TO_A_LOSS)
    grid = RecordedGrid.read(path)
    engine = RecordedEngine(grid, seeds=[trial.seed], step_s={4: 0.5})
    length = RunLength(
        steps=120,
        until=Target(metric="loss", value=value, better="lower"),
        interval_samples=interval_samples,
    )
    asked = engine.trial(batch_size=4, learning_rate=learning_rate, seed=0)

    (record,) = run_all(engine, [RunRequest(trial=asked, length=length)])

    plain = run_engine(workload, trial, length)
    assert record.status == plain.outcome.status
    found, expected = (
        [(seen.step, seen.samples, seen.score("validation", "loss")) for seen in run.evaluations]
        for run in (record, plain)
    )
    assert found == expected
    assert record.train_s == record.steps * 0.5


def test_a_run_that_its_patience_ended_is_whole_where_it_ended(tmp_path):
    rows = [
        (64, 0.1, 0, "ok", [(0, 0.1), (160, 0.8), (240, 0.7)]),
        (64, 0.1, 1, "ok", [(0, 0.1), (160, 0.8), (320, 0.9)]),
        (64, 0.1, 2, "diverged", [(0, 0.1), (40, 0.1)]),
    ]
    path = write_grid(tmp_path, rows, patience_epochs=5)
    engine = RecordedEngine(RecordedGrid.read(path), seeds=(0, 1, 2), step_s={64: 0.001})

    def ended(seed: int, steps: int) -> tuple[Status, int, bool]:
        asked = {"batch_size": 64, "learning_rate": 0.1, "until": None}
        record = answer(engine, seed=seed, steps=steps, **asked)
        return record.status, record.steps, record.has_ended_itself

    assert ended(0, 320) == (Status.OK, 240, True)
    assert ended(0, 200) == (Status.OK, 160, False)
    assert ended(1, 320) == (Status.OK, 320, False)  # all of the planned epochs
    assert ended(2, 320) == (Status.DIVERGED, 40, False)


def test_a_run_asked_for_again_costs_only_what_is_new(grid):
    engine = RecordedEngine(grid, seeds=(3, 1, 7), step_s=STEP_S)

    spent_s = []
    for steps, seed in ((50, 0), (1000, 0), (30, 1), (40, 1)):
        answer(engine, batch_size=64, learning_rate=0.4, steps=steps, seed=seed)
        spent_s.append(engine.spent_s())

    # Seed 3 meets the target after 46 steps of 2 ms, and is evaluated once more.
    assert spent_s == pytest.approx([0.094, 0.094, 0.154, 0.174])


def test_evaluations_cost_what_is_said_and_a_longer_run_pays_for_new_ones(grid):
    engine = RecordedEngine(grid, seeds=(3,), step_s=STEP_S, eval_s=0.5)
    plan = engine.trial(batch_size=64, learning_rate=0.4, seed=0).plan
    n_evaluations = {steps: len(list(pauses(plan, last_step=steps))) for steps in (20, 40)}

    answer(engine, batch_size=64, learning_rate=0.4, steps=20, until=None)
    first_s = engine.spent_s()
    answer(engine, batch_size=64, learning_rate=0.4, steps=40, until=None)

    assert first_s == pytest.approx(20 * 0.002 + 0.5 * n_evaluations[20])
    assert first_s == engine.expected_s(64, RunLength(steps=20))
    assert engine.spent_s() == pytest.approx(40 * 0.002 + 0.5 * n_evaluations[40])


def test_two_runs_side_by_side_end_when_the_longer_ends(grid):
    engine = RecordedEngine(grid, seeds=(3,), step_s=STEP_S, n_workers=2)
    longer, shorter, last = (
        request(engine, until=None, **asked)
        for asked in (
            {"batch_size": 64, "learning_rate": 0.4, "steps": 40},  # 80 ms
            {"batch_size": 16, "steps": 30},
            {"batch_size": 32, "steps": 20},
        )
    )
    for asked in (longer, shorter, last):
        engine.submit(asked)

    ends = []
    for _ in range(3):
        ended, _ = engine.next_finished()
        ends.append((ended, pytest.approx(engine.spent_s())))

    # The third begins in the place of the second, and ends before the first.
    assert ends == [(shorter, 0.03), (last, 0.05), (longer, 0.08)]
