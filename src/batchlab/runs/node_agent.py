"""NodeAgent: the child processes of one node of a cluster, and their checkpoints."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from batchlab.errors import BatchlabError
from batchlab.machine import library_versions
from batchlab.processes.children import Ended
from batchlab.processes.server import start_early
from batchlab.processes.shipped_workload import ShippedWorkload
from batchlab.records.estimate import Reason
from batchlab.runs.contract import RunPlan
from batchlab.runs.workers import Heard, LocalWorkers
from batchlab.training.plain import Task

# A training that goes on elsewhere loses at most this much of its work.
_KEEP_EVERY_S = 30.0
# A run that has just begun is heard by then, even if others of the node have no news.
_LOOK_EVERY_S = 0.05
_BUILD_S = 30.0
_FOLDER = "batchlab-node-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A checkpoint on its way to whoever keeps it."""

    content: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """The result of handing a workload to a node."""

    refused: str | None = None  # why it cannot train it, if it cannot
    warning: Reason | None = None  # why PyTorch's own loop trains here


class NodeAgent:
    """The runs of one node: Ray calls `hear` in one thread, and all else in another."""

    def __init__(self) -> None:
        """Make a folder for its checkpoints, and remove those of agents that were killed."""
        start_early()
        _remove_leftovers()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))
        self._devices: list[str] = []  # the free ones
        self._running: dict[str, Task] = {}
        self._kept: dict[str, tuple[float, int]] = {}  # when sent, and the file's time then
        self._workers: LocalWorkers

    def settle(
        self,
        shipped: ShippedWorkload,
        plan: RunPlan,
        devices: Sequence[str],
        versions: tuple[tuple[str, str], ...],
    ) -> Settled:
        """Take a workload to train on these devices, one run on each."""
        here = library_versions()
        if here != versions:
            theirs, ours = (", ".join(map(" ".join, each)) for each in (here, versions))
            return Settled(
                refused=f"it has {theirs}, this machine has {ours}, and the numbers of two "
                f"versions don't mix"
            )
        self._devices = list(devices)
        try:
            self._workers = LocalWorkers(shipped.arrived(self._folder / "files"), plan)
            return Settled(warning=self._workers.get_ready(timeout_s=_BUILD_S))
        except (BatchlabError, OSError) as error:
            return Settled(refused=str(error))

    def start(self, task: Task, checkpoint: bytes | None) -> None:
        """Begin a run, or go on with it from a checkpoint."""
        trial_id = task.trial.trial_id
        path = self._folder / f"{trial_id}.safetensors"
        if checkpoint is not None:
            path.write_bytes(checkpoint)
        # Beginnings for other trainings would stay on this node, where nothing finds them.
        task = replace(task, checkpoint=path, device=self._devices.pop(0), beginnings=())
        self._kept[trial_id] = time.monotonic(), 0  # first, because `hear` looks at what runs
        self._running[trial_id] = task
        try:
            self._workers.start(task)
        except BaseException:  # perhaps there is no room for another process
            self._forget(trial_id)
            raise

    def hear(self, timeout_s: float) -> list[tuple[str, Kept] | Heard]:
        """Return the news of the runs as soon as there is some, or nothing after the limit."""
        until_s = time.monotonic() + timeout_s
        told: list[tuple[str, Kept] | Heard] = []
        while not told and time.monotonic() < until_s:
            for trial_id, message in self._workers.heard(timeout_s=_LOOK_EVERY_S):
                if isinstance(message, Ended):
                    told += self._checkpoint(trial_id, at_least_s=0.0)
                    self._forget(trial_id)
                told.append((trial_id, message))
            for trial_id in list(self._running):
                told += self._checkpoint(trial_id, at_least_s=_KEEP_EVERY_S)
        return told

    def ask_to_stop(self, trial_ids: Sequence[str]) -> None:
        """Have runs write their checkpoints and end."""
        self._workers.ask_to_stop(trial_ids)

    def kill(self, trial_ids: Sequence[str]) -> None:
        """End runs at once."""
        self._workers.kill(trial_ids)

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _checkpoint(self, trial_id: str, *, at_least_s: float) -> list[tuple[str, Kept]]:
        """Return the checkpoint of a run if it is new and the last was sent long enough ago."""
        path, (sent_s, time_ns) = self._running[trial_id].checkpoint, self._kept[trial_id]
        if time.monotonic() - sent_s < at_least_s:
            return []
        assert path is not None
        try:
            found_ns = path.stat().st_mtime_ns
            if found_ns == time_ns:
                return []
            content = path.read_bytes()
        except FileNotFoundError:  # none was written yet
            return []
        self._kept[trial_id] = time.monotonic(), found_ns
        return [(trial_id, Kept(content=content))]

    def _forget(self, trial_id: str) -> None:
        task = self._running.pop(trial_id)
        del self._kept[trial_id]
        assert task.checkpoint is not None
        task.checkpoint.unlink(missing_ok=True)
        self._devices.append(task.device)


def _remove_leftovers() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        with suppress(ValueError, OSError):
            pid = int(folder.name.removeprefix(_FOLDER).partition("-")[0])
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                shutil.rmtree(folder, ignore_errors=True)
