"""What of a cluster a trial takes, and what is refused before Ray is asked."""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchlab import Cluster, TrainingCommand, sweep
from batchlab.errors import ClusterError, MissingLibraryError, UsageError

HALVES = Cluster(gpus_per_trial=0.5)
COMMAND = TrainingCommand(arguments=("python", "{batch_size}"), metric="val_loss", examples=9)


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
def test_a_node_takes_as_many_trials_as_it_has_places(
    cluster: Cluster, device: str, resources: dict[str, float], devices: list[str]
) -> None:
    asked = cluster.for_device(device)

    n = asked.places(resources)
    assert asked.devices(n) == devices
    assert asked.gpus_of(n) == (0 if device == "cpu" else len(set(devices)))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            lambda lab: Cluster(cpus_per_trial=0),
            "CPUs per trial 0: expected a whole number of at least 1",
        ),
        (lambda lab: Cluster(cpus_per_trial=1.5), "CPUs per trial 1.5: expected a whole number"),
        (lambda lab: Cluster(gpus_per_trial=2.0), "GPUs per trial 2: expected 0 to 1"),
        (lambda lab: Cluster(gpus_per_trial=-1.0), "GPUs per trial -1: expected 0 to 1"),
        (
            lambda lab: Cluster(gpus_per_trial=1.0).for_device("cpu"),
            "GPUs per trial 1 with device cpu",
        ),
        (
            lambda lab: Cluster(gpus_per_trial=0.0).for_device("cuda"),
            "GPUs per trial 0 with device cuda: expected more than 0",
        ),
        (
            lambda lab: sweep("mnist-softmax", cluster="auto", store=lab),
            "cluster 'auto': expected a batchlab.Cluster",
        ),
        (
            lambda lab: sweep(COMMAND, batch_sizes=(4,), cluster=Cluster(), store=lab),
            "engine ray with a command of your own: nodes train workloads",
        ),
    ],
)
def test_what_no_cluster_can_give_is_refused(
    asked: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        asked(tmp_path / "lab.db")


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(MissingLibraryError, match=r"pip install 'batchlab\[ray\]'"):
        Cluster().connect()


def test_where_nobody_answers_that_is_said_in_seconds() -> None:
    pytest.importorskip("ray")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nobody listens, and nobody else takes it
        address = f"127.0.0.1:{held.getsockname()[1]}"
        began_s = time.monotonic()
        for each in (address, f"ray://{address}"):
            with pytest.raises(ClusterError, match=f"address {each}: nobody answers there"):
                Cluster(address=each).connect()

    assert time.monotonic() - began_s < 20.0


def test_another_version_of_ray_or_python_is_told_with_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
    assert str(told.value).endswith(
        "Python: 3.11.7; use one with these, or give the --address of another"
    )
