"""SideBySide: trials in child processes, as many at a time as serve the machine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from multiprocessing.connection import Connection, wait
from typing import Protocol

import torch

from batchlab.processes.children import Child, Ended, Line
from batchlab.processes.memory import PeakMemory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.trial import Evaluation, Status, Trial
from batchlab.training.plain import Outcome, Task, train

# A child that was asked to stop has so long to write its checkpoint before it is ended: this, or
# where the time is short this part of it.
_GRACE_S = 5.0
_GRACE_FRACTION = 0.1
# How often to look at trials that another process holds, and at the clock.
_LOOK_EVERY_S = 0.25


class Answer(Enum):
    """What a watcher may answer instead of a task."""

    NOTHING_TO_DO = auto()
    HELD_BY_ANOTHER_PROCESS = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialEnd:
    """How a trial's process ended.

    Attributes:
        trial: which trial.
        status: its status; None: it was interrupted and can go on.
        reason: one line that says why it ended badly.
        traceback: an error's whole report.
        peak_bytes: peak memory of its process above the idle process.
    """

    trial: Trial
    status: Status | None
    reason: str | None = None
    traceback: str | None = None
    peak_bytes: int | None = None


class Watcher(Protocol):
    """Who keeps the recorder while trials run."""

    def begin(self, trial: Trial) -> Task | Answer:
        """What to run for `trial`, asked when there is room for it."""
        ...

    def evaluated(self, trial: Trial, evaluations: Sequence[Evaluation]) -> None:
        """New evaluations of `trial`."""
        ...

    def ended(self, end: TrialEnd) -> None:
        """The trial's process has ended."""
        ...


def run_side_by_side(
    packed: PackedWorkload,
    trials: Sequence[Trial],
    watcher: Watcher,
    *,
    n_workers: int,
    deadline_s: float | None,
) -> None:
    """Run trials in child processes, in the order given, `n_workers` at a time.

    Args:
        packed: the workload.
        trials: the longest first, so that the end is not spent waiting for one.
        watcher: told everything; asked for each trial's task when its turn comes.
        n_workers: children at a time, >= 1.
        deadline_s: `time.monotonic()` at which every child has ended, with its checkpoint written
            if it could; None: never.

    Raises:
        KeyboardInterrupt: after all children have written their checkpoints and ended.
    """
    _SideBySide(packed, trials, watcher, n_workers, deadline_s).run()


class _SideBySide:
    def __init__(
        self,
        packed: PackedWorkload,
        trials: Sequence[Trial],
        watcher: Watcher,
        n_workers: int,
        deadline_s: float | None,
    ) -> None:
        self._packed = packed
        self._waiting = deque(trials)
        self._watcher = watcher
        self._n_workers = n_workers
        self._grace_s = _GRACE_S
        self._stop_at_s: float | None = None
        if deadline_s is not None:
            left_s = max(0.0, deadline_s - time.monotonic())
            self._grace_s = min(_GRACE_S, _GRACE_FRACTION * left_s)
            self._stop_at_s = deadline_s - self._grace_s
        self._running: dict[Connection, tuple[Trial, Child]] = {}

    def run(self) -> None:
        try:
            while (self._waiting or self._running) and not self._out_of_time():
                all_held = self._start_waiting()
                if not self._running and all_held:
                    time.sleep(_LOOK_EVERY_S)
                self._listen(_LOOK_EVERY_S)
            self._stop(Status.TIMEOUT, "the budget ended")
        except BaseException:
            self._stop(None, None)
            raise
        finally:
            # Only a watcher that cannot keep the recorder any more (a full disk) leaves some here.
            for _, child in self._running.values():
                child.kill()

    def _out_of_time(self) -> bool:
        return self._stop_at_s is not None and time.monotonic() >= self._stop_at_s

    def _start_waiting(self) -> bool:
        """Fill the free places; True if every trial still waiting is held by another process."""
        held: list[Trial] = []
        while self._waiting and len(self._running) < self._n_workers:
            trial = self._waiting.popleft()
            task = self._watcher.begin(trial)
            if task is Answer.HELD_BY_ANOTHER_PROCESS:
                held.append(trial)
            elif isinstance(task, Task):
                child = Child(_train_in_child, self._packed, task)
                self._running[child.connection] = (trial, child)
        all_held = bool(held) and not self._waiting
        self._waiting.extend(held)
        return all_held

    def _listen(self, timeout_s: float) -> None:
        for connection in wait(list(self._running), timeout=timeout_s):
            assert isinstance(connection, Connection)
            trial, child = self._running[connection]
            message = child.receive()
            if isinstance(message, Ended):
                del self._running[connection]
                self._watcher.ended(_trial_end(trial, message))
            else:
                self._watcher.evaluated(trial, message)

    def _stop(self, status: Status | None, reason: str | None) -> None:
        """Ask every child to stop; those that don't in time are ended. All are reported."""
        for _, child in self._running.values():
            child.ask_to_stop()
        grace_until_s = time.monotonic() + self._grace_s
        while self._running:
            left_s = grace_until_s - time.monotonic()
            if left_s <= 0:
                for _, child in self._running.values():
                    child.kill()
                left_s = _GRACE_S
            for connection in wait(list(self._running), timeout=left_s):
                assert isinstance(connection, Connection)
                trial, child = self._running[connection]
                message = child.receive()
                if not isinstance(message, Ended):
                    self._watcher.evaluated(trial, message)
                    continue
                del self._running[connection]
                end = _trial_end(trial, message)
                if end.status is None or end.status is Status.KILLED:
                    end = replace(end, status=status, reason=reason)
                self._watcher.ended(end)


def _trial_end(trial: Trial, ended: Ended) -> TrialEnd:
    if ended.status is None:
        outcome, peak_bytes = ended.value
        return TrialEnd(
            trial=trial, status=outcome.status, reason=outcome.reason, peak_bytes=peak_bytes
        )
    return TrialEnd(
        trial=trial, status=ended.status, reason=ended.reason, traceback=ended.traceback
    )


def _train_in_child(line: Line, packed: PackedWorkload, task: Task) -> tuple[Outcome, int | None]:
    """What a trial's child process does."""
    torch.set_num_threads(task.threads)
    memory = PeakMemory(torch.device(task.device))
    outcome = train(packed.unpack(), task, emit=line.say, stop=line.asked_to_stop)
    return outcome, memory.bytes()
