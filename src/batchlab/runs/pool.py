"""ProcessPool: training runs in child processes, as many at a time as serve this machine."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from multiprocessing.connection import Connection, wait
from typing import Protocol

import torch

from batchlab.errors import EditedError, StoreError
from batchlab.measure.at_steps import measured_at_steps
from batchlab.processes.children import Child, Ended, Line, refuse_edited
from batchlab.processes.memory import PeakMemory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.measurement import AtSteps
from batchlab.records.run import OUT_OF_TIME, RunRequest
from batchlab.records.trial import Evaluation, Status, Trial
from batchlab.training.plain import Outcome, Task, train
from batchlab.words.reasons import reason_text

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


class Watcher(Protocol):
    """Who keeps the records while runs are under way."""

    def begin(self, request: RunRequest) -> Task | Answer:
        """What to run for `request`, asked when there is room for it."""
        ...

    def evaluated(self, request: RunRequest, evaluations: Sequence[Evaluation]) -> None:
        """New evaluations of the run."""
        ...

    def ended(self, request: RunRequest, outcome: Outcome) -> None:
        """The run's process has ended."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    request: RunRequest
    expected_s: float


class ProcessPool:
    """Training runs in child processes, `n_workers` at a time, each in a process of its own.

    Of the runs that wait, the longest begins first, so that the end is not spent waiting for one.
    Children are started and heard within `next_ended` only.
    """

    def __init__(
        self,
        packed: PackedWorkload,
        watcher: Watcher,
        *,
        n_workers: int,
        measures: Collection[str] = (),
    ) -> None:
        """Nothing runs yet.

        Args:
            packed: the workload.
            watcher: told everything; asked for each run's task when its turn comes.
            n_workers: children at a time, >= 1.
            measures: what to measure beside what is always measured, by name.
        """
        self._packed = packed
        self._measures = measured_at_steps(measures)
        self._watcher = watcher
        self._n_workers = n_workers
        self._grace_s = _GRACE_S
        self._stop_at_s: float | None = None
        self._waiting: list[_Waiting] = []
        self._running: dict[Connection, tuple[RunRequest, Child]] = {}
        self._ended: deque[RunRequest] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether everything submitted has come back."""
        return not (self._waiting or self._running or self._ended)

    def end_within(self, left_s: float | None) -> None:
        """From now on, so many seconds are left in which every child must end.

        Args:
            left_s: until then, with checkpoints written if they could be; None: no end.
        """
        self._stop_at_s = None
        if left_s is not None:
            left_s = max(0.0, left_s)
            self._grace_s = min(_GRACE_S, _GRACE_FRACTION * left_s)
            self._stop_at_s = time.monotonic() + left_s - self._grace_s

    def submit(self, request: RunRequest, *, expected_s: float) -> None:
        """Put a run among those that wait.

        Args:
            request: the run.
            expected_s: seconds that it is expected to take.
        """
        self._waiting.append(_Waiting(request=request, expected_s=expected_s))
        self._waiting.sort(key=lambda waiting: -waiting.expected_s)

    def next_ended(self) -> RunRequest:
        """Run what was submitted until the next of it has ended, or the time has.

        Raises:
            KeyboardInterrupt: after all children have written their checkpoints and ended.
            StoreError: a run's checkpoint could not be written or read; the run stays open.
            EditedError: files of the workload were edited; the run stays open.
        """
        try:
            while not self._ended:
                if self._out_of_time():
                    self._stop(Status.TIMEOUT, OUT_OF_TIME)
                    break
                all_held = self._start_waiting()
                if self._ended:
                    break
                if not self._running and all_held:
                    time.sleep(_LOOK_EVERY_S)
                self._listen(_LOOK_EVERY_S)
        except BaseException:
            self.cancel()
            raise
        return self._ended.popleft()

    def cancel(self) -> None:
        """Have every child write its checkpoint and end; what was submitted does not come back."""
        try:
            self._stop(None, None)
        finally:
            # Only a watcher that cannot keep the records any more (a full disk) leaves some here.
            # They are forgotten too: a second call finds nothing to tell the watcher about.
            for _, child in self._running.values():
                child.kill()
                child.wait()
            self._running.clear()
            self._waiting.clear()
            self._ended.clear()

    def _out_of_time(self) -> bool:
        return self._stop_at_s is not None and time.monotonic() >= self._stop_at_s

    def _start_waiting(self) -> bool:
        """Fill the free places; True if every run still waiting is held by another process."""
        held: list[_Waiting] = []
        while self._waiting and len(self._running) < self._n_workers:
            waiting = self._waiting.pop(0)
            task = self._watcher.begin(waiting.request)
            if task is Answer.HELD_BY_ANOTHER_PROCESS:
                held.append(waiting)
            elif isinstance(task, Task):
                child = Child(_train_in_child, self._packed, self._measures, task)
                self._running[child.connection] = (waiting.request, child)
            else:
                self._ended.append(waiting.request)
        all_held = bool(held) and not self._waiting
        self._waiting.extend(held)
        return all_held

    def _listen(self, timeout_s: float) -> None:
        for connection in wait(list(self._running), timeout=timeout_s):
            assert isinstance(connection, Connection)
            request, child = self._running[connection]
            message = child.receive()
            if isinstance(message, Ended):
                self._end(connection, _outcome(message))
                if _cannot_be_kept(message):
                    # It says nothing of the configuration, and the next runs would fare no better.
                    raise StoreError(reason_text(message.reason))
                refuse_edited(message)
            else:
                self._watcher.evaluated(request, message)

    def _end(self, connection: Connection, outcome: Outcome) -> None:
        request, _ = self._running.pop(connection)
        self._watcher.ended(request, outcome)
        self._ended.append(request)

    def _stop(self, status: Status | None, reason: Reason | None) -> None:
        """Ask every child to stop; those that don't in time are ended. Nothing waits after it."""
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
                request, child = self._running[connection]
                message = child.receive()
                if not isinstance(message, Ended):
                    self._watcher.evaluated(request, message)
                    continue
                outcome = _outcome(message)
                if outcome.status is None or outcome.status is Status.KILLED:
                    outcome = replace(outcome, status=status, reason=reason)
                self._end(connection, outcome)
        self._ended.extend(waiting.request for waiting in self._waiting)
        self._waiting.clear()


def _cannot_be_kept(ended: Ended) -> bool:
    """Whether its checkpoint could not be written or read."""
    return ended.error == StoreError.__name__


def _outcome(ended: Ended) -> Outcome:
    if _cannot_be_kept(ended) or ended.error == EditedError.__name__:
        return Outcome(status=None)  # it can go on from the checkpoint before
    if ended.status is None:
        assert isinstance(ended.value, Outcome)
        return ended.value
    return Outcome(status=ended.status, reason=ended.reason, traceback=ended.traceback)


def _train_in_child(line: Line, packed: PackedWorkload, measures: AtSteps, task: Task) -> Outcome:
    """What a run's child process does."""
    torch.set_num_threads(task.threads)
    memory = PeakMemory(torch.device(task.device))
    outcome = train(
        packed.unpack(),
        task,
        measures=measures,
        emit=line.say,
        stop=line.asked_to_stop,
    )
    return replace(outcome, peak_bytes=memory.bytes())


_ENOUGH = 2
_ABOUT_NUMBERS = re.compile(
    r"\b(nan|not a number|inf|infinite|infinity|(non-?)?finite|diverg\w*|overflow\w*|explod\w*)\b",
    re.IGNORECASE,
)


class RepeatedErrors:
    """The errors that trials ended with, by batch size."""

    def __init__(self) -> None:
        """None was seen yet."""
        self._seen: dict[tuple[int, int, Reason, int], set[str]] = {}
        self._known: dict[tuple[int, int], Reason] = {}

    def note(self, trial: Trial, status: Status | None, reason: Reason | None, step: int) -> bool:
        """Keep how a trial ended.

        Args:
            trial: that ended.
            status: how.
            reason: why.
            step: its last evaluation's, which tells one place in the training from another.

        Returns:
            Whether it is known from now on that its batch size fails.
        """
        if status is not Status.ERROR or reason is None:
            return False
        if _ABOUT_NUMBERS.search(reason_text(reason)):
            return False
        trials = self._seen.setdefault((*_size(trial), reason, step), set())
        trials.add(trial.trial_id)
        is_new = len(trials) >= _ENOUGH and _size(trial) not in self._known
        if is_new:
            self._known[_size(trial)] = reason
        return is_new

    def why_not(self, trial: Trial) -> Reason | None:
        """Why the trial would fail as others of its batch size did; None: it may not."""
        why = self._known.get(_size(trial))
        return why and Reason.of("failed_alike_before", size=trial.batch_size, why=why)


def _size(trial: Trial) -> tuple[int, int]:
    return trial.batch_size, trial.micro_batch_size
