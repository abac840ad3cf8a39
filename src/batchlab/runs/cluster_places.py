"""The kinds of machines that a cluster has, and a profile measured on one of a kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from batchlab.errors import BatchlabError, ClusterError
from batchlab.machine import library_versions, place_here
from batchlab.measure.profile import Profile
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.processes.shipped_workload import ShippedWorkload
from batchlab.runs.cluster import Cluster, first_line, free_resources, live_nodes, on_node
from batchlab.runs.node_agent import NodeAgent

# A node that starts its first process of ours takes ten seconds. One that is silent is not waited
# for longer than this, nor than its share of the budget.
_ASK_S, _ASK_SHARE = 30.0, 0.3
_PART_OF_A_GPU = 0.001  # so much of one is enough to see which it is
_START_S = 5.0  # that a process may take to start on a node, beside what is for measuring
_LATE_S = 10.0  # what is measured ends by its deadline, but for what has begun
_CLOSE_S = 5.0


def places_of(
    cluster: Cluster, device: str, *, limit_s: float, warn: Callable[[str], None]
) -> dict[str, tuple[str, ...]]:
    """The ids of the nodes that take its trials, by kind; that of most trials at a time first.

    Raises:
        ClusterError: as of `Cluster.connect`, or no node answers within the limit.
    """
    import ray

    cluster.connect()
    live = live_nodes()
    fit = {name: n for name, node in live.items() if (n := cluster.places(node["Resources"]))}
    ask = ray.remote(place_here)
    part = _PART_OF_A_GPU if cluster.gpus else 0
    calls: dict[Any, str] = {
        ask.options(num_cpus=0, num_gpus=part, scheduling_strategy=on_node(name)).remote(
            device
        ): name
        for name in fit
    }
    wait_s = min(_ASK_SHARE * limit_s, _ASK_S)
    _, silent = ray.wait(list(calls), num_returns=len(calls), timeout=wait_s)
    found: dict[str, tuple[str, ...]] = {}
    for call, name in calls.items():
        node = f"node {live[name]['NodeManagerHostname']}"
        if call in silent:
            ray.cancel(call, force=True)
            warn(f"{node} did not tell which machine it is: it was silent for {wait_s:.0f} s")
            continue
        try:
            place = ray.get(call) or "machines of an unknown kind"
            found[place] = (*found.get(place, ()), name)
        except ray.exceptions.RayError as error:
            warn(f"{node} did not tell which machine it is: {first_line(error)}")
    if not found:
        raise ClusterError(
            f"no node of the cluster told in {wait_s:.0f} s which machine it is; with batchlab on "
            f"each node, one of them free, and a budget of two minutes, the same command goes on"
        )
    by_trials = sorted(found, key=lambda place: (-sum(fit[name] for name in found[place]), place))
    return {place: found[place] for place in by_trials}


def profile_on(
    cluster: Cluster,
    packed: PackedWorkload,
    node_ids: tuple[str, ...],
    *,
    deadline_s: float,
    asked: Mapping[str, Any],
) -> Profile:
    """What `measure_profile` measures on the freest of the nodes, with all its cores for itself.

    Raises:
        ClusterError: none was free in time, or it was lost, or has other versions.
        WorkloadError: as of `measure_profile`.
    """
    import ray

    live, free = live_nodes(), free_resources()
    there = [name for name in node_ids if name in live]
    if not there:
        raise ClusterError("its nodes have left the cluster")
    whole, gpus = {name: live[name]["Resources"] for name in there}, cluster.gpus_of(1)
    free_share = {
        name: _free_share(free.get(name, whole[name]), whole[name], gpus) for name in there
    }
    chosen = max(there, key=free_share.__getitem__)
    shipped = ray.put(ShippedWorkload.of(packed))
    agent: Any = ray.remote(NodeAgent).options(
        num_cpus=whole[chosen]["CPU"],
        num_gpus=gpus,
        scheduling_strategy=on_node(chosen),
    )
    agent = agent.remote()
    try:
        asked_s = time.monotonic()
        wait_s = max(0.0, deadline_s - asked_s) + _START_S
        if not ray.wait([agent.__ray_ready__.remote()], timeout=wait_s)[0]:
            if free_share[chosen] == 1.0:
                raise ClusterError(
                    f"its node started no process in {wait_s:.0f} s; give a larger --budget"
                )
            raise ClusterError(
                "none of its nodes had all its cores free in time; end what else runs on one of "
                "them, or give a larger --budget"
            )
        now_s = time.monotonic()
        left_s = max(0.0, deadline_s - now_s + min(_START_S, now_s - asked_s))
        call = agent.profile.remote(shipped, library_versions(), left_s, asked)
        made: Profile = ray.get(call, timeout=left_s + _LATE_S)
        ray.wait([agent.close.remote()], timeout=_CLOSE_S)
    except ray.exceptions.GetTimeoutError as error:
        raise ClusterError("its node did not end measuring in time") from error
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, BatchlabError):
            raise cause from error
        raise ClusterError(first_line(error)) from error
    finally:
        with suppress(ray.exceptions.RayError):
            ray.kill(agent)
    return made


def _free_share(free: Mapping[str, float], whole: Mapping[str, float], gpus: int) -> float:
    """Of a node's cores, those that nobody uses; of one without so many free GPUs none."""
    return free.get("CPU", 0.0) / whole["CPU"] if free.get("GPU", 0.0) >= gpus else 0.0
