"""The contract of engines, over all that answer with training runs."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import RecordedGrid
from tests.reference.command_engine import command_engine
from tests.reference.local_engine import engine_on, plan_on
from tests.reference.made_up_study import STUDY, made_up_summary, store_with_study
from tests.reference.recorded_grid import write_loss_grid
from tests.reference.saving_script import saving_script
from tests.reference.small_workloads import small_trial, small_workload

from batchlab.records.run import OUT_OF_TIME, RunLength, RunRequest
from batchlab.records.trial import Status, Target, TrialRecord
from batchlab.runs.contract import Engine, run_all
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.replay import Journal, ReplayingEngine
from batchlab.store.store import Store

KINDS = ("this machine", "kept processes", "replayed", "script", "recorded")


@dataclass
class Lab:
    """Engines of one kind, each on the store in its folder as of another session."""

    kind: str
    made: Callable[..., Engine]  # with a folder and a budget
    sizes: tuple[int, int, int]
    rate: float
    target: Target
    engines: list[Engine] = field(default_factory=list)

    def engine(self, folder: Path, budget_s: float = 1e6) -> Engine:
        """Return the engine of a new session, after ending the one before."""
        self.end()
        folder.mkdir(exist_ok=True)
        self.engines.append(self.made(folder, budget_s=budget_s))
        return self.engines[-1]

    def end(self) -> None:
        for engine in self.engines:
            engine.cancel()
        self.engines.clear()

    def request(self, engine: Engine, steps: int, size=0, until=None) -> RunRequest:
        trial = engine.trial(batch_size=self.sizes[size], learning_rate=self.rate, seed=0)
        return RunRequest(trial=trial, length=RunLength(steps=steps, until=until))

    def ran(self, engine: Engine, *asked: Any, **more: Any) -> TrialRecord:
        (record,) = run_all(engine, [self.request(engine, *asked, **more)])
        return record

    def curve(self, record: TrialRecord) -> dict[int, float | None]:
        metric = self.target.metric
        return {each.step: each.score("validation", metric) for each in record.evaluations}


@pytest.fixture(params=[*KINDS, pytest.param("Ray", marks=pytest.mark.nightly)])
def lab(request, packed):
    accuracy = Target(metric="accuracy", value=0.5, better="higher")
    of_points = {"sizes": (10, 5, 20), "rate": 0.05, "target": accuracy}

    def this_machine(folder: Path, budget_s: float) -> Engine:
        return engine_on(store_with_study(folder / "lab.db"), packed, budget_s=budget_s)

    def kept_processes(folder: Path, budget_s: float) -> Engine:
        engine = this_machine(folder, budget_s)
        engine._workers.keeps_processes = True  # as on a GPU
        return engine

    def script(folder: Path, budget_s: float) -> Engine:
        return command_engine(saving_script(folder, "--pause", "0"), folder, budget_s=budget_s)

    def recorded(folder: Path, budget_s: float) -> Engine:
        grid = RecordedGrid.read(write_loss_grid(folder))
        return RecordedEngine(grid, seeds=(3, 1), step_s={16: 0.001, 32: 0.001, 64: 0.002})

    def replayed(folder: Path, budget_s: float) -> Engine:
        inner = recorded(folder, budget_s)
        store = store_with_study(folder / "lab.db")
        workload_id = inner.trial(batch_size=16, learning_rate=0.2, seed=0).workload_id
        store.put_workload(replace(made_up_summary(), workload_id=workload_id))
        return ReplayingEngine(inner, Journal(store, STUDY))

    def on_ray(folder: Path, budget_s: float) -> Engine:
        ray_workers = pytest.importorskip("batchlab.runs.ray_workers")
        from batchlab.runs.cluster import Cluster

        plan = plan_on(small_trial(small_workload(n=40), batch_size=10), budget_s=budget_s)
        cluster = Cluster(address=request.getfixturevalue("nodes").address)
        workers = ray_workers.RayWorkers(cluster, packed, plan)
        return ProcessEngine(store_with_study(folder / "lab.db"), plan, workers)

    loss = {"value": 0.6, "better": "lower"}
    of_grid = {"sizes": (16, 32, 32), "rate": 0.2, "target": Target(metric="loss", **loss)}
    made = {
        "this machine": Lab("this machine", this_machine, **of_points),
        "kept processes": Lab("kept processes", kept_processes, **of_points),
        "replayed": Lab("replayed", replayed, **of_grid),
        "script": Lab("script", script, (16, 8, 64), 0.5, Target(metric="val_loss", **loss)),
        "recorded": Lab("recorded", recorded, **of_grid),
        "Ray": Lab("Ray", on_ray, **of_points),
    }[request.param]
    yield made
    made.end()


def only(*kinds: str) -> Any:
    return pytest.mark.parametrize("lab", kinds, indirect=True)


def test_each_run_comes_back_as_far_as_it_was_asked(lab, tmp_path):
    engine = lab.engine(tmp_path)
    began_s = engine.spent_s()
    requests = [lab.request(engine, 8, 1), lab.request(engine, 40), lab.request(engine, 16, 2)]
    for request in requests:
        assert engine.expected_s(request.trial.batch_size, request.length) > 0
        engine.submit(request)
    records = dict(engine.next_finished() for _ in requests)

    assert [records[request].trial for request in requests] == [each.trial for each in requests]
    assert {record.status for record in records.values()} == {Status.OK}
    assert {record.engine for record in records.values()} == {engine.name}
    for request in requests:
        steps = [each.step for each in records[request].evaluations]
        assert steps == sorted(set(steps))
        assert request.last_step - 4 <= steps[-1] <= request.last_step
    assert engine.spent_s() > began_s


def test_a_trial_asked_for_more_goes_on_from_its_checkpoint_to_the_same_numbers(lab, tmp_path):
    short = lab.ran(lab.engine(tmp_path / "one"), 12)
    longer = lab.ran(lab.engine(tmp_path / "one"), 40)
    at_once = lab.ran(lab.engine(tmp_path / "other"), 40)

    assert lab.curve(at_once).items() <= lab.curve(longer).items()
    assert lab.curve(short).items() <= lab.curve(longer).items()
    assert longer.last("validation", lab.target.metric) == at_once.last(
        "validation", lab.target.metric
    )
    assert at_once.resumed_from_steps == ()
    if lab.kind in (
        "this machine",
        "kept processes",
        "Ray",
    ):  # a script may have come further than was asked
        assert longer.resumed_from_steps == (12,)


def test_what_was_trained_is_answered_and_not_trained_again(lab, tmp_path, begun):
    first = lab.ran(lab.engine(tmp_path), 24)
    trained, again = list(begun), lab.engine(tmp_path)
    if lab.kind != "replayed":
        assert lab.ran(again, 12).status is Status.OK
    assert lab.ran(again, 24) == first

    assert begun == trained


def test_a_run_ends_where_its_target_has_held(lab, tmp_path, begun):
    record = lab.ran(lab.engine(tmp_path), 400, until=lab.target)
    trained = list(begun)

    again = lab.ran(lab.engine(tmp_path), 400, until=lab.target)

    assert record.status is Status.TARGET_REACHED
    assert record.steps < 400
    assert record.crossing(lab.target).held
    assert again == record
    assert begun == trained


@only("this machine", "kept processes", "script")
def test_without_time_nothing_begins_and_what_was_seen_comes_back(lab, tmp_path, begun):
    engine = lab.engine(tmp_path, budget_s=0.0)
    never = lab.ran(engine, 12)
    assert (never.status, never.reason, never.evaluations) == (Status.TIMEOUT, OUT_OF_TIME, ())
    assert begun == []

    later = lab.ran(lab.engine(tmp_path), 12)
    cut = lab.ran(lab.engine(tmp_path, budget_s=0.0), 400)

    assert later.status is Status.OK
    assert (cut.status, lab.curve(cut)) == (Status.TIMEOUT, lab.curve(later))


def test_what_is_cancelled_never_comes_back_and_may_be_asked_for_again(lab, tmp_path):
    engine = lab.engine(tmp_path)
    for size in (0, 1):
        engine.submit(lab.request(engine, 400, size))
    engine.cancel()

    assert lab.ran(engine, 12, 2).status is Status.OK
    assert lab.ran(engine, 12, 1).status is Status.OK


@pytest.mark.slow
@only("this machine", "kept processes", "script")
def test_a_trial_that_another_process_trains_is_waited_for(lab, tmp_path):
    engine = lab.engine(tmp_path)
    with Store(tmp_path / "lab.db") as other, ExitStack() as held:
        assert held.enter_context(other.claim(lab.request(engine, 4).trial.trial_id))
        ends = threading.Timer(0.3, held.close)
        ends.start()
        record = lab.ran(engine, 4)
        was_held = ends.is_alive()
        ends.join()

    assert not was_held
    assert (record.status, record.steps) == (Status.OK, 4)
