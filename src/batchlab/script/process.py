"""Launched: a training command, from its start until all of its processes have ended."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.script import supervisor
from batchlab.script.memory import MemoryWatch
from batchlab.script.output import free_read_output, last_lines, pack_output

MARK = "BATCHLAB_TRIAL"
"""The environment variable that marks the processes of a trial, as `study/trial`."""

_LOOK_AGAIN_S = 0.02  # seconds between two searches for remaining processes


def end_marked(marker: str) -> None:
    """Kill all processes whose environment has this marker of a trial, such as `study/trial`.

    Only the process that has claimed the trial may call this.
    """
    while processes := list(_marked(marker)):
        for process in processes:
            with suppress(psutil.Error):  # the process has ended meanwhile
                process.kill()
        time.sleep(_LOOK_AGAIN_S)


def _marked(marker: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # the process has ended, or is another user's
            is_of_trial = process.pid != os.getpid() and process.environ().get(MARK) == marker
            if is_of_trial and process.status() != psutil.STATUS_ZOMBIE:
                yield process


_TRACEBACK = "Traceback (most recent call last):"
# A traceback with one of these stack frames was printed by a launcher, not by a training script.
_LAUNCHER_FRAME = re.compile(r'File ".*\b(torch/distributed/run|accelerate/commands/launch)\.py"')


def without_launcher_words(lines: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split output into the lines of a training and the final traceback of a launcher, if any."""
    begin = max((i for i, line in enumerate(lines) if line == _TRACEBACK), default=len(lines))
    if begin and any(map(_LAUNCHER_FRAME.search, lines[begin:])):
        return tuple(lines[:begin]), tuple(lines[begin:])
    return tuple(lines), ()


# This matches the last line of a Python traceback.
_ERROR = re.compile(r"(?:\[rank\d+\]: )?(?:\w+\.)*\w*(?:Error|Exception)\b(?::|$)")
# Patterns of the last lines of a command that failed because memory ran out.
OUT_OF_MEMORY = (
    r"torch(\.cuda)?\.OutOfMemoryError",
    r"(CUDA|HIP|MPS backend|XPU) out of memory",  # Older PyTorch, or ROCm, Apple or Intel GPUs.
    r"DefaultCPUAllocator: (can't|not enough memory|cannot) ",  # Printed by PyTorch on a CPU.
    r"CUDA(_| )?(runtime )?error[^\n]*out of memory",
    r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation",
    r"(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED",
    r"(XlaRuntimeError|JaxRuntimeError): RESOURCE_EXHAUSTED",  # Printed by JAX.
    r"RESOURCE_EXHAUSTED: .*([Oo]ut of memory|OOM|allocat)",  # Printed by JAX and TensorFlow.
    r"ResourceExhaustedError|OOM when allocating tensor",  # Printed by TensorFlow.
    r"^(\[rank\d+\]: )?(\w+\.)*(_Array)?MemoryError\b",  # Printed by Python.
    r"_ArrayMemoryError|numpy.*Unable to allocate .* for an array",
    r"std::bad_alloc",  # Printed by C++.
    r"memory allocation of \d+ bytes failed",  # Printed by Rust.
    r"cannot allocate vector of size",  # Printed by R.
    r"java\.lang\.OutOfMemoryError",
    r"(Errno 12|ENOMEM)\b|^[^\n]*: Cannot allocate memory",  # printed by the C library
)
# With these lines, PyTorch workers, torchrun, Python pools and shells report a killed process.
# Memory ran out only if the kernel killed a process to free memory meanwhile.
KILLED_FOR_MEMORY = (
    r"DataLoader worker .* killed by signal: Killed",
    r"Signal 9 \(SIGKILL\)|exitcode\s*:\s*-9\b",
    r"BrokenProcessPool|TerminatedWorkerError",
    r"^(.*: )?(line \d+: +\d+ )?Killed\b",
)


def out_of_memory_line(last_lines: Sequence[str], *, kernel_killed: bool) -> str | None:
    """Return the last line by which a failed command says that memory ran out, or None."""
    patterns = [*OUT_OF_MEMORY]
    if kernel_killed:
        patterns += KILLED_FOR_MEMORY
    believed = re.compile("|".join(map("(?:{})".format, patterns)))
    for line in reversed(last_lines):
        if believed.search(line):
            return line.strip()
    return None


# Errors of a command that needs input or a terminal. Batchlab provides neither.
_NEEDS_TERMINAL = re.compile(
    r"EOFError: EOF when reading a line|GetPassWarning|"
    r"Inappropriate ioctl for device|No such device or address: '?/dev/tty|"
    r"not a (tty|TTY|terminal)|[Tt]erminal is required|_curses\.error"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandEnd:
    """How a command ended, known once all of its processes have ended.

    The status is OK only if the command ended by itself with exit code 0; otherwise the duration
    means nothing. If batchlab requested the end, the status is KILLED; callers may replace it.
    """

    status: Status
    reason: Reason | None  # Why the status is not OK; None if it is OK.
    last_lines: tuple[str, ...]  # The last lines of the output, without control characters.
    duration_s: float  # Seconds from the start of the command to the end of its first process.
    peak_bytes: int | None  # Peak main memory of the command's processes, with mapped files.
    gpu_peak_bytes: int | None  # Peak on the most used GPU; None without a GPU or if unknown.
    was_asked: bool = False  # Whether batchlab requested the end of the command.


def status_and_reason(
    argv: Sequence[str],
    *,
    exit_code: int,
    was_asked: bool,
    kernel_killed: bool,
    last_lines: Sequence[str],
    launcher_lines: Sequence[str] = (),
) -> tuple[Status, Reason | None]:
    """Return the status of an ended command and, unless it is OK, the reason for the user."""
    if was_asked:
        return Status.KILLED, Reason.of("ended_on_request")
    if exit_code == 0:
        return Status.OK, None
    line = out_of_memory_line((*last_lines, *launcher_lines), kernel_killed=kernel_killed)
    if line is not None:
        return Status.OOM, Reason.of("memory_ran_out", error=line)
    # If a signal ends a training that a shell runs, the shell's exit code is 128 + the signal.
    number = -exit_code if exit_code < 0 else exit_code - 128
    if number == signal.SIGKILL and kernel_killed:
        return Status.OOM, Reason.of("memory_ran_out", error="the kernel ended the process")
    with suppress(ValueError):  # `number` is not the number of a signal
        return Status.KILLED, Reason.of("process_died", how=signal.Signals(number).name)
    # Loggers and progress bars may print below the error, so prefer the last line with an error.
    errors = list(filter(_ERROR.match, last_lines))
    last_line = (errors or last_lines or ["it printed nothing"])[-1]
    if line := next(filter(_NEEDS_TERMINAL.search, last_lines), None):
        return Status.ERROR, Reason.of("needs_terminal", line=line, last_line=last_line)
    return Status.ERROR, Reason.of(
        "command_failed", command=shlex.join(argv[:2]), exit_code=exit_code, last_line=last_line
    )


READ_EVERY_S = 0.01
"""Seconds between two reads of a command's output. The time of a line may be this much too late."""
_READ_BYTES = 1 << 16  # Read at most this many bytes of output at once.
_FREE_BYTES = 1 << 24  # Free the disk space of read output each time this many bytes were read.
# Kill a command if its output takes more bytes of the disk than this. batchlab frees the disk space
# of output that it has read, so this happens only if the command prints faster than batchlab reads,
# or if the file system cannot free a part of a file.
_MOST_BYTES = 1 << 30
_N_LAST_LINES = 20  # A `CommandEnd` has this many lines of output.
# Search this many last lines for an error: a launcher may print many lines below the error.
_N_READ_LINES = 1000


class Launched:
    """A running command, its output, and how it ended."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        folder: Path,
        marker: str,
        grace_s: float,
    ) -> None:
        """Start the command without a shell; if that fails, `receive` returns the failure.

        Only `BATCHLAB_TRIAL` and `PYTHONUNBUFFERED=1` are added to `environment`. The `folder` is
        created if missing. The command's output goes to the file `output.txt` in this folder, which
        becomes `output.gz` at the end. The `marker`, `study/trial`, identifies the processes of the
        trial. When the command is ended, SIGKILL follows SIGTERM after `grace_s` seconds.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.marker = marker
        self._argv = tuple(argv)
        self._output = (folder / "output.txt").open("a+b", buffering=0)
        self._output.truncate(0)
        self._n_read_bytes = 0
        self._is_flood = False
        self._started_s = time.monotonic()
        self._ended: CommandEnd | None = None
        self._supervisor = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", "-E", supervisor.__file__),
                *map(str, (os.getpid(), grace_s, cwd)),
                *argv,
            ],
            bufsize=0,
            env={**environment, MARK: marker, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            start_new_session=True,  # so that Ctrl-C reaches only batchlab
        )
        # Python keeps the Popen object of a running process, with its pipes. So take the stdin pipe
        # out of that object: the pipe must close when this `Launched` is dropped, because the
        # supervisor then ends the command.
        self._control, self._supervisor.stdin = self._supervisor.stdin, None
        self._memory = MemoryWatch(self._supervisor.pid)

    def receive(self) -> CommandEnd | None:
        """Return how the command ended, or None while it runs."""
        if self._ended is not None:
            return self._ended
        if self._supervisor.poll() is None:
            if os.fstat(self._output.fileno()).st_blocks * 512 > _MOST_BYTES:
                self._is_flood = True
                self._tell(supervisor.KILL)
        elif self._supervisor.returncode == 0:
            assert self._supervisor.stdout is not None
            report = self._supervisor.stdout.read(supervisor.ENDED.size)
            self._ended = self._end_of(*supervisor.ENDED.unpack(report))
        else:
            self._ended = self._lost()
        return self._ended

    def read_output(self) -> bytes:
        """Return at most `_READ_BYTES` bytes of new output, or no bytes if there is none."""
        file = self._output.fileno()
        if os.fstat(file).st_size < self._n_read_bytes:
            # The command has emptied the file, as `echo > /dev/stdout` does: read from its start.
            self._n_read_bytes = 0
        piece = os.pread(file, _READ_BYTES, self._n_read_bytes)
        self._n_read_bytes += len(piece)
        if self._n_read_bytes % _FREE_BYTES < len(piece):
            free_read_output(self._output, self._n_read_bytes)
        return piece

    def end(self) -> None:
        """Request SIGTERM for all processes of the command, then SIGKILL after the grace period."""
        self._tell(supervisor.END)

    def wait(self, timeout_s: float | None = None) -> CommandEnd | None:
        """Wait until the command ends; return None if it still runs after `timeout_s` seconds."""
        began_s = time.monotonic()
        while (ended := self.receive()) is None:
            if timeout_s is not None and time.monotonic() >= began_s + timeout_s:
                return None
            time.sleep(READ_EVERY_S)
        return ended

    def close(self) -> None:
        """Kill the command if it still runs, and wait until none of its processes is left."""
        self._tell(supervisor.KILL)
        self.wait()
        if not self._output.closed:
            pack_output(self._output)
        for pipe in (self._output, self._control, self._supervisor.stdout):
            assert pipe is not None
            pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, word: bytes) -> None:
        if self._ended is None:
            with suppress(BrokenPipeError):  # the command has just ended, as `receive` reports
                assert self._control is not None
                self._control.write(word)

    def _end_of(
        self, wait_status: int, was_asked: int, n_kills: int, ended_s: float, largest_bytes: int
    ) -> CommandEnd:
        lines, launcher_lines = without_launcher_words(last_lines(self._output, _N_READ_LINES))
        lines = lines[-_N_LAST_LINES:]
        peak_bytes = self._memory.stop(largest_bytes)
        status, reason = status_and_reason(
            self._argv,
            exit_code=os.waitstatus_to_exitcode(wait_status),
            was_asked=bool(was_asked),
            kernel_killed=n_kills > 0,
            last_lines=lines,
            launcher_lines=launcher_lines,
        )
        if self._is_flood:
            status, reason = Status.ERROR, Reason.of("too_much_output", mb=_MOST_BYTES >> 20)
        return CommandEnd(
            status=status,
            reason=reason,
            last_lines=lines,
            duration_s=ended_s - self._started_s,
            peak_bytes=peak_bytes,
            gpu_peak_bytes=self._memory.gpu_peak_bytes,
            was_asked=bool(was_asked) and not self._is_flood,
        )

    def _lost(self) -> CommandEnd:
        """End the remaining processes of a command whose supervisor was killed."""
        end_marked(self.marker)
        return CommandEnd(
            status=Status.KILLED,
            reason=Reason.of("supervisor_killed"),
            last_lines=last_lines(self._output, _N_LAST_LINES),
            duration_s=time.monotonic() - self._started_s,
            peak_bytes=self._memory.stop(),
            gpu_peak_bytes=self._memory.gpu_peak_bytes,
        )


# With these variables, the library rich draws its progress bars even into a pipe, each in one line.
WIDE = {"TTY_COMPATIBLE": "1", "COLUMNS": "300"}
"""Environment variables of a training whose output is read, unless the user has set them."""
