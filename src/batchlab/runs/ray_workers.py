"""RayWorkers: trains runs on the nodes of a Ray cluster.

Ray sends the workload and the messages, and detects lost nodes. On each node, one Ray actor (a
`NodeAgent`) starts a child process for each run, as on this machine. Ray is imported only if used.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batchlab.errors import ClusterError
from batchlab.machine import library_versions
from batchlab.processes.children import Ended
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.processes.shipped_workload import ShippedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.trial import Status
from batchlab.runs.cluster import Cluster, brief, live_nodes
from batchlab.runs.contract import RunPlan
from batchlab.runs.node_agent import NodeAgent
from batchlab.runs.workers import NODE_LOST, Heard
from batchlab.training.checkpoint import write_whole
from batchlab.training.plain import Task
from batchlab.words.reasons import reason_text

_SAY_AFTER_S = 10.0  # Warn if no node is ready after this time; a free node needs about 5 s.
_LOOK_FOR_NODES_EVERY_S = 5.0
_HEAR_S = 10.0  # A call of `NodeAgent.hear` returns after this time at the latest.
_CLOSE_S = 5.0  # The longest time to wait until nodes have removed their files.


@dataclass(slots=True, eq=False)
class _Node:
    """A node that has the workload, or is about to receive the workload."""

    node_id: str
    name: str
    n: int  # the number of runs that the node trains at a time
    agent: Any
    settling: Any  # The pending call of `NodeAgent.settle`; None once it has returned.
    hearing: Any = None  # The pending call of `NodeAgent.hear`; None if there is none.
    running: dict[str, Path | None] = field(default_factory=dict)  # Checkpoint files by trial id.


class RayWorkers:
    """`Workers` on the nodes of a Ray cluster, including nodes that join later."""

    def __init__(self, cluster: Cluster, packed: PackedWorkload, plan: RunPlan) -> None:
        """Send the workload `packed` to each node, and wait until the first node is ready.

        Raises:
            ClusterError: the cluster cannot be used, or no node can train the workload.
        """
        import ray

        self._ray: Any = ray
        cluster.connect()
        self._cluster = cluster
        self._listener = plan.listener
        self._plan = replace(plan, listener=ProgressListener())
        self._shipped = ray.put(ShippedWorkload.of(packed))
        self._nodes: dict[str, _Node] = {}
        # Messages that `heard` has not yielded yet. They remain if the caller of `heard` fails.
        self._messages: deque[tuple[_Node, str, Any]] = deque()
        self._refused: dict[str, str] = {}  # The reasons why nodes are not used, by node id.
        self._looked_at_s = -_LOOK_FOR_NODES_EVERY_S
        self.get_ready()

    @property
    def n(self) -> int:
        """The number of runs that all ready nodes together can train at a time."""
        return max(1, sum(node.n for node in self._ready))

    def get_ready(self, *, timeout_s: float = 0.0) -> Reason | None:
        """Wait until a node is ready, at most until the budget of the plan ends.

        The result is always None, because each node builds its native trainer itself. `timeout_s`
        is ignored.

        Raises:
            ClusterError: no node can train the workload, or no node was free in time.
        """
        began_s, has_said = time.monotonic(), False
        until_s = self._plan.started_s + self._plan.budget_s
        while not self._ready:
            for _ in self.heard(timeout_s=1.0):
                pass
            if self._refused.keys() >= self._cluster.large_nodes():
                cause = next(iter(self._refused.values()), "it has none")
                raise ClusterError(f"no node of the cluster can train this: {cause}")
            if time.monotonic() > until_s:
                raise ClusterError(
                    "no node of the cluster was free before the budget ended; the same command "
                    "with a larger --budget goes on"
                )
            if time.monotonic() - began_s > _SAY_AFTER_S and not has_said:
                self._listener.warning("no node of the cluster is free yet: waiting for one")
                has_said = True
        return None

    def start(self, task: Task) -> None:
        """Start a run on the node that can train the most runs in addition to its present runs."""
        node = max(self._ready, key=lambda node: node.n - len(node.running))
        content = None
        if task.resume and task.checkpoint is not None:
            content = task.checkpoint.read_bytes()
        node.running[task.trial.trial_id] = task.checkpoint
        node.agent.start.remote(task, content)

    def heard(self, *, timeout_s: float) -> Iterator[Heard]:
        """Yield the messages of runs from all nodes, and write the checkpoints that nodes send."""
        if not self._messages:
            self._listen(timeout_s)
        while self._messages:
            node, trial_id, message = self._messages.popleft()
            if trial_id not in node.running:
                continue  # Ignore a message of a run that has already ended.
            if isinstance(message, bytes):
                _keep(node.running[trial_id], message)
                continue
            if isinstance(message, Ended):
                del node.running[trial_id]
            yield trial_id, message

    def _listen(self, timeout_s: float) -> None:
        self._look_for_nodes()
        calls: dict[Any, _Node] = {}
        for node in self._nodes.values():
            if node.running and node.hearing is None:
                node.hearing = node.agent.hear.options(concurrency_group="hear").remote(_HEAR_S)
            calls |= {call: node for call in (node.settling, node.hearing) if call is not None}
        if not calls:
            time.sleep(timeout_s)
            return
        answered, _ = self._ray.wait(list(calls), num_returns=1, timeout=timeout_s)
        if answered:  # Also take all other calls that have returned by now.
            answered, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        for call in answered:
            self._answered(calls[call], call)

    def ask_to_stop(self) -> None:
        """Make all runs on all nodes write their checkpoints and end."""
        for node in self._ready:
            node.agent.ask_to_stop.remote()

    def kill(self) -> None:
        """End all runs on all nodes at once."""
        for node in self._ready:
            node.agent.kill.remote()

    def close(self) -> None:
        """Release the nodes, which ends their runs; the next `heard` reserves nodes again."""
        nodes = list(self._nodes.values())
        closing = [node.agent.close.remote() for node in nodes]
        with suppress(self._ray.exceptions.RayError):
            self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_S)
        for node in nodes:
            self._forget(node)
        self._messages.clear()
        self._looked_at_s = -_LOOK_FOR_NODES_EVERY_S

    # ---- nodes

    @property
    def _ready(self) -> list[_Node]:
        return [node for node in self._nodes.values() if node.settling is None]

    def _look_for_nodes(self) -> None:
        """Every few seconds, reserve the free resources of nodes that have joined the cluster."""
        if time.monotonic() - self._looked_at_s < _LOOK_FOR_NODES_EVERY_S:
            return
        self._looked_at_s = time.monotonic()
        live = live_nodes()
        new = live.keys() - self._nodes.keys() - self._refused.keys()
        if not new:
            return
        free = _free_resources()
        for node_id in sorted(new):
            n = self._cluster.places(free.get(node_id, live[node_id]["Resources"]))
            if n:
                self._nodes[node_id] = self._taken(node_id, live[node_id], n)

    def _taken(self, node_id: str, facts: dict[str, Any], n: int) -> _Node:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        devices = self._cluster.devices(n)
        # `hear` waits for messages in a thread of its own; all other calls run one after another.
        agent = self._ray.remote(concurrency_groups={"hear": 1})(NodeAgent).options(
            num_cpus=n * self._cluster.cpus_per_trial,
            num_gpus=len({*devices} - {"cpu"}),  # Whole GPUs; several trials may share one.
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        )
        agent = agent.remote()
        settling = agent.settle.remote(self._shipped, self._plan, devices, library_versions())
        name = facts["NodeManagerHostname"]
        return _Node(node_id=node_id, name=name, n=n, agent=agent, settling=settling)

    def _refuse(self, node: _Node, why: str) -> None:
        self._refused[node.node_id] = f"node {node.name}: {why}"
        self._listener.warning(f"node {node.name} trains nothing: {why}")
        self._forget(node)

    def _forget(self, node: _Node) -> None:
        del self._nodes[node.node_id]
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(node.agent)

    # ---- messages

    def _answered(self, node: _Node, call: Any) -> None:
        if self._nodes.get(node.node_id) is not node:
            return  # the node was lost or released
        try:
            answer = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            self._lost(node, error)
            return
        if call == node.settling:
            node.settling = None
            if answer is not None:
                self._listener.warning(f"node {node.name}: {reason_text(answer)}")
        else:
            node.hearing = None
            self._messages += [(node, trial_id, message) for trial_id, message in answer]

    def _lost(self, node: _Node, error: BaseException) -> None:
        cause = _cause_of(error)
        if node.settling is not None:
            self._refuse(node, cause)
            return
        self._forget(node)
        reason = Reason.as_written(f"node {node.name} was lost under it ({cause})")
        lost = Ended(status=Status.KILLED, reason=reason, error=NODE_LOST)
        self._messages += [(node, trial_id, lost) for trial_id in node.running]


def _keep(path: Path | None, checkpoint: bytes) -> None:
    if path is not None:
        write_whole(path, lambda temporary: temporary.write_bytes(checkpoint))


def _cause_of(error: BaseException) -> str:
    """Return the cause of an error on a node or of Ray, as a text for the user."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, ClusterError):
        return str(cause)  # The message of a `ClusterError` is already written for users.
    return brief(error) if cause is None else f"{type(cause).__name__}: {brief(cause)}"


def _free_resources() -> dict[str, dict[str, float]]:
    """Return the free CPUs and GPUs of each node id, or {} if Ray does not report them."""
    from ray._private import state  # Ray has no public function for this

    try:
        return dict(state.available_resources_per_node())
    except Exception:
        return {}
