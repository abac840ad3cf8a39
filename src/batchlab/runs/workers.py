"""Workers: the interface to processes that train runs. LocalWorkers: those on this machine."""

from __future__ import annotations

import gc
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Protocol

import torch

from batchlab.machine import place_here, thread_choices
from batchlab.measure.at_steps import measured_at_steps
from batchlab.processes.children import Child, Ended, Line, run_in_child
from batchlab.processes.memory import PeakMemory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.measurement import AtSteps
from batchlab.records.run import Outcome
from batchlab.records.trial import Evaluation, Trial
from batchlab.runs.contract import RunPlan
from batchlab.training.native.program import NativeBuild
from batchlab.training.native.trainer import built_for
from batchlab.training.plain import Task, train
from batchlab.training.stepper import Stepper

# With fewer training examples than this, the native trainer saves less time than building it takes
# (1 to 2 s). The length of a run does not count, so that a resumed trial keeps its trainer.
_WORTH_A_BUILD = 5000
BUILD_S = 30.0
"""The longest time to build the native trainer, in seconds."""

NODE_LOST = "NodeLost"
"""The `Ended.error` of a run whose machine was lost."""

Heard = tuple[str, tuple[Evaluation, ...] | Ended]
"""A trial's id, and a message of its run: new evaluations, or (the last message) how it ended."""


class Workers(Protocol):
    """The interface to processes that train an engine's runs."""

    @property
    def n(self) -> int:
        """The number of runs that can train at a time."""

    def get_ready(self, *, timeout_s: float) -> Reason | None:
        """Prepare for runs; return why the native trainer could not be built, or None if it could.

        Raises:
            EditedError: files of the workload were edited.
        """

    def start(self, task: Task) -> None:
        """Start a run; `heard` then yields its messages, with the id of the task's trial."""

    def heard(self, *, timeout_s: float) -> Iterator[Heard]:
        """Yield messages of runs as soon as there are any, or nothing after `timeout_s` seconds."""

    def ask_to_stop(self) -> None:
        """Make all runs write their checkpoints and end."""

    def kill(self) -> None:
        """End all runs at once."""

    def close(self) -> None:
        """End all runs, and release their resources."""


class LocalWorkers:
    """`Workers` that train runs in child processes: one run per CPU core, or one run on a GPU.

    On a CPU, each run has a new process, which starts in 40 ms. On a GPU, a new process needs
    seconds to initialize CUDA, so a process trains one run after another until a run raises an
    error or is killed.

    Attributes:
        keeps_processes: whether a process trains further runs after its first.
    """

    def __init__(self, packed: PackedWorkload, plan: RunPlan) -> None:
        self._packed = packed
        self._plan = plan
        self._measures = measured_at_steps(plan.measures)
        self._build: NativeBuild | None = None
        self._is_ready = False
        self.keeps_processes = plan.trial.device != "cpu"
        # The children that train a run, each with the trial's id and its device.
        self._children: dict[Connection, tuple[str, str, Child]] = {}
        self._idle: defaultdict[str, list[Child]] = defaultdict(list)  # by device

    @property
    def n(self) -> int:
        """The number of runs that can train at a time: one per CPU core, or 1 on a GPU."""
        if self._plan.trial.device != "cpu":
            return 1
        return max(thread_choices("cpu"))

    def get_ready(self, *, timeout_s: float) -> Reason | None:
        """Build the native trainer if that saves time; return why building failed, or None."""
        trial = self._plan.trial
        may_build = self._plan.trainer != Stepper.name and trial.device == "cpu"
        if self._is_ready or not may_build or trial.n_train < _WORTH_A_BUILD:
            return None
        self._is_ready = True
        ended = run_in_child(_build_in_child, self._packed, trial, timeout_s=max(0.1, timeout_s))
        if isinstance(ended.value, NativeBuild):
            self._build = ended.value
            return None
        if isinstance(ended.value, Reason):
            return ended.value
        return Reason.of("trained_by_pytorch", why=ended.reason)

    def start(self, task: Task) -> None:
        """Start a run in an idle process of its device, or in a process that the server forks."""
        task = replace(task, build=self._build)
        child = self._idle_child(task.device)
        if child is None:
            child = Child(_train_in_child, self._packed, self._measures, self.keeps_processes)
        self._children[child.connection] = task.trial.trial_id, task.device, child
        child.send(task)

    def _idle_child(self, device: str) -> Child | None:
        idle = self._idle[device]
        while idle:
            child = idle.pop()
            if child.is_alive():
                return child
            child.end()
        return None

    def heard(self, *, timeout_s: float) -> Iterator[Heard]:
        """Yield the messages that the child processes send."""
        for connection in wait(list(self._children), timeout=timeout_s):
            assert isinstance(connection, Connection)
            trial_id, device, child = self._children[connection]
            message = child.receive()
            if isinstance(message, Outcome):
                self._idle[device].append(child)
                message = Ended(value=message)
            if isinstance(message, Ended):
                del self._children[connection]
            yield trial_id, message

    # `ask_to_stop` and `kill` iterate over copies of `_children`, because on a node of a cluster,
    # another thread may change `_children` at the same time.

    def ask_to_stop(self) -> None:
        """Send each child process that trains a run a request to stop."""
        for *_, child in list(self._children.values()):
            child.ask_to_stop()

    def kill(self) -> None:
        """Kill the child processes that train a run."""
        for *_, child in list(self._children.values()):
            child.kill()

    def close(self) -> None:
        """Kill the child processes that are left, and wait for their end."""
        children = [child for *_, child in self._children.values()]
        children += itertools.chain.from_iterable(self._idle.values())
        for child in children:
            child.end()
        self._children.clear()
        self._idle.clear()


def _build_in_child(line: Line, packed: PackedWorkload, trial: Trial) -> NativeBuild | Reason:
    torch.set_num_threads(1)
    return built_for(packed.unpack(), trial)


def _train_in_child(
    line: Line, packed: PackedWorkload, measures: AtSteps, keeps_process: bool
) -> Outcome:
    """Train the task that the parent sends, and return the outcome of its run.

    With `keeps_process`, send the outcome as a message, and train further tasks until the parent
    kills this process.
    """
    while True:
        task: Task = line.receive()
        torch.set_num_threads(task.threads)
        memory = PeakMemory(torch.device(task.device))
        outcome = train(
            packed.unpack_for(task.trial.seed),
            task,
            measures=measures,
            emit=line.say,
            stop=line.asked_to_stop,
        )
        outcome = replace(outcome, peak_bytes=memory.bytes(), place=place_here(task.device))
        if not keeps_process:
            return outcome
        # Free this run's model and data, so that the next run's peak does not include them.
        gc.collect()
        torch.cuda.empty_cache()
        line.say(outcome)
