"""Which machines a cluster has, and on which of them is measured: with a stand-in for Ray."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from tests.reference.made_up_profile import told_profile
from tests.reference.made_up_study import made_up_summary

from batchlab.errors import ClusterError, WorkloadError
from batchlab.measure.profile import Profile
from batchlab.runs import cluster_places
from batchlab.runs.cluster import Cluster
from batchlab.runs.cluster_places import places_of, profile_on

SMALL, LARGE, GPU = {"CPU": 2.0}, {"CPU": 4.0}, {"CPU": 4.0, "GPU": 1.0}
MADE = told_profile(made_up_summary(), lambda size: size / 1000, (16, 32))


class RayError(Exception):
    pass


class GetTimeoutError(RayError):
    pass


@dataclass
class StandIn:
    """As much of Ray as is asked: a call is the node that it goes to and what it asks."""

    tells: dict[str, str | Exception | None] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    starts_in_s: float | None = 0.0  # a process on a node; None: never
    ends: Profile | Exception = MADE  # what measuring ends with
    cancelled: list[Any] = field(default_factory=list)
    options_given: list[dict[str, Any]] = field(default_factory=list)
    left_s: list[float] = field(default_factory=list)
    n_killed: int = 0
    exceptions = SimpleNamespace(RayError=RayError, GetTimeoutError=GetTimeoutError)

    def put(self, _: object) -> str:
        return "shipped"

    def remote(self, what: object) -> SimpleNamespace:
        def options(**given: Any) -> SimpleNamespace:
            self.options_given.append(given)
            node = given["scheduling_strategy"]
            is_agent = what is cluster_places.NodeAgent
            return SimpleNamespace(remote=lambda *_: self._agent() if is_agent else ("ask", node))

        return SimpleNamespace(options=options)

    def _agent(self) -> SimpleNamespace:
        def profile(_shipped: object, _versions: object, left_s: float, _asked: object) -> Any:
            self.left_s.append(left_s)
            return ("profile", None)

        def answering(what: Callable[..., Any]) -> SimpleNamespace:
            return SimpleNamespace(remote=what)

        return SimpleNamespace(
            __ray_ready__=answering(lambda: ("ready", None)),
            profile=answering(profile),
            close=answering(lambda: ("close", None)),
        )

    def wait(self, calls: list[Any], *, num_returns: int = 1, timeout: float) -> Any:
        assert len(calls) == num_returns
        assert timeout >= 0
        if calls == [("ready", None)]:
            if self.starts_in_s is None or self.starts_in_s > timeout:
                return [], calls
            time.sleep(self.starts_in_s)
        late = [call for call in calls if call[1] in self.silent]
        return [call for call in calls if call not in late], late

    def get(self, call: Any, **_: object) -> Any:
        found = self.ends if call[0] == "profile" else self.tells[call[1]]
        if isinstance(found, Exception):
            raise found
        return found

    def cancel(self, call: Any, *, force: bool) -> None:
        assert force
        self.cancelled.append(call[1])

    def kill(self, _: object) -> None:
        self.n_killed += 1


Nodes = Callable[..., None]


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    ray = StandIn()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(Cluster, "connect", lambda _: None)
    monkeypatch.setattr(cluster_places, "on_node", str)
    monkeypatch.setattr(
        cluster_places, "ShippedWorkload", SimpleNamespace(of=lambda packed: packed)
    )
    return ray


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    def given(whole: Mapping[str, Mapping[str, float]], **free: Mapping[str, float]) -> None:
        live = {
            name: {"Resources": dict(resources), "NodeManagerHostname": f"host-{name}"}
            for name, resources in whole.items()
        }
        monkeypatch.setattr(cluster_places, "live_nodes", lambda: live)
        monkeypatch.setattr(cluster_places, "free_resources", lambda: {**whole, **free})

    return given


def profiled(device: str = "cpu", *, within_s: float = 5.0, on: str = "ab") -> Profile:
    packed: Any = "packed"
    return profile_on(
        Cluster().for_device(device),
        packed,
        tuple(on),
        deadline_s=time.monotonic() + within_s,
        asked={},
    )


def test_the_kind_that_takes_most_trials_comes_first(ray: StandIn, nodes: Nodes) -> None:
    nodes({"a": SMALL, "b": LARGE, "c": SMALL, "d": SMALL, "e": {"CPU": 0.0}})
    ray.tells = {"a": "small", "b": "large", "c": "small", "d": None}
    warned: list[str] = []

    found = places_of(Cluster(), "cpu", limit_s=60.0, warn=warned.append)

    # As many trials on two small nodes as on the large one: then by their names.
    assert list(found.items()) == [
        ("large", ("b",)),
        ("small", ("a", "c")),
        ("machines of an unknown kind", ("d",)),
    ]
    assert warned == []
    assert {given["num_cpus"] for given in ray.options_given} == {0}


def test_what_a_node_does_not_tell_is_said_and_the_others_answer(
    ray: StandIn, nodes: Nodes
) -> None:
    nodes({"a": SMALL, "b": SMALL, "c": SMALL})
    ray.tells = {"a": "small", "c": RayError("it left\nand more")}
    ray.silent = frozenset("b")
    warned: list[str] = []

    found = places_of(Cluster(), "cpu", limit_s=20.0, warn=warned.append)

    assert found == {"small": ("a",)}
    assert ray.cancelled == ["b"]
    assert warned == [
        "node host-b did not tell which machine it is: it was silent for 6 s",
        "node host-c did not tell which machine it is: it left",
    ]


def test_where_none_tells_it_is_refused_in_one_line(ray: StandIn, nodes: Nodes) -> None:
    nodes({"a": SMALL})
    ray.silent = frozenset("a")

    with pytest.raises(ClusterError, match="no node of the cluster told in 18 s which machine"):
        places_of(Cluster(), "cpu", limit_s=60.0, warn=lambda _: None)


def test_it_is_measured_where_most_is_free_with_all_cores_reserved(
    ray: StandIn, nodes: Nodes
) -> None:
    nodes({"a": {"CPU": 8.0}, "b": SMALL}, a={"CPU": 3.0})  # three of eight, and two of two

    assert profiled() is MADE
    (given,) = ray.options_given
    assert given == {"num_cpus": 2.0, "num_gpus": 0, "scheduling_strategy": "b"}
    assert ray.n_killed == 1


def test_a_node_whose_gpu_is_taken_is_not_the_freest(ray: StandIn, nodes: Nodes) -> None:
    nodes({"a": GPU, "b": GPU}, a={"CPU": 4.0}, b={"CPU": 2.0, "GPU": 1.0})

    profiled("cuda")

    (given,) = ray.options_given
    assert (given["scheduling_strategy"], given["num_gpus"]) == ("b", 1)


def test_what_its_process_takes_to_start_is_not_missed_in_measuring(
    ray: StandIn, nodes: Nodes
) -> None:
    nodes({"a": SMALL, "b": SMALL})
    ray.starts_in_s = 0.5
    profiled(within_s=0.2)

    assert ray.left_s == [pytest.approx(0.2, abs=0.1)]


def test_a_node_that_is_free_and_starts_nothing_is_not_called_busy(
    ray: StandIn, nodes: Nodes
) -> None:
    nodes({"a": SMALL, "b": SMALL}, a={"CPU": 1.0})
    ray.starts_in_s = None
    with pytest.raises(ClusterError, match=r"its node started no process in 1\d s; give a larger"):
        profiled()
    with pytest.raises(ClusterError, match="none of its nodes had all its cores free in time"):
        profiled(on="a")

    assert ray.n_killed == 2


def test_what_goes_wrong_there_is_said_here(ray: StandIn, nodes: Nodes) -> None:
    nodes({"a": SMALL})
    raised = RayError("a page\nof it")
    raised.cause = WorkloadError("it has no validation set")  # type: ignore[attr-defined]
    for ends, error, said in (
        (raised, WorkloadError, "it has no validation set"),
        (RayError("a page\nof it"), ClusterError, "a page"),
        (GetTimeoutError("late"), ClusterError, "its node did not end measuring in time"),
    ):
        ray.ends = ends
        with pytest.raises(error, match=f"^{said}$"):
            profiled()
    with pytest.raises(ClusterError, match="its nodes have left the cluster"):
        profiled(on="z")
