"""Runs in processes of this machine: stored, resumed, sharing beginnings, and built natively."""

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.reference.local_engine import STEP_S, ask, engine_on, plan_on, shape
from tests.reference.made_up_study import store_with_study
from tests.reference.small_workloads import everything_workload, points, small_trial, small_workload
from tests.reference.told import Told
from torch import nn

from batchlab.errors import EditedError, StoreError
from batchlab.processes.children import Ended
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, Target, TrialRecord
from batchlab.runs import process_engine
from batchlab.runs.contract import CostModel, RunPlan, run_all
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.workers import _WORTH_A_BUILD, NODE_LOST, Heard, LocalWorkers
from batchlab.store.store import Store
from batchlab.training.checkpoint import load_weights, peek_checkpoint
from batchlab.training.plain import Task
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Metric, Workload
from batchlab.workload.schedules import constant_then_to_zero, constant_until
from batchlab.workload.source import SourceFile


@pytest.fixture
def engine(store, packed):
    return engine_on(store, packed)


def ran(engine: ProcessEngine, **asked: Any) -> TrialRecord:
    (record,) = run_all(engine, [ask(engine, **asked)])
    return record


def steps_with_all_splits(record: TrialRecord) -> list[int]:
    return [each.step for each in record.evaluations if each.has_all_splits]


def test_a_run_goes_on_to_its_end_on_all_data_without_being_done_again(engine, begun):
    stretch = ran(engine, steps=8, all_splits="never")
    end = ran(engine, all_splits="at_end")
    beyond = ran(engine, steps=16, all_splits="never")
    completed = ran(engine, steps=16, all_splits="at_end")
    begun.clear()
    known = ran(engine, steps=16, all_splits="at_end")
    assert begun == []
    shown = ran(engine, steps=16)  # a sweep shows train and test data: it is done again

    assert steps_with_all_splits(stretch) == []
    assert (end.resumed_from_steps, steps_with_all_splits(end)) == ((8,), [12])
    assert steps_with_all_splits(beyond) == [12]
    assert (completed.status, completed.resumed_from_steps) == (Status.OK, (8, 12, 16))
    assert steps_with_all_splits(completed) == [12, 16]
    assert shape(completed) == shape(beyond)
    assert known == completed
    assert (shown.resumed_from_steps, steps_with_all_splits(shown)) == ((), [0, 4, 8, 12, 16])
    assert shape(shown) == shape(completed)


def test_what_runs_take_is_learned_and_evaluations_of_another_session_too(store, packed):
    """Evaluations of the next session lie as far apart as those of this one."""
    seldom_s = []
    for starts in (1, 0):  # nothing begins in the second session
        engine = engine_on(store, packed)
        assert (engine.cost_model, engine.evaluation_steps(10)) == (CostModel(), 0.0)
        record = ran(engine, steps=40)
        seldom_s.append(engine.evaluation_steps(10))
        assert engine.cost_model.slowness == pytest.approx(record.train_s / (40 * STEP_S))
        assert engine.cost_model.starts[0] == starts
        expected_s = engine.cost_model.expected_s(record.trial, RunLength(steps=8), step_s=STEP_S)
        assert engine.expected_s(10, RunLength(steps=8)) == expected_s

    assert seldom_s[0] > 0
    assert seldom_s[1] == pytest.approx(seldom_s[0])


def test_the_rates_shape_spans_the_same_epochs_at_every_batch_size(engine):
    engine._plan = replace(engine._plan, horizon_epochs=3)
    trials = [engine.trial(batch_size=b, learning_rate=0.05, seed=0) for b in (5, 10, 40)]

    assert [trial.horizon_steps for trial in trials] == [24, 12, 3]
    assert [trial.micro_batch_size for trial in trials] == [5, 10, 20]


@pytest.mark.slow
def test_a_free_core_never_waits_for_the_slowest_of_a_round(engine, store, monkeypatch):
    monkeypatch.setattr(ProcessEngine, "n_workers", 2)
    engine.submit(ask(engine, steps=10**7))
    for batch_size in (5, 20):
        engine.submit(ask(engine, batch_size=batch_size))
    ended = [engine.next_finished()[1] for _ in range(2)]
    trial_id = ask(engine).trial.trial_id
    while (under_way := store.record(trial_id)) is None or under_way.steps == 0:
        engine._listen(0.1)  # on a busy machine it may not have begun yet
    engine.cancel()
    cancelled = store.record(trial_id)
    stopped_at = peek_checkpoint(store.checkpoint_path(trial_id)).step
    later = ran(engine, steps=1)

    assert {record.trial.batch_size for record in ended} == {5, 20}
    assert {record.status for record in ended} == {Status.OK}
    # What was under way went on beside them. It is asked for less than it has: it is evaluated
    # where it stands.
    assert (cancelled.status, cancelled.steps > 0) == (None, True)
    assert (later.status, later.steps) == (Status.OK, stopped_at)
    assert later.resumed_from_steps[-1:] == (stopped_at,)


@pytest.mark.parametrize("lost", ["its checkpoint", "its library versions"])
def test_a_finished_run_that_cannot_go_on_begins_again_with_a_warning(
    lost, engine, store, monkeypatch
):
    engine._listener = told = Told()
    trial_id = ran(engine, steps=4).trial.trial_id
    if lost == "its checkpoint":
        store.checkpoint_path(trial_id).unlink()
    else:
        monkeypatch.setattr(process_engine, "library_versions", lambda: (("torch", "0.1"),))

    assert ran(engine, steps=8).resumed_from_steps == ()
    assert ["so it begins again" in warning for warning in told.warnings] == [True]


def test_a_checkpoint_that_cannot_be_written_ends_the_study_and_not_the_run(engine, store):
    trial_id = ask(engine).trial.trial_id
    in_the_way = store.checkpoint_path(trial_id)
    in_the_way.mkdir()
    with pytest.raises(StoreError, match="the checkpoint could not be written"):
        ran(engine, steps=4)
    left = store.record(trial_id)
    in_the_way.rmdir()

    assert left.status is None
    assert ran(engine, steps=4).status is Status.OK


@pytest.mark.slow
def test_a_store_that_cannot_be_written_ends_all_runs(engine, store, monkeypatch):
    def full(*arguments: Any, **named: Any) -> None:
        raise StoreError("the disk is full")

    put = store.put_record
    monkeypatch.setattr(store, "put_evaluations", full)
    monkeypatch.setattr(
        store, "put_record", lambda record, **at: (full if record.status else put)(record, **at)
    )
    with pytest.raises(StoreError, match="the disk is full"):
        run_all(engine, [ask(engine, batch_size=size, steps=4) for size in (5, 10)])

    engine.cancel()  # what a command does on its way out

    assert multiprocessing.active_children() == []


def test_a_run_that_stopped_early_is_trained_and_not_begun_again(store, begun):
    workload = small_workload(n=40)
    metrics = {"accuracy": lambda model, batch: torch.tensor(0.5)}
    packed = PackedWorkload(replace(workload, metrics=metrics, patience_epochs=2))
    engine = engine_on(store, packed)
    first = ran(engine, steps=40)
    begun.clear()
    again = run_all(engine, [ask(engine, steps=steps) for steps in (40, 80, 12)])

    assert (first.status, first.steps) == (Status.OK, 12)  # epochs of 4 steps: one, and two more
    assert [note.code for note in first.notes] == ["stopped_early"]
    assert first.evaluations[-1].has_all_splits
    assert (again, begun) == ([first] * 3, [])


def test_a_kept_process_trains_run_after_run_until_one_fails_and_changes_no_number(store, tmp_path):
    def process(model: nn.Module, batch: Any) -> torch.Tensor:
        return torch.tensor(float(os.getpid() * len(batch[0])))

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        if len(batch[0]) == 1:
            raise ValueError("one example is too few")
        return workload.loss(model, batch)

    workload = small_workload(n=40)
    metrics = {**workload.metrics, "process": Metric(sum=process, better="higher")}
    packed = PackedWorkload(replace(workload, metrics=metrics, loss=loss))

    def runs(engine: ProcessEngine, *sizes: int) -> list[TrialRecord]:
        return [ran(engine, batch_size=size, steps=8) for size in sizes]

    engine = engine_on(store, packed)
    engine._workers.keeps_processes = True
    first, second, failed, third = runs(engine, 5, 10, 1, 20)
    (idle,) = engine._workers._idle["cpu"]
    idle.kill()  # another program kills the process while no run trains
    idle._process.join()
    longer = ran(engine, batch_size=20, steps=12)
    engine.cancel()
    alone = runs(engine_on(store_with_study(tmp_path / "fresh.db"), packed), 5, 10, 20)

    processes = [each.last("validation", "process") for each in (first, second, third, longer)]
    assert processes[0] == processes[1]
    assert len(set(processes)) == 3
    assert (failed.status, longer.status) == (Status.ERROR, Status.OK)
    assert list(map(shape, (first, second, third))) == list(map(shape, alone))
    assert len({each.last("validation", "process") for each in alone}) == 3
    assert multiprocessing.active_children() == []


class LosingWorkers(LocalWorkers):
    """The first `losses` runs are lost when they begin, with the machine that they were on."""

    def __init__(self, packed: PackedWorkload, plan: RunPlan, losses: int) -> None:
        super().__init__(packed, plan)
        self.losses = losses
        self.lost: list[str] = []

    def start(self, task: Task) -> None:
        if self.losses:
            self.losses -= 1
            self.lost.append(task.trial.trial_id)
        else:
            super().start(task)

    def heard(self, *, timeout_s: float) -> Iterator[Heard]:
        lost, self.lost = self.lost, []
        for trial_id in lost:
            reason = Reason.as_written("node n7 was lost under it")
            yield trial_id, Ended(status=Status.KILLED, reason=reason, error=NODE_LOST)
        yield from super().heard(timeout_s=timeout_s)


@pytest.mark.slow
@pytest.mark.parametrize(("losses", "status"), [(1, Status.OK), (2, Status.KILLED)])
def test_a_run_whose_node_is_lost_goes_on_elsewhere_once(store, packed, losses, status):
    engine = engine_on(store, packed)
    engine._workers = LosingWorkers(packed, engine._plan, losses)
    record = ran(engine, steps=12)

    again = ran(engine, steps=12)  # nothing holds its claim

    assert (record.status, len(engine._listener.warnings)) == (status, losses)
    assert (again.status, again.steps) == (Status.OK, 12)
    if status is Status.KILLED:
        assert reason_text(record.reason) == "node n7 was lost under it, twice"


def test_the_time_left_counts_from_where_each_run_is_taken_up(engine, monkeypatch):
    ran(engine, steps=20)
    told = engine._listener
    told.fractions.clear()
    told.left_s.clear()
    now_s = [0.0]
    monkeypatch.setattr("batchlab.runs.engine.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    request = ask(engine, steps=39)
    engine.submit(request)  # half of it is done already
    now_s[0] = 2.0
    for fraction in (0.5, 0.75, 1.0):
        engine._tell(request, fraction)

    assert told.fractions == [pytest.approx(done) for done in (0.0, 0.5, 1.0)]
    assert told.left_s == [None, pytest.approx(2.0), pytest.approx(0.0)]


def test_an_edited_file_ends_the_study_and_leaves_its_runs_open_instead_of_errors(store, tmp_path):
    helper = tmp_path / "helper.py"
    helper.write_text("WIDTH = 3")
    packed = PackedWorkload(small_workload(n=40), files=(SourceFile.now(str(helper)),))
    helper.write_text("WIDTH = 4")

    engine = engine_on(store, packed)
    with pytest.raises(EditedError, match=r"helper\.py was edited since this study began"):
        ran(engine, steps=4)

    assert store.record(ask(engine).trial.trial_id).status is None


def test_the_split_follows_the_seed_alone_and_stays_when_a_run_goes_on(store):
    which = Metric(sum=lambda model, batch: batch[0].double().sum(), better="higher")
    workload = replace(small_workload(n=40), metrics={"which": which})
    engine = engine_on(store, PackedWorkload(workload, draws_by_seed=True))

    def validated_on(batch_size: int, seed: int, steps: int) -> set[float | None]:
        request = ask(engine, batch_size=batch_size, steps=steps)
        (record,) = run_all(engine, [replace(request, trial=replace(request.trial, seed=seed))])
        return {seen.score("validation", "which") for seen in record.evaluations}

    (first,) = validated_on(10, 0, 8)

    assert validated_on(20, 0, 8) == {first}
    assert validated_on(10, 0, 16) == {first}
    assert validated_on(10, 1, 8).isdisjoint({first})


# Trainings of several lengths, whose schedule is constant at first, take those steps once


PLANNED = 5
LENGTHS = (0.4, 1.0, 1.6)
SIZE = 8  # five steps an epoch


@pytest.fixture(scope="module")
def everything():
    """Dropout, noise from five random streams, Adam, averaged weights, and a cool-down."""
    workload = replace(everything_workload(n=40), schedule=constant_then_to_zero, ema=0.9)
    return PackedWorkload(workload)


def engine_at(path: Path, everything: PackedWorkload, *, until: float = 0.8) -> ProcessEngine:
    trial = small_trial(everything_workload(n=40), batch_size=SIZE)
    plan = replace(
        plan_on(trial),
        horizon_epochs=PLANNED,
        horizons=LENGTHS,
        constant_until=until,
        micro_batch_sizes={},
    )
    return ProcessEngine(store_with_study(path), plan, LocalWorkers(everything, plan))


def whole_trainings(engine: ProcessEngine, *lengths: float) -> list[TrialRecord]:
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
def apart(tmp_path_factory, everything):
    """Each length trained from its beginning, and its weights."""
    path = tmp_path_factory.mktemp("apart") / "lab.db"
    records = whole_trainings(engine_at(path, everything, until=0), *LENGTHS)
    assert [record.resumed_from_steps for record in records] == [()] * 3
    return {record.trial: (record, weights(path, record)) for record in records}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "begun_at"),
    [
        ([(0.4,), (1.0,), (1.6,)], [0, 8, 20]),
        ([(1.6,), (1.0,), (0.4,)], [0, 20, 8]),
        ([(1.0, 1.6), (0.4,)], [0, 0, 8]),  # side by side
    ],
)
def test_each_length_ends_as_if_trained_alone(tmp_path, everything, apart, order, begun_at):
    shared = tmp_path / "shared.db"
    engine = engine_at(shared, everything)
    together = [record for lengths in order for record in whole_trainings(engine, *lengths)]

    assert [max((0, *record.resumed_from_steps)) for record in together] == begun_at
    kept = sorted(path.suffixes[0] for path in (tmp_path / "shared.db.checkpoints").glob("*.*.*"))
    assert kept == [".20", ".32", ".8"]
    for one in together:
        other, theirs = apart[one.trial]
        assert one.steps == other.steps == one.trial.horizon_steps
        assert one.last("validation", "loss") == other.last("validation", "loss")
        ours = weights(shared, one)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_a_beginning_is_not_used_if_damaged_or_watched(tmp_path, everything):
    """Another length may have been evaluated elsewhere, or on other data."""
    engine = engine_at(tmp_path / "lab.db", everything)
    whole_trainings(engine, 1.6)
    trial = engine.trial(batch_size=SIZE, learning_rate=0.01, seed=0, horizon=1.0)
    target = Target(metric="loss", value=100.0, better="lower")
    length = RunLength(epochs=PLANNED, until=target)
    (watched,) = run_all(engine, [RunRequest(trial=trial, length=length)])
    (kept,) = (tmp_path / "lab.db.checkpoints").glob("*.8.safetensors")
    kept.write_bytes(b"damaged")
    (short,) = whole_trainings(engine, 0.4)

    assert (watched.status, watched.resumed_from_steps) == (Status.TARGET_REACHED, ())
    assert short.resumed_from_steps == ()
    assert peek_checkpoint(kept).step == 8


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
def test_the_constant_part_of_a_schedule_ends_where_its_rate_first_changes(schedule, until):
    assert constant_until(schedule) == until


# Runs trained by what was built for their workload, and by PyTorch where that can't be


WORKLOAD = small_workload(n=_WORTH_A_BUILD)

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler"
)


def run_natively(
    store: Store, workload: Workload, *lengths: int, trainer="fastest", listener=None
) -> TrialRecord:
    """One trial, asked for so many steps and then for so many."""
    trial = small_trial(workload, batch_size=20)
    plan = replace(plan_on(trial), listener=listener or Told(), trainer=trainer)
    engine = ProcessEngine(store, plan, LocalWorkers(PackedWorkload(workload), plan))
    for steps in lengths:
        (record,) = run_all(engine, [ask(engine, batch_size=20, steps=steps)])
    return record


@needs_compiler
@pytest.mark.slow
def test_a_run_agrees_with_pytorchs_and_goes_on_from_its_checkpoint_bit_for_bit(store, tmp_path):
    x, labels = points(20, seed=1)
    # Validation data of another type are evaluated by PyTorch.
    workload = replace(WORKLOAD, validation=(x, labels.to(torch.uint8)))
    plain = run_natively(store, workload, 200, trainer="plain")
    with store_with_study(tmp_path / "at_once.db") as other:
        at_once = run_natively(other, workload, 200)
    with store_with_study(tmp_path / "in_two.db") as other:
        in_two = run_natively(other, workload, 37, 200)

    assert (at_once.engine, plain.engine) == ("native", "plain")
    assert in_two.resumed_from_steps == (37,)
    last = at_once.evaluations[-1].scores
    assert last == in_two.evaluations[-1].scores
    for score, right in zip(last, plain.evaluations[-1].scores, strict=True):
        assert (score.split, score.metric) == (right.split, right.metric)
        assert score.value == pytest.approx(right.value, abs=1e-4)


class Rounded(nn.Module):
    """A model that branches on what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x if x.sum() > 0 else x.abs())


@pytest.mark.slow
@pytest.mark.parametrize("why", ["no compiler", "a model that branches"])
def test_what_cannot_be_built_is_trained_by_pytorch_and_told(store, why, monkeypatch):
    workload = WORKLOAD
    if why == "no compiler":
        monkeypatch.setattr("batchlab.runs.workers._build_in_child", _without_compiler)
    else:
        workload = replace(WORKLOAD, model=Rounded)
    listener = Told()

    record = run_natively(store, workload, 10, 20, listener=listener)

    assert (record.engine, record.steps) == ("plain", 20)
    (line,) = [told for told in listener.warnings if "PyTorch's own loop" in told]
    assert ("C compiler" in line) == (why == "no compiler")


def _without_compiler(line: object, packed: PackedWorkload, trial: object) -> object:
    from batchlab.training.native import build
    from batchlab.training.native.trainer import built_for

    build.compiler_of_this_machine = lambda: None
    return built_for(packed.unpack(), trial)
