"""A small workload, packed, and a store with a study of it."""

import os
from typing import Any

import pytest
from tests.reference.made_up_study import store_with_study
from tests.reference.small_workloads import small_workload

from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.trial import TrialRecord
from batchlab.store.store import Store


@pytest.fixture(scope="session")
def packed():
    return PackedWorkload(small_workload(n=40))


@pytest.fixture
def begun(monkeypatch):
    """The trials that were really begun, in order."""
    trial_ids: list[str] = []
    put = Store.put_record

    def counted(store: Store, record: TrialRecord, **named: Any) -> None:
        if record.status is None:
            trial_ids.append(record.trial.trial_id)
        put(store, record, **named)

    monkeypatch.setattr(Store, "put_record", counted)
    return trial_ids


class Nodes:
    """A Ray cluster of two nodes on this machine, with one processor each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as LocalCluster

        least = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        head = {**least, "include_dashboard": False}
        self._least = least
        self._cluster = LocalCluster(initialize_head=True, head_node_args=head)
        self.address = self._cluster.address
        self.second: Any = None
        self.add()

    def add(self) -> None:
        self.second = self._cluster.add_node(**self._least)

    def lose_second(self) -> None:
        self._cluster.remove_node(self.second, allow_graceful=False)
        self.second = None

    def close(self) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes():
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Nodes()
    yield nodes
    nodes.close()


@pytest.fixture
def store(tmp_path):
    with store_with_study(tmp_path / "lab.db") as store:
        yield store
