from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.reference.local_engine import STEP_S, ask, engine_on, shape
from tests.reference.made_up_study import made_up_summary
from tests.reference.small_workloads import small_workload

from batchlab.errors import EditedError, StoreError
from batchlab.processes.children import Ended
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, Target, Trial, TrialRecord
from batchlab.runs.contract import CostModel, RunPlan, run_all
from batchlab.runs.engine import TimeLeft
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.workers import NODE_LOST, Heard, LocalWorkers
from batchlab.store.store import Store
from batchlab.training.checkpoint import peek_checkpoint
from batchlab.training.plain import Task
from batchlab.words.reasons import reason_text
from batchlab.workload.definition import Metric
from batchlab.workload.source import SourceFile

EASY = Target(metric="accuracy", value=0.5, better="higher")
OUT_OF_REACH = Target(metric="accuracy", value=1.1, better="higher")


@pytest.fixture
def store(lab: Path) -> Iterator[Store]:
    with Store(lab) as store:
        yield store


@pytest.fixture
def engine(store: Store, packed: PackedWorkload) -> ProcessEngine:
    return engine_on(store, packed)


def ran(engine: ProcessEngine, **asked: Any) -> TrialRecord:
    (record,) = run_all(engine, [ask(engine, **asked)])
    return record


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """The trials that were really begun, in order."""
    begun: list[Trial] = []
    begin = ProcessEngine._task

    def counted(self: Any, request: RunRequest) -> Any:
        begun.append(request.trial)
        return begin(self, request)

    monkeypatch.setattr(ProcessEngine, "_task", counted)
    return begun


def test_asks_come_back_in_their_order_each_as_far_as_it_was_asked(engine: ProcessEngine) -> None:
    records = run_all(
        engine,
        [ask(engine, batch_size=5, steps=4), ask(engine, steps=30), ask(engine, batch_size=20)],
    )

    assert [record.trial.batch_size for record in records] == [5, 10, 20]
    assert [record.steps for record in records] == [4, 30, 12]
    assert {record.status for record in records} == {Status.OK}


def test_a_trial_asked_for_more_goes_on_from_its_checkpoint_to_the_same_numbers(
    engine: ProcessEngine, store: Store, tmp_path: Path, packed: PackedWorkload
) -> None:
    ran(engine, steps=12)
    longer = ran(engine, steps=40)
    other = tmp_path / "other.db"
    with Store(other) as store:
        store.put_workload(made_up_summary())
        engine = engine_on(store, packed)
        at_once = ran(engine, steps=40)

    assert longer.resumed_from_steps == (12,)
    assert longer.last("train", "loss") == at_once.last("train", "loss")


def test_a_trial_that_met_its_target_before_is_answered_without_training(
    engine: ProcessEngine, trained: list[Trial]
) -> None:
    first = ran(engine, steps=400, until=EASY)
    trained.clear()
    again = ran(engine, steps=400, until=EASY)

    assert first.status is Status.TARGET_REACHED
    assert again == first
    assert trained == []


def steps_with_all_splits(record: TrialRecord) -> list[int]:
    return [each.step for each in record.evaluations if each.has_all_splits]


def test_a_run_without_train_and_test_data_is_done_again_for_a_sweep_that_shows_them(
    engine: ProcessEngine,
) -> None:
    first = ran(engine, all_splits="never")
    for_a_sweep = ran(engine)
    again = ran(engine, all_splits="never")

    assert steps_with_all_splits(first) == []
    assert steps_with_all_splits(for_a_sweep) == [0, 4, 8, 12]
    assert for_a_sweep.resumed_from_steps == ()
    assert shape(for_a_sweep) == shape(first)
    assert again == for_a_sweep


def test_a_run_goes_on_to_its_end_on_all_data_without_being_done_again(
    engine: ProcessEngine, trained: list[Trial]
) -> None:
    stretch = ran(engine, steps=8, all_splits="never")
    end = ran(engine, all_splits="at_end")
    beyond = ran(engine, steps=16, all_splits="never")
    completed = ran(engine, steps=16, all_splits="at_end")
    trained.clear()
    known = ran(engine, steps=16, all_splits="at_end")

    assert steps_with_all_splits(stretch) == []
    assert (end.resumed_from_steps, steps_with_all_splits(end)) == ((8,), [12])
    assert steps_with_all_splits(beyond) == [12]
    assert (completed.status, completed.resumed_from_steps) == (Status.OK, (8, 12, 16))
    assert steps_with_all_splits(completed) == [12, 16]
    assert shape(completed) == shape(beyond)
    assert (known, trained) == (completed, [])


@pytest.mark.slow
def test_a_longer_stored_run_answers_whole_and_with_the_status_of_what_is_asked(
    engine: ProcessEngine, trained: list[Trial]
) -> None:
    whole = ran(engine, steps=400)
    trained.clear()
    met = ran(engine, steps=300, until=EASY)
    missed = ran(engine, steps=300, until=OUT_OF_REACH)

    assert trained == []
    assert shape(met) == shape(missed) == shape(whole)
    assert (whole.status, met.status, missed.status) == ("ok", "target_reached", "ok")
    assert (met.target, missed.target) == (EASY, OUT_OF_REACH)


def test_runs_that_the_budget_ends_come_back_as_timeouts_with_what_was_seen(
    store: Store, packed: PackedWorkload
) -> None:
    engine = engine_on(store, packed, budget_s=0.0)
    never_begun = ran(engine, batch_size=5)
    engine = engine_on(store, packed)
    ran(engine)
    engine = engine_on(store, packed, budget_s=0.0)
    begun = ran(engine, steps=500)

    assert (never_begun.status, never_begun.evaluations) == (Status.TIMEOUT, ())
    assert (begun.status, begun.steps) == (Status.TIMEOUT, 12)


def test_the_expected_time_follows_what_runs_really_took(engine: ProcessEngine) -> None:
    before_s = engine.expected_s(10, RunLength(steps=1))
    record = ran(engine, batch_size=10, steps=40)
    cost_model = engine.cost_model

    assert before_s == CostModel().expected_s(record.trial, RunLength(steps=1), step_s=STEP_S)
    assert cost_model.slowness(10) == pytest.approx(record.train_s / (40 * STEP_S))
    assert cost_model.starts[0] == 1
    eight = RunLength(steps=8)
    assert engine.expected_s(10, eight) == cost_model.expected_s(record.trial, eight, step_s=STEP_S)


def test_what_an_evaluation_takes_is_learned_from_a_run_of_another_session(
    lab: Path, packed: PackedWorkload
) -> None:
    """Evaluations of the next session lie as far apart as those of this one."""
    seldom_s = []
    for _ in range(2):
        with Store(lab) as store:
            engine = engine_on(store, packed)
            assert engine.evaluation_steps(10) == 0.0
            ran(engine, batch_size=10, steps=40)
            seldom_s.append(engine.evaluation_steps(10))
            starts = engine.cost_model.starts[0]

    assert seldom_s[0] > 0
    assert seldom_s[1] == pytest.approx(seldom_s[0])
    assert starts == 0  # nothing began in the second session


def test_the_rates_shape_spans_the_same_epochs_at_every_batch_size(engine: ProcessEngine) -> None:
    engine._plan = replace(engine._plan, horizon_epochs=3)
    trials = [engine.trial(batch_size=b, learning_rate=0.05, seed=0) for b in (5, 10, 40)]

    assert [trial.horizon_steps for trial in trials] == [24, 12, 3]
    assert [trial.micro_batch_size for trial in trials] == [5, 10, 20]


def test_a_finished_trial_without_its_checkpoint_is_not_trained_over(
    engine: ProcessEngine, store: Store
) -> None:
    ran(engine)
    store.checkpoint_path(ask(engine).trial.trial_id).unlink()

    with pytest.raises(StoreError, match="another --store"):
        ran(engine, steps=50)


def test_a_free_core_never_waits_for_the_slowest_of_a_round(
    engine: ProcessEngine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProcessEngine, "n_workers", 2)
    engine.submit(ask(engine, steps=10**7))
    for batch_size in (5, 20):
        engine.submit(ask(engine, batch_size=batch_size))
    ended = [engine.next_finished().record for _ in range(2)]
    steps = 12
    # On a busy machine the long one may not have begun yet: then some more go past it.
    while (under_way := store.record(ask(engine).trial.trial_id)) is None or (under_way.steps == 0):
        steps += 12
        engine.submit(ask(engine, batch_size=5, steps=steps))
        ended.append(engine.next_finished().record)
    engine.cancel()
    cancelled = store.record(ask(engine).trial.trial_id)
    later = ran(engine, steps=1)

    assert {record.trial.batch_size for record in ended} == {5, 20}
    assert {record.status for record in ended} == {Status.OK}
    # What was under way went on beside them, and can go on from there.
    assert cancelled.status is None
    assert cancelled.steps > 0
    assert later.resumed_from_steps != ()


def test_a_run_stopped_past_what_is_asked_now_is_looked_at_where_it_stands(
    engine: ProcessEngine, store: Store
) -> None:
    trial = ask(engine, batch_size=1).trial
    stopped_at = seen = 0
    while stopped_at < seen + 2:  # seldom: it was stopped where it had just been looked at
        engine.submit(ask(engine, batch_size=1, steps=10**7))
        engine._start_waiting()
        while (record := store.record(trial.trial_id)) is None or record.steps <= seen:
            engine._listen(0.1)
        engine.cancel()
        seen = store.record(trial.trial_id).steps
        stopped_at = peek_checkpoint(store.checkpoint_path(trial.trial_id)).step
    asked = ran(engine, batch_size=1, steps=seen + 1)

    assert (asked.status, asked.steps) == (Status.OK, stopped_at)
    assert asked.resumed_from_steps[-1] == stopped_at


def test_a_checkpoint_that_cannot_be_written_ends_the_study_and_not_the_run(
    store: Store, packed: PackedWorkload
) -> None:
    engine = engine_on(store, packed)
    request = ask(engine, steps=4)
    in_the_way = store.checkpoint_path(request.trial.trial_id)
    in_the_way.mkdir()
    engine.submit(request)
    with pytest.raises(StoreError, match="the checkpoint could not be written"):
        engine.next_finished()
    engine.cancel()
    left = store.record(request.trial.trial_id)

    in_the_way.rmdir()
    (again,) = run_all(engine_on(store, packed), [request])

    assert left.status is None
    assert (again.status, again.steps) == (Status.OK, 4)


def test_a_store_that_cannot_be_written_any_more_is_told_once_and_nothing_runs_on(
    engine: ProcessEngine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **named: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store, "put_evaluations", full)
    monkeypatch.setattr(store, "finish_trial", full)
    for batch_size in (5, 10):
        engine.submit(ask(engine, batch_size=batch_size, steps=4))
    with pytest.raises(StoreError, match="the disk is full"):
        engine.next_finished()

    engine.cancel()  # what a command does on its way out

    assert multiprocessing.active_children() == []


def test_a_run_that_stopped_early_is_trained_and_not_begun_again(
    store: Store, trained: list[Trial]
) -> None:
    workload = small_workload(n=40)
    metrics = {"accuracy": lambda model, batch: torch.tensor(0.5)}
    packed = PackedWorkload(replace(workload, metrics=metrics, patience_epochs=2))
    engine = engine_on(store, packed)
    first = ran(engine, steps=40)
    trained.clear()
    again, longer, shorter = run_all(
        engine, [ask(engine, steps=40), ask(engine, steps=80), ask(engine, steps=12)]
    )

    assert (first.status, first.steps) == (Status.OK, 12)  # epochs of 4 steps: one, and two more
    assert [note.code for note in first.notes] == ["stopped_early"]
    assert first.evaluations[-1].has_all_splits
    assert [again, longer, shorter] == [first] * 3
    assert trained == []


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


@pytest.mark.parametrize(("losses", "status"), [(1, Status.OK), (2, Status.KILLED)])
def test_a_run_whose_node_is_lost_goes_on_elsewhere_once(
    store: Store, packed: PackedWorkload, losses: int, status: Status
) -> None:
    engine = engine_on(store, packed)
    engine._workers = LosingWorkers(packed, engine._plan, losses)
    record = ran(engine, steps=12)

    assert record.status is status
    assert len(engine._listener.warnings) == losses
    if status is Status.KILLED:
        assert reason_text(record.reason) == "node n7 was lost under it, twice"
        again = ran(engine, steps=12)  # nothing holds its claim
        assert (again.status, again.steps) == (Status.OK, 12)
    else:
        assert record.steps == 12


def test_the_time_left_counts_from_where_each_run_is_taken_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [0.0]
    monkeypatch.setattr("batchlab.runs.engine.time.monotonic", lambda: now_s[0])
    left = TimeLeft()
    left.expect("a", 10.0)
    left.expect("b", 30.0)
    first = left.at("a", 0.5)  # it was half done when it was first heard of
    now_s[0] = 2.0
    later = left.at("a", 1.0)  # 5 of the 35 s that are new took 2 s
    left.expect("b", 10.0)  # less than was thought
    shorter = left.at("b", 0.0)

    assert first == (pytest.approx(5 / 40), None)
    assert later == (pytest.approx(10 / 40), pytest.approx(2.0 * 30 / 5))
    assert shorter == (pytest.approx(10 / 20), pytest.approx(2.0 * 10 / 5))


def test_an_edited_file_ends_the_study_and_leaves_its_runs_open_instead_of_errors(
    store: Store, tmp_path: Path
) -> None:
    helper = tmp_path / "helper.py"
    helper.write_text("WIDTH = 3")
    packed = PackedWorkload(small_workload(n=40), files=(SourceFile.now(str(helper)),))
    helper.write_text("WIDTH = 4")

    engine = engine_on(store, packed)
    request = ask(engine, steps=4)
    with pytest.raises(EditedError, match=r"helper\.py was edited since this study began"):
        run_all(engine, [request])
    record = store.record(request.trial.trial_id)

    assert record.status is not Status.ERROR


def test_the_split_follows_the_seed_alone_and_stays_when_a_run_goes_on(store: Store) -> None:
    which = Metric(sum=lambda model, batch: batch[0].double().sum(), better="higher")
    workload = replace(small_workload(n=40), metrics={"which": which})
    engine = engine_on(store, PackedWorkload(workload, draws_by_seed=True))

    def validated_on(batch_size: int, seed: int, steps: int) -> set[float | None]:
        trial = engine.trial(batch_size=batch_size, learning_rate=0.05, seed=seed)
        asked = RunRequest(trial=trial, length=RunLength(steps=steps))
        (record,) = run_all(engine, [asked])
        return {seen.score("validation", "which") for seen in record.evaluations}

    (first,) = validated_on(10, 0, 8)

    assert validated_on(20, 0, 8) == {first}
    assert validated_on(10, 0, 16) == {first}
    assert validated_on(10, 1, 8).isdisjoint({first})
