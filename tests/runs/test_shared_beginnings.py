"""Trainings of several lengths, whose schedule is constant at first, take those steps once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.reference.local_engine import Clock, plan_on
from tests.reference.made_up_study import store_with_study
from tests.reference.small_workloads import everything_workload, small_trial

from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, Target, Trial, TrialRecord
from batchlab.runs.contract import run_all
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.workers import LocalWorkers
from batchlab.store.store import Store
from batchlab.training.checkpoint import load_weights, peek_checkpoint
from batchlab.workload.schedules import constant_then_to_zero, constant_until

PLANNED = 5
LENGTHS = (0.4, 1.0, 1.6)
SIZE = 8  # five steps an epoch
Apart = dict[Trial, tuple[TrialRecord, dict[str, torch.Tensor]]]


@pytest.fixture(scope="module")
def packed() -> PackedWorkload:
    """Dropout, noise from five random streams, Adam, averaged weights, and a cool-down."""
    workload = replace(everything_workload(n=40), schedule=constant_then_to_zero, ema=0.9)
    return PackedWorkload(workload)


def engine_at(path: Path, packed: PackedWorkload, *, until: float = 0.8) -> ProcessEngine:
    trial = small_trial(everything_workload(n=40), batch_size=SIZE)
    plan = replace(
        plan_on(trial, budget_s=1e6),
        horizon_epochs=PLANNED,
        horizons=LENGTHS,
        constant_until=until,
        micro_batch_sizes={},
    )
    store = store_with_study(path)
    return ProcessEngine(store, plan, LocalWorkers(packed, plan), clock=Clock())


def trained(engine: ProcessEngine, *lengths: float) -> list[TrialRecord]:
    requests = []
    for length in lengths:
        trial = engine.trial(batch_size=SIZE, learning_rate=0.01, seed=0, horizon=length)
        whole = RunLength(epochs=round(length * PLANNED), all_splits="at_end")
        requests.append(RunRequest(trial=trial, length=whole))
    return run_all(engine, requests)


def weights(path: Path, record: TrialRecord) -> dict[str, torch.Tensor]:
    with Store(path) as store:
        return load_weights(store.checkpoint_path(record.trial.trial_id))[0]


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory, packed: PackedWorkload) -> Apart:
    """Each length trained from its beginning, and its weights."""
    path = tmp_path_factory.mktemp("apart") / "lab.db"
    records = trained(engine_at(path, packed, until=0), *LENGTHS)
    assert [record.resumed_from_steps for record in records] == [()] * 3
    return {record.trial: (record, weights(path, record)) for record in records}


@pytest.mark.parametrize(
    ("order", "begun_at"),
    [
        ([(0.4,), (1.0,), (1.6,)], [0, 8, 20]),
        ([(1.6,), (1.0,), (0.4,)], [0, 20, 8]),
        ([(1.0, 1.6), (0.4,)], [0, 0, 8]),  # side by side
    ],
)
def test_each_length_ends_with_the_same_weights_as_trained_alone(
    tmp_path: Path,
    packed: PackedWorkload,
    apart: Apart,
    order: list[tuple[float, ...]],
    begun_at: list[int],
) -> None:
    shared = tmp_path / "shared.db"
    engine = engine_at(shared, packed)
    together = [record for lengths in order for record in trained(engine, *lengths)]

    assert [max((0, *record.resumed_from_steps)) for record in together] == begun_at
    kept = sorted(path.suffixes[0] for path in (tmp_path / "shared.db.checkpoints").glob("*.*.*"))
    assert kept == [".20", ".32", ".8"]
    for one in together:
        other, theirs = apart[one.trial]
        assert one.steps == other.steps == one.trial.horizon_steps
        assert one.last("validation", "loss") == other.last("validation", "loss")
        ours = weights(shared, one)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_beginning_that_is_damaged_is_not_used_but_replaced(
    tmp_path: Path, packed: PackedWorkload
) -> None:
    engine = engine_at(tmp_path / "lab.db", packed)
    trained(engine, 1.0)
    (kept,) = (tmp_path / "lab.db.checkpoints").glob("*.8.safetensors")
    kept.write_bytes(b"damaged")
    (short,) = trained(engine, 0.4)

    assert short.resumed_from_steps == ()
    assert peek_checkpoint(kept).step == 8
    # Where there is one length, no beginning is kept.
    alone = engine_at(tmp_path / "other.db", packed)
    alone._plan = replace(alone._plan, horizons=())
    trained(alone, 1.0)
    assert not list((tmp_path / "other.db.checkpoints").glob("*.*.safetensors"))


def test_a_training_whose_way_counts_begins_at_its_own_beginning(
    tmp_path: Path, packed: PackedWorkload
) -> None:
    """Another length may have been evaluated elsewhere, or on other data."""
    engine = engine_at(tmp_path / "lab.db", packed)
    trained(engine, 1.6)
    trial = engine.trial(batch_size=SIZE, learning_rate=0.01, seed=0, horizon=1.0)
    target = Target(metric="loss", value=100.0, better="lower")
    (record,) = run_all(
        engine, [RunRequest(trial=trial, length=RunLength(epochs=PLANNED, until=target))]
    )

    assert record.resumed_from_steps == ()
    assert record.status is Status.TARGET_REACHED


@pytest.mark.parametrize(
    ("schedule", "until"),
    [
        (None, 0.0),
        (constant_then_to_zero, 0.799),  # 5 * (1 - 0.8) is a little below 1
        (lambda fraction: 1.0, 0.999),
        (lambda fraction: 1 / fraction, 0.0),
        ([1.0, 1.0].__getitem__, 0.0),
        (lambda fraction: 1 - fraction, 0.0),
        (lambda fraction: min(1.0, 10 * fraction + 0.01), 0.0),
        (lambda fraction: 0.1 ** (fraction >= 0.5), 0.499),
    ],
)
def test_the_constant_part_of_a_schedule_ends_where_its_rate_first_changes(
    schedule: object, until: float
) -> None:
    assert constant_until(schedule) == until  # type: ignore[arg-type]
