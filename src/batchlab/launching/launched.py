"""Launched: one training command as processes, from its start until none of them is left.

An engine starts some side by side, waits on all of them with whatever else it waits for, and ends
those that cannot win:

    def on_output(piece: bytes, at_s: float) -> None: ...  # a monotonic clock, in seconds

    started = [
        Launched(
            ["python", "train.py", "--batch-size", str(size)],
            cwd=Path.cwd(),
            environment=os.environ,
            folder=trials / str(size),
            marker=f"{study}/{size}",  # unique; `end_leftovers(study)` when the study goes on
            on_output=on_output,
        )
        for size in (32, 64)
    ]
    running = {launched.connection: launched for launched in started}
    while running:
        for connection in multiprocessing.connection.wait(running):
            launched = running[connection]
            ended = launched.receive()  # never blocks; calls on_output; None while it goes on
            if ended is not None:
                del running[connection]
            elif cannot_win(launched):
                launched.end()  # never blocks; its end comes by `receive` as any other

A `Launched` that is dropped or closed ends its processes, and so does a batchlab that is killed.
Between the two stands a `supervisor`. It reads all the time, so that a training never waits for a
batchlab that is busy, unless 16 MiB lie unread. Pieces of output are bytes as they came, not lines.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType

from batchlab.launching import supervisor
from batchlab.launching.command_end import (
    CommandEnd,
    signal_name,
    status_and_reason,
    why_not_started,
)
from batchlab.launching.kept_output import KeptOutput
from batchlab.launching.launcher_words import without_launcher_words
from batchlab.launching.memory_watch import MemoryWatch
from batchlab.launching.process_tree import end_marked, marks
from batchlab.records.reason import Reason
from batchlab.records.trial import Status

GRACE_S = 10.0
"""From SIGTERM to SIGKILL."""
_READ_BYTES = 1 << 20
_N_LAST_LINES = 20
# Many processes under one launcher have much to say after the error of one.
_N_READ_LINES = 1000


class Launched:
    """A command that runs; `receive` gives what it says and how it ended."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        folder: Path,
        marker: str,
        on_output: Callable[[bytes, float], None],
        grace_s: float = GRACE_S,
    ) -> None:
        """Start it. That it cannot be started comes by `receive` too, as its end.

        Args:
            argv: the command and its arguments; no shell sees them.
            cwd: its working directory.
            environment: all of its environment, but for batchlab's own marks and
                `PYTHONUNBUFFERED=1`.
            folder: its own folder, made if missing; `output.gz` is written there.
            marker: names it among all trials: the study, a slash, the trial.
            on_output: called by `receive` with each piece of what it wrote to stdout and stderr,
                and when it came: seconds on the monotonic clock, late by 50 ms at most.
            grace_s: from SIGTERM to SIGKILL, in seconds.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.marker = marker
        self._argv, self._cwd, self._on_output = tuple(argv), cwd, on_output
        self._kept = KeptOutput(folder / "output.gz")
        self._said = bytearray()
        self._not_started: Reason | None = None
        self._pid: int | None = None
        self._started_s = time.monotonic()
        self._was_asked = False
        self._ended: CommandEnd | None = None
        control, words = os.pipe()
        report, reporting = os.pipe()
        # Connections rather than numbers: dropped, they close, and the supervisor sees that.
        self._control = Connection(words, readable=False)
        self._connection = Connection(report, writable=False)
        try:
            self._supervisor = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-E", supervisor.__file__),
                    *map(str, (control, reporting, os.getpid(), grace_s, cwd)),
                    *argv,
                ],
                env={**environment, **marks(marker), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(control, reporting),
                start_new_session=True,  # Ctrl-C is for batchlab, which decides
            )
        finally:
            os.close(control)
            os.close(reporting)
        os.set_blocking(report, False)
        self._memory = MemoryWatch(self._supervisor.pid)

    @property
    def connection(self) -> Connection:
        """What `multiprocessing.connection.wait` waits for, until it has ended."""
        return self._connection

    @property
    def pid(self) -> int | None:
        """The command's process, once it has been heard of."""
        return self._pid

    def receive(self) -> CommandEnd | None:
        """Take in what there is; how the command ended, or None while it goes on."""
        if self._ended is not None:
            return self._ended
        try:
            piece = os.read(self._connection.fileno(), _READ_BYTES)
        except BlockingIOError:
            return None
        if not piece:
            return self._finish(self._lost())
        self._said += piece
        while self._ended is None and (frame := self._next_frame()):
            self._take(*frame)
        return self._ended

    def end(self) -> None:
        """Ask for its end: SIGTERM to all its processes, after the grace SIGKILL."""
        self._tell(supervisor.END)

    def kill(self) -> None:
        """Ask for its end at once, by SIGKILL."""
        self._tell(supervisor.KILL)

    def wait(self, timeout_s: float | None = None) -> CommandEnd | None:
        """Receive until the end, or for so many seconds; None: it still goes on."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while (ended := self.receive()) is None:
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return None
            wait([self._connection], left_s)
        return ended

    def close(self) -> None:
        """Kill it if it still runs, and wait until nothing of it is left."""
        self.kill()
        self.wait()

    def __enter__(self) -> Launched:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _tell(self, word: bytes) -> None:
        if self._ended is not None:
            return
        try:
            os.write(self._control.fileno(), word)
        except BrokenPipeError:
            pass  # it has just ended: `receive` tells how

    def _next_frame(self) -> tuple[bytes, float, bytes] | None:
        head = supervisor.FRAME.size
        if len(self._said) < head:
            return None
        kind, at_s, n_bytes = supervisor.FRAME.unpack_from(self._said)
        if len(self._said) < head + n_bytes:
            return None
        payload = bytes(self._said[head : head + n_bytes])
        del self._said[: head + n_bytes]
        return kind, at_s, payload

    def _take(self, kind: bytes, at_s: float, payload: bytes) -> None:
        match kind:
            case b"o":
                self._kept.write(payload)
                self._on_output(payload, at_s)
            case b"s":
                self._pid, self._started_s = int(payload), at_s
            case b"f":
                error, where = supervisor.NOT_STARTED.unpack(payload)
                self._not_started = why_not_started(
                    self._argv, self._cwd, error=error, in_folder=where == b"d"
                )
            case b"e":
                self._finish(self._as_reported(*supervisor.ENDED.unpack(payload)))

    def _as_reported(
        self,
        wait_status: int,
        n_left_behind: int,
        was_asked: int,
        n_kills: int,
        ended_s: float,
        cpu_s: float,
        largest_bytes: int,
    ) -> CommandEnd:
        own, launchers = without_launcher_words(self._kept.last_lines(_N_READ_LINES))
        last_lines = own[-_N_LAST_LINES:]
        peak = self._memory.stop(0 if self._not_started else largest_bytes)
        reason: Reason | None
        name, code = signal_name(wait_status), None
        if self._not_started is not None:
            status, reason = Status.ERROR, self._not_started
        else:
            code = os.waitstatus_to_exitcode(wait_status) if name is None else None
            status, reason = status_and_reason(
                self._argv,
                wait_status=wait_status,
                was_asked=bool(was_asked),
                kernel_killed=n_kills > 0,
                is_device_full=peak is not None and peak.is_gpu_full,
                last_lines=last_lines,
                launcher_lines=launchers,
            )
        return CommandEnd(
            status=status,
            reason=reason,
            exit_code=code,
            signal=name,
            was_asked=bool(was_asked),
            last_lines=last_lines,
            started_s=self._started_s,
            ended_s=ended_s,
            cpu_s=cpu_s,
            peak=peak,
            n_left_behind=n_left_behind,
            output=self._kept.path,
        )

    def _lost(self) -> CommandEnd:
        """The supervisor was killed; the kernel takes the command with it, this the rest."""
        self._supervisor.kill()
        self._supervisor.wait()
        end_marked(self.marker)
        return CommandEnd(
            status=Status.KILLED,
            reason=Reason.of("supervisor_killed"),
            exit_code=None,
            signal=None,
            was_asked=False,
            last_lines=self._kept.last_lines(_N_LAST_LINES),
            started_s=self._started_s,
            ended_s=time.monotonic(),
            cpu_s=0.0,
            peak=self._memory.stop(),
            n_left_behind=0,
            output=self._kept.path,
        )

    def _finish(self, ended: CommandEnd) -> CommandEnd:
        self._ended = ended
        self._kept.close()
        self._control.close()
        self._connection.close()
        self._supervisor.wait()
        return ended
