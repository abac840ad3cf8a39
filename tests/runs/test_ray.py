"""Two nodes of a Ray cluster on this machine: the numbers of local processes, whatever dies."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from tests.reference.killed_studies import numbers
from tests.reference.local_engine import engine_on, plan_on
from tests.reference.made_up_study import store_with_study
from tests.reference.small_workloads import small_trial, small_workload

from batchlab.app.advise import advise
from batchlab.app.report import stored
from batchlab.errors import ClusterError
from batchlab.machine import place_here
from batchlab.processes.children import Ended
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, TrialRecord
from batchlab.runs import ray_workers
from batchlab.runs.cluster import Cluster
from batchlab.runs.contract import Engine, run_all
from batchlab.runs.process_engine import ProcessEngine
from batchlab.store.store import Store
from batchlab.training.plain import Task

ray: Any = pytest.importorskip("ray")

TRIAL = small_trial(small_workload(n=40), batch_size=10)
SHORT, LONGER = RunLength(steps=12), RunLength(steps=40)
LONG = RunLength(steps=20_000)  # seconds


@pytest.fixture
def on_nodes(nodes, store, packed):
    made: list[ProcessEngine] = []

    def engine() -> ProcessEngine:
        plan = plan_on(TRIAL)
        workers = ray_workers.RayWorkers(Cluster(address=nodes.address), packed, plan)
        until_s = time.monotonic() + 60.0
        while workers.n < 2 and nodes.second is not None and time.monotonic() < until_s:
            list(workers.heard(timeout_s=0.2))
        made.append(ProcessEngine(store, plan, workers))
        return made[-1]

    yield engine
    for each in made:
        each.cancel()


def requests(engine: Engine, length: RunLength) -> list[RunRequest]:
    return [
        RunRequest(
            trial=engine.trial(batch_size=size, learning_rate=0.05, seed=seed), length=length
        )
        for seed in range(3)
        for size in (5, 20)
    ]


def at_home(tmp_path: Path, packed: PackedWorkload, *lengths: RunLength) -> list[object]:
    """The same, asked for one length after the other."""
    with store_with_study(tmp_path / "home.db") as store:
        engine = engine_on(store, packed)
        asked = [requests(engine, length) for length in lengths]
        return numbers([record for each in asked for record in run_all(engine, each)])


def agents() -> list[psutil.Process]:
    found = psutil.process_iter(["name", "cmdline"])
    return [each for each in found if "ray::NodeAgent" in " ".join(each.info["cmdline"] or ())]


@pytest.mark.nightly
def test_trials_on_two_nodes_are_local_ones_bit_for_bit(on_nodes, store, tmp_path, packed):
    engine = on_nodes()
    asked = requests(engine, SHORT)
    records = run_all(engine, asked)
    more = run_all(engine, requests(engine, LONGER))
    engine.cancel()

    expected = at_home(tmp_path, packed, SHORT, LONGER)
    assert numbers([*records, *more]) == expected
    assert {record.resumed_from_steps for record in more} == {(12,)}
    assert [store.record(each.trial.trial_id).status for each in asked] == [Status.OK] * 6


def lose_when_it_trains(
    engine: ProcessEngine, asked: list[RunRequest], lose: Callable[[], None]
) -> list[TrialRecord]:
    for request in asked:
        engine.submit(request)
    engine._start_waiting()
    while not engine._running or 0 in [
        engine._store.record(each).steps for each in engine._running
    ]:
        engine._listen(0.1)
    lose()
    ends = dict(engine.next_finished() for _ in asked)
    return [ends[request] for request in asked]


@pytest.mark.nightly
def test_a_worker_or_a_node_killed_changes_no_number(on_nodes, nodes, tmp_path, packed):
    engine = on_nodes()
    expected = at_home(tmp_path, packed, LONG)

    def kill_worker() -> None:
        os.kill(agents()[0].pid, signal.SIGKILL)

    told = engine._listener
    records = lose_when_it_trains(engine, requests(engine, LONG)[:2], kill_worker)
    others = lose_when_it_trains(engine, requests(engine, LONG)[2:], nodes.lose_second)
    assert engine.n_workers == 1
    nodes.add()
    until_s = time.monotonic() + 60.0
    while engine.n_workers < 2 and time.monotonic() < until_s:
        list(engine._workers.heard(timeout_s=0.2))

    assert engine.n_workers == 2  # what joins is taken
    assert numbers([*records, *others]) == expected
    assert sum("was lost under it (" in text for text in told.warnings) == 2


DRIVER = """
import sys
from batchlab import Cluster, sweep
sweep("mnist-softmax", batch_sizes=(64, 256), seeds=2, epochs=40, store=sys.argv[2],
      cluster=Cluster(address=sys.argv[1]))
"""


@pytest.mark.nightly
def test_a_driver_killed_leaves_nothing_running_and_is_taken_up_to_the_same_answer(nodes, tmp_path):
    killed, whole = str(tmp_path / "killed.db"), str(tmp_path / "whole.db")
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, nodes.address, killed])
    while not any(agent.children() for agent in agents()):
        assert driver.poll() is None
        time.sleep(0.1)
    time.sleep(2.0)
    running = [each for agent in agents() for each in (agent, *agent.children(recursive=True))]
    driver.kill()
    driver.wait()
    _, left = psutil.wait_procs(running, timeout=5.0)
    for store in (killed, whole):
        subprocess.run([sys.executable, "-c", DRIVER, nodes.address, store], check=True)
    with Store(killed) as one, Store(whole) as other:
        courses = [numbers(lab.study().records) for lab in (one, other)]

    assert left == []
    assert courses[0] == courses[1]
    assert len(courses[0]) == 4


@pytest.mark.nightly
def test_an_advice_trains_on_nodes_and_times_steps_here(nodes, tmp_path, monkeypatch):
    started: list[str] = []
    start = ray_workers.RayWorkers.start

    def noted(workers: ray_workers.RayWorkers, task: Task, *given: Any) -> None:
        started.append(task.trial.trial_id)
        start(workers, task, *given)

    monkeypatch.setattr(ray_workers.RayWorkers, "start", noted)
    lab = tmp_path / "lab.db"
    advice = advise(
        "mnist-softmax",
        batch_sizes=(64, 256),
        target=("accuracy", 0.85),
        budget=60.0,
        cluster=Cluster(address=nodes.address),
        store=lab,
    )
    found = stored(lab, None)

    assert {each.trial.trial_id for each in found.study.records} <= set(started)
    assert {timing.place for point in found.profile.points for timing in point.timings} == {
        place_here("cpu")
    }
    assert advice.caveats[0].code == "times_of_machine"


@pytest.mark.nightly
def test_a_cluster_whose_nodes_refuse_says_why_in_one_line(nodes, on_nodes, monkeypatch):
    with pytest.raises(ClusterError, match="a trial takes 3 CPU, and no node"):
        Cluster(address=nodes.address, cpus_per_trial=3).connect()

    monkeypatch.setattr(ray_workers, "library_versions", lambda: (("torch", "1.0"),))

    with pytest.raises(ClusterError, match=r"no node .*: it has batchlab .* torch 1\.0, and"):
        on_nodes()


def test_what_a_node_told_is_heard_to_its_end_though_one_of_it_raises():
    node = SimpleNamespace(running={"a": None, "b": None})
    ended = Ended(status=Status.OK)
    workers = ray_workers.RayWorkers.__new__(ray_workers.RayWorkers)
    workers._messages = deque([(node, "a", ended), (node, "gone", ended), (node, "b", ended)])

    assert next(workers.heard(timeout_s=0.0)) == ("a", ended)  # and whoever heard it raised
    assert list(workers.heard(timeout_s=0.0)) == [("b", ended)]
