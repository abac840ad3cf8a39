"""What of a cluster a trial takes, what is refused, and what a node does; all without a cluster."""

import pickle
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.local_engine import plan_on
from tests.reference.small_workloads import small_trial, small_workload

from batchlab import Cluster
from batchlab.errors import BatchlabError, ClusterError, EditedError, WorkloadError
from batchlab.machine import library_versions
from batchlab.processes.children import Ended
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.processes.shipped_workload import ShippedWorkload
from batchlab.records.run import RunLength
from batchlab.records.trial import Trial
from batchlab.runs import node_agent
from batchlab.runs.node_agent import NodeAgent
from batchlab.training.checkpoint import peek_checkpoint
from batchlab.training.plain import Task
from batchlab.words.reasons import reason_text
from batchlab.workload.loading import load_workload
from batchlab.workload.source import SourceFile

HALVES = Cluster(gpus_per_trial=0.5)


@pytest.mark.parametrize(
    ("cluster", "device", "resources", "devices"),
    [
        (Cluster(), "cpu", {"CPU": 4.0, "GPU": 8.0}, ["cpu"] * 4),
        (Cluster(cpus_per_trial=3), "cpu", {"CPU": 8.0}, ["cpu"] * 2),
        (Cluster(), "cpu", {"GPU": 1.0}, []),
        (Cluster(), "cuda", {"CPU": 8.0, "GPU": 2.0}, ["cuda:0", "cuda:1"]),
        (Cluster(), "cuda", {"CPU": 1.0, "GPU": 2.0}, ["cuda:0"]),
        (Cluster(), "cuda", {"CPU": 8.0}, []),
        (HALVES, "cuda:1", {"CPU": 8.0, "GPU": 2.0}, ["cuda:0"] * 2 + ["cuda:1"] * 2),
        (HALVES, "cuda", {"CPU": 3.0, "GPU": 2.0}, ["cuda:0"] * 2 + ["cuda:1"]),
        # None of three trials of 0.4 fits on a GPU with two of them.
        (
            Cluster(gpus_per_trial=0.4),
            *("cuda", {"CPU": 9.0, "GPU": 2.0}, ["cuda:0"] * 2 + ["cuda:1"] * 2),
        ),
    ],
)
def test_a_node_takes_as_many_trials_as_it_has_places(cluster, device, resources, devices):
    asked = cluster.for_device(device)

    assert asked.devices(asked.places(resources)) == devices


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(BatchlabError, match=r"pip install 'batchlab\[ray\]'"):
        Cluster().connect()


def test_where_nobody_answers_that_is_said_in_seconds():
    pytest.importorskip("ray")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nobody listens, and nobody else takes it
        address = f"127.0.0.1:{held.getsockname()[1]}"
        began_s = time.monotonic()
        for each in (address, f"ray://{address}"):
            with pytest.raises(ClusterError, match=f"address {each}: nobody answers there"):
                Cluster(address=each).connect()

    assert time.monotonic() - began_s < 20.0


def test_another_version_of_ray_or_python_is_told_with_both(monkeypatch):
    ray = pytest.importorskip("ray")

    def refused(**_: object) -> None:
        raise RuntimeError(
            "Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: 3.12.1\n"
            "This process on 10.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
        )

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(ClusterError) as told:
        Cluster(address="auto").connect()

    assert "\n" not in str(told.value)
    assert "started with: Ray: 2.60.0 Python: 3.12.1 This process" in str(told.value)
    assert "Python: 3.11.7; start a cluster" in str(told.value)


# What a node does: it is an ordinary object


TRIAL = small_trial(small_workload(n=40), batch_size=10)


@pytest.fixture
def agent(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # it goes to another folder itself
    monkeypatch.setattr(node_agent.tempfile, "tempdir", str(tmp_path))
    agent = NodeAgent()
    yield agent
    if hasattr(agent, "_workers"):
        agent._workers.close()
    agent.close()


def settled(agent: NodeAgent, packed: PackedWorkload, versions: Any = None) -> Any:
    shipped = pickle.loads(pickle.dumps(ShippedWorkload.of(packed)))
    return agent.settle(shipped, plan_on(TRIAL), ("cpu",), versions or library_versions())


def task(steps: int, *, trial: Trial = TRIAL, resume: bool = False) -> Task:
    return Task(
        trial=trial,
        length=RunLength(steps=steps),
        device="cpu",
        threads=1,
        checkpoint=Path("/there/where/the/driver/is.safetensors"),
        resume=resume,
        versions=library_versions(),
    )


def all_told(agent: NodeAgent) -> list[Any]:
    told: list[Any] = []
    while not any(isinstance(message, Ended) for message in told):
        told += (message for _, message in agent.hear(60.0))
    return told


@pytest.mark.slow
def test_from_the_checkpoint_at_its_end_a_run_goes_on_the_same(agent, packed, tmp_path):
    settled(agent, packed)
    agent.start(task(12), None)
    *_, kept, _ = all_told(agent)
    agent.start(task(40, resume=True), kept)
    *_, longer, _, _ = all_told(agent)  # its last evaluations, its checkpoint and its end
    agent.start(task(40), None)
    *_, at_once, _, _ = all_told(agent)

    (tmp_path / "kept").write_bytes(kept)
    assert peek_checkpoint(tmp_path / "kept").step == 12
    assert longer[-1].scores == at_once[-1].scores
    assert list(agent._folder.iterdir()) == []


@pytest.mark.slow
def test_of_a_long_run_its_checkpoint_is_sent_on_the_way(agent, packed, monkeypatch):
    monkeypatch.setattr(node_agent, "_KEEP_EVERY_S", 0.0)
    settled(agent, packed)
    agent.start(task(10**7), None)
    steps: set[int] = set()
    while len(steps) < 3:
        for _, message in agent.hear(60.0):
            if isinstance(message, bytes):
                (agent._folder / "copy").write_bytes(message)
                steps.add(peek_checkpoint(agent._folder / "copy").step)
    agent.ask_to_stop()
    all_told(agent)

    assert min(steps) > 0


def test_a_killed_run_frees_its_device_and_sends_no_early_checkpoint(agent, packed):
    settled(agent, packed)
    agent.start(task(10**7), None)
    under_way = agent.hear(60.0) + agent.hear(0.1)
    agent.kill()
    told = all_told(agent)

    assert not any(isinstance(message, bytes) for _, message in under_way)
    assert told[-1].status == "killed"
    assert agent._devices == ["cpu"]
    assert agent.hear(0.1) == []


def test_a_run_that_cannot_begin_ends_alone_and_leaves_its_device(agent, packed, monkeypatch):
    settled(agent, packed)

    def full(task: Task) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(agent._workers, "start", full)
        agent.start(task(12), None)
    (failed,) = all_told(agent)
    agent.start(task(12), None)

    assert failed.status == "error"
    assert reason_text(failed.reason).endswith("OSError: [Errno 28] No space left on device")
    assert all_told(agent)[-1].value.status == "ok"


def test_numbers_of_other_versions_are_refused_by_name(agent, packed):
    with pytest.raises(ClusterError, match=r"this machine has torch 1\.0, .* don't mix"):
        settled(agent, packed, versions=(("torch", "1.0"),))


# ---- what travels

FILE = """
import torch, batchlab
from helping import net
def workload():
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    return batchlab.Workload(
        name="mine", model=net, train=(x, (x[:, 0] > 0).long()),
        loss=lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
        batch_size=10, learning_rate=0.1)
"""


def test_files_that_a_node_lacks_travel_with_the_workload(agent, tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.mkdir()
    (there / "helping.py").write_text(
        "import torch\ndef net():\n    return torch.nn.Linear(6, int(open('width.txt').read()))\n"
    )
    (there / "width.txt").write_text("2")
    (there / "train.py").write_text(FILE)
    monkeypatch.chdir(there)
    loaded = load_workload("train.py:workload", {})
    files = (*loaded.files, SourceFile.now(there / "width.txt"))
    packed = PackedWorkload(loaded.workload, files=files)
    shipped = ShippedWorkload.of(packed)
    monkeypatch.chdir(tmp_path)
    there.rename(tmp_path / "elsewhere")
    n = len(loaded.workload.train[0])
    assert agent.settle(shipped, plan_on(TRIAL), ("cpu",), library_versions()) is None
    agent.start(task(4, trial=replace(TRIAL, n_train=n)), None)

    assert all_told(agent)[-1].value.status == "ok"
    assert not there.exists()


def test_files_of_a_node_are_used_and_edited_ones_do_not_leave(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    helper = tmp_path / "helper.py"
    helper.write_text("WIDTH = 3")
    packed = PackedWorkload(small_workload(n=40), files=(SourceFile.now(str(helper)),))
    arrived = ShippedWorkload.of(packed).arrived(tmp_path / "new")
    assert arrived.files == packed.files
    assert not (tmp_path / "new").exists()
    helper.write_text("WIDTH = 4")

    with pytest.raises(EditedError, match=r"helper\.py was edited"):
        ShippedWorkload.of(packed)


@pytest.mark.parametrize("found", ["no such file", "another file"])
def test_data_that_stay_in_a_file_have_to_be_there(tmp_path, monkeypatch, found):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((6_000, 6), dtype=np.float32))
    mapped = np.load(path, mmap_mode="r")
    workload = replace(small_workload(n=40), train=(mapped, np.zeros(6_000, dtype=np.int64)))
    shipped = ShippedWorkload.of(PackedWorkload(workload))
    assert shipped.arrived(tmp_path).unpack().train[0].shape == (6_000, 6)
    path.unlink()
    if found == "another file":
        np.save(path, np.ones((6_000, 6), dtype=np.float32))

    with pytest.raises(WorkloadError, match=rf"x\.npy: .* here is {found}; put it at"):
        shipped.arrived(tmp_path)
