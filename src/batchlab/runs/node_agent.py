"""NodeAgent: the child processes of one node of a cluster, and their checkpoints."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from socket import gethostname

from batchlab.errors import BatchlabError, ClusterError
from batchlab.machine import library_versions
from batchlab.processes.children import Ended
from batchlab.processes.server import start_early
from batchlab.processes.shipped_workload import ShippedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.runs.contract import RunPlan
from batchlab.runs.workers import BUILD_S, Heard, LocalWorkers
from batchlab.training.plain import Task

# Seconds after which the next checkpoint of a run is sent to batchlab. If the node is lost, another
# node resumes the run from the last checkpoint that was sent.
_KEEP_EVERY_S = 30.0
# `hear` waits at most this long at a time, so that it also notices runs started meanwhile.
_LOOK_EVERY_S = 0.05

Message = tuple[str, bytes] | Heard
"""A trial's id with the content of its checkpoint, or with a report of its run (see `Heard`)."""


class NodeAgent:
    """Trains runs on one node. Ray calls `hear` in one thread, and all other methods in another."""

    def __init__(self) -> None:
        start_early()
        self._folder = Path(tempfile.mkdtemp(prefix="batchlab-node-"))
        self._devices: list[str] = []  # The devices without a run.
        self._running: dict[str, str] = {}  # For each trial id in training, its device.
        # For each trial id, the time when its run started or last sent a checkpoint.
        self._sent_s: dict[str, float] = {}
        self._failed: deque[Message] = deque()  # Messages about runs that could not start.
        self._workers: LocalWorkers

    def settle(
        self,
        shipped: ShippedWorkload,
        plan: RunPlan,
        devices: Sequence[str],
        versions: tuple[tuple[str, str], ...],
    ) -> Reason | None:
        """Prepare to train a workload on these devices, one run on each.

        Return why building the native trainer failed on this node, or None if it did not fail.

        Raises:
            ClusterError: this node has other library versions, or cannot load the workload.
        """
        here = library_versions()
        if here != versions:
            raise ClusterError(
                f"it has {_listed(here)}, this machine has {_listed(versions)}, and the numbers of "
                f"two versions don't mix"
            )
        self._devices = list(devices)
        try:
            self._workers = LocalWorkers(shipped.arrived(self._folder / "files"), plan)
            return self._workers.get_ready(timeout_s=BUILD_S)
        except (BatchlabError, OSError) as error:
            raise ClusterError(str(error)) from error

    def start(self, task: Task, checkpoint: bytes | None) -> None:
        """Start a run, or resume it from the content of a checkpoint."""
        trial_id = task.trial.trial_id
        path = self._path(trial_id)
        # Write no checkpoints for other trials (`beginnings`): other nodes could not read them.
        task = replace(task, checkpoint=path, device=self._devices.pop(0), beginnings=())
        self._running[trial_id], self._sent_s[trial_id] = task.device, time.monotonic()
        try:
            if checkpoint is not None:
                path.write_bytes(checkpoint)
            self._workers.start(task)
        except Exception as error:  # Any error, such as of a full disk, fails only this run.
            self._forget(trial_id)
            reason = Reason.as_written(f"on node {gethostname()}: {type(error).__name__}: {error}")
            self._failed.append((trial_id, Ended(status=Status.ERROR, reason=reason)))

    def hear(self, timeout_s: float) -> list[Message]:
        """Return messages of the runs as soon as there are any, or [] after `timeout_s` seconds."""
        until_s = time.monotonic() + timeout_s
        news: list[Message] = []
        while not news and time.monotonic() < until_s:
            while self._failed:
                news.append(self._failed.popleft())
            for trial_id, message in self._workers.heard(timeout_s=_LOOK_EVERY_S):
                if isinstance(message, Ended):
                    news += self._checkpoint(trial_id, at_least_s=0.0)
                    self._forget(trial_id)
                news.append((trial_id, message))
            for trial_id in list(self._running):
                news += self._checkpoint(trial_id, at_least_s=_KEEP_EVERY_S)
        return news

    def ask_to_stop(self) -> None:
        """Have all runs write their checkpoints and end."""
        self._workers.ask_to_stop()

    def kill(self) -> None:
        """End all runs at once."""
        self._workers.kill()

    def close(self) -> None:
        """Remove the folder of checkpoints; the runs end when Ray kills this process."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _checkpoint(self, trial_id: str, *, at_least_s: float) -> list[Message]:
        """Return a run's checkpoint, or [] if one was sent less than `at_least_s` seconds ago."""
        if time.monotonic() - self._sent_s[trial_id] < at_least_s:
            return []
        try:
            content = self._path(trial_id).read_bytes()
        except FileNotFoundError:  # no checkpoint was written yet
            return []
        self._sent_s[trial_id] = time.monotonic()
        return [(trial_id, content)]

    def _path(self, trial_id: str) -> Path:
        return self._folder / f"{trial_id}.safetensors"

    def _forget(self, trial_id: str) -> None:
        self._path(trial_id).unlink(missing_ok=True)
        self._devices.append(self._running.pop(trial_id))


def _listed(versions: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(map(" ".join, versions))
