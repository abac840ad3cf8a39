"""One training command as processes, from its start until none is left, and how it ended."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Self

import psutil

from batchlab.records.estimate import Reason
from batchlab.records.trial import Status
from batchlab.script import supervisor
from batchlab.script.memory import MemoryWatch
from batchlab.script.output import KeptOutput

MARK = "BATCHLAB_TRIAL"
"""Names the trial that a process belongs to: the study, a slash, the trial."""

_LOOK_AGAIN_S = 0.02


def end_marked(marker: str) -> None:
    """Kill all processes of one trial, whoever started them; `marker` is `study/trial`.

    Only the holder of the claim on a trial may do so.
    """
    while processes := list(_marked(marker)):
        for process in processes:
            with suppress(psutil.Error):  # it has ended meanwhile
                process.kill()
        time.sleep(_LOOK_AGAIN_S)


def _marked(marker: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has just ended, or is somebody else's
            is_of_trial = process.pid != os.getpid() and process.environ().get(MARK) == marker
            if is_of_trial and process.status() != psutil.STATUS_ZOMBIE:
                yield process


_TRACEBACK = "Traceback (most recent call last):"
# These frames distinguish the traceback of a launcher from that of a script.
_LAUNCHER_FRAME = re.compile(r'File ".*\b(torch/distributed/run|accelerate/commands/launch)\.py"')


def without_launcher_words(lines: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Separate the lines of a training from the traceback with which its launcher ends, if any."""
    begin = max((i for i, line in enumerate(lines) if line == _TRACEBACK), default=len(lines))
    if begin and any(map(_LAUNCHER_FRAME.search, lines[begin:])):
        return tuple(lines[:begin]), tuple(lines[begin:])
    return tuple(lines), ()


# The line with which Python ends a traceback.
_ERROR = re.compile(r"(?:\[rank\d+\]: )?(?:\w+\.)*\w*(?:Error|Exception)\b(?::|$)")
# A failed command prints one of these in its last lines if memory ran out.
OUT_OF_MEMORY = (
    r"torch(\.cuda)?\.OutOfMemoryError",
    r"(CUDA|HIP|MPS backend|XPU) out of memory",  # older PyTorch; ROCm, Apple, Intel
    r"DefaultCPUAllocator: (can't|not enough memory|cannot) ",  # PyTorch on a CPU
    r"CUDA(_| )?(runtime )?error[^\n]*out of memory",
    r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation",
    r"(XlaRuntimeError|JaxRuntimeError): RESOURCE_EXHAUSTED",  # JAX
    r"RESOURCE_EXHAUSTED: .*([Oo]ut of memory|OOM|allocat)",  # JAX and TensorFlow
    r"ResourceExhaustedError|OOM when allocating tensor",  # TensorFlow
    r"^(\[rank\d+\]: )?(\w+\.)*(_Array)?MemoryError\b",  # Python
    r"_ArrayMemoryError|numpy.*Unable to allocate .* for an array",
    r"std::bad_alloc",  # C++
    r"memory allocation of \d+ bytes failed",  # Rust
    r"cannot allocate vector of size",  # R
    r"java\.lang\.OutOfMemoryError",
    r"(Errno 12|ENOMEM)\b|^[^\n]*: Cannot allocate memory",  # the C library
)
# Other failures print these too. They count only if the kernel killed a process for memory
# meanwhile (workers of PyTorch, torchrun, pools of Python, shells).
KILLED_FOR_MEMORY = (
    r"DataLoader worker .* killed by signal: Killed",
    r"Signal 9 \(SIGKILL\)|exitcode\s*:\s*-9\b",
    r"BrokenProcessPool|TerminatedWorkerError",
    r"^(.*: )?(line \d+: +\d+ )?Killed\b",
)
# These count only if the memory of a device was nearly full.
ON_FULL_DEVICE = (
    r"CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)",
    r"CUDNN_STATUS_(ALLOC_FAILED|INTERNAL_ERROR)",
    r"ncclUnhandledCudaError",
)


def out_of_memory_line(
    last_lines: Sequence[str], *, kernel_killed: bool, is_device_full: bool
) -> str | None:
    """Return the last line by which a failed command says that memory ran out, or None."""
    patterns = [*OUT_OF_MEMORY]
    if kernel_killed:
        patterns += KILLED_FOR_MEMORY
    if is_device_full:
        patterns += ON_FULL_DEVICE
    believed = re.compile("|".join(map("(?:{})".format, patterns)))
    for line in reversed(last_lines):
        if believed.search(line):
            return line.strip()
    return None


# A command that wants input or a terminal prints one of these, because it has neither.
_NEEDS_TERMINAL = re.compile(
    r"EOFError: EOF when reading a line|GetPassWarning|"
    r"Inappropriate ioctl for device|No such device or address: '?/dev/tty|"
    r"not a (tty|TTY|terminal)|[Tt]erminal is required|_curses\.error"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandEnd:
    """How a command ended, after the last of its processes is gone.

    It is ok only for exit code 0 of a command that nobody ended; the time of any other run means
    nothing. Whoever asked for the end knows why, and has a better status.
    """

    status: Status
    reason: Reason | None  # why it is not ok; None if it is
    last_lines: tuple[str, ...]  # the last lines of its output, cleaned for display
    duration_s: float  # seconds from its start to its own end
    peak_bytes: int | None  # the most that its processes held; pages of mapped files count too
    gpu_peak_bytes: int | None  # the most on any one GPU; None if none was used or it is not known
    was_asked: bool = False  # whether batchlab ended it before it ended by itself
    exit_code: int | None = None  # below 0 the number of a signal; None if it never ran
    # The warning if it left processes running when it ended by itself; batchlab ends them. A script
    # that starts its training in the background and ends looks like a finished one.
    left_behind: Reason | None = None


def status_and_reason(
    argv: Sequence[str],
    *,
    exit_code: int,
    was_asked: bool,
    kernel_killed: bool,
    is_device_full: bool,
    last_lines: Sequence[str],
    launcher_lines: Sequence[str] = (),
) -> tuple[Status, Reason | None]:
    """Return the status and reason of an end, from the exit code and the last lines."""
    if was_asked:
        return Status.KILLED, Reason.of("ended_on_request")
    if exit_code == 0:
        return Status.OK, None
    line = out_of_memory_line(
        (*last_lines, *launcher_lines), kernel_killed=kernel_killed, is_device_full=is_device_full
    )
    if line is not None:
        return Status.OOM, Reason.of("memory_ran_out", error=line)
    # A shell that runs the training reports its signal as 128 plus the number.
    number = -exit_code if exit_code < 0 else exit_code - 128
    if number == signal.SIGKILL and kernel_killed:
        return Status.OOM, Reason.of("memory_ran_out", error="the kernel ended the process")
    with suppress(ValueError):  # there is no such signal
        return Status.KILLED, Reason.of("process_died", how=signal.Signals(number).name)
    # Loggers and progress bars may print more below the error.
    errors = list(filter(_ERROR.match, last_lines))
    last_line = (errors or last_lines or ["it printed nothing"])[-1]
    if line := next(filter(_NEEDS_TERMINAL.search, last_lines), None):
        return Status.ERROR, Reason.of("needs_terminal", line=line, last_line=last_line)
    return Status.ERROR, Reason.of(
        "command_failed", command=shlex.join(argv[:2]), exit_code=exit_code, last_line=last_line
    )


GRACE_S = 10.0
"""Seconds from SIGTERM to SIGKILL."""
_READ_BYTES = 1 << 20
_N_LAST_LINES = 20
# So many, as many processes of a launcher print many lines after the error of one.
_N_READ_LINES = 1000


class Launched:
    """A running command; `receive` passes on its output and returns how it ended."""

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
        """Start the command without a shell. If that fails, `receive` returns it as the end.

        Only batchlab's own variables and `PYTHONUNBUFFERED=1` are added to `environment`. The
        folder is made if missing, and gets `output.gz`. The marker, `study/trial`, identifies the
        command among all trials. `receive` calls `on_output` with each piece of stdout or stderr
        and its time on the monotonic clock, which may be 50 ms late. SIGKILL follows SIGTERM after
        `grace_s` seconds.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.marker = marker
        self._argv, self._cwd, self._on_output = tuple(argv), cwd, on_output
        self._kept = KeptOutput(folder / "output.gz")
        self._report = bytearray()
        self._started_s = time.monotonic()
        self._ended: CommandEnd | None = None
        control, words = os.pipe()
        report, reporting = os.pipe()
        # Unlike a file number, a Connection closes when dropped, which the supervisor notices.
        self._control = Connection(words, readable=False)
        self.connection = Connection(report, writable=False)  # ready when there is something
        try:
            self._supervisor = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-E", supervisor.__file__),
                    *map(str, (control, reporting, os.getpid(), grace_s, cwd)),
                    *argv,
                ],
                env={**environment, MARK: marker, "PYTHONUNBUFFERED": "1"},
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

    def receive(self) -> CommandEnd | None:
        """Take in what has arrived; return how the command ended, or None while it goes on."""
        if self._ended is not None:
            return self._ended
        try:
            piece = os.read(self.connection.fileno(), _READ_BYTES)
        except BlockingIOError:
            return None
        if not piece:
            return self._lost()
        self._report += piece
        head = supervisor.FRAME.size
        while len(self._report) >= head:
            kind, at_s, n_bytes = supervisor.FRAME.unpack_from(self._report)
            if len(self._report) < head + n_bytes:
                break
            payload = bytes(self._report[head : head + n_bytes])
            del self._report[: head + n_bytes]
            if kind == b"e":
                return self._take_end(*supervisor.ENDED.unpack(payload))
            self._kept.write(payload)
            self._on_output(payload, at_s)
        return None

    def end(self) -> None:
        """Have all processes of the command get SIGTERM, and SIGKILL after the grace period."""
        self._tell(supervisor.END)

    def wait(self, timeout_s: float | None = None) -> CommandEnd | None:
        """Receive until the end, or for `timeout_s` seconds. Return None if it still runs then."""
        began_s, left_s = time.monotonic(), timeout_s
        while (ended := self.receive()) is None:
            if timeout_s is not None:
                left_s = began_s + timeout_s - time.monotonic()
                if left_s <= 0:
                    return None
            wait([self.connection], left_s)
        return ended

    def close(self) -> None:
        """Kill the command if it still runs, and wait until none of its processes is left."""
        self._tell(supervisor.KILL)
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, word: bytes) -> None:
        if self._ended is None:
            with suppress(BrokenPipeError):  # it has just ended, and `receive` returns how
                os.write(self._control.fileno(), word)

    def _take_end(
        self,
        wait_status: int,
        n_left_behind: int,
        was_asked: int,
        n_kills: int,
        ended_s: float,
        largest_bytes: int,
        error: int,
    ) -> CommandEnd:
        lines = self._kept.last_lines(_N_READ_LINES)
        self._memory.stop()
        status, exit_code = Status.ERROR, None
        reason: Reason | None
        if error:
            reason = Reason.of(
                "command_not_started",
                program=self._argv[0],
                folder=str(self._cwd),
                error=os.strerror(error),
            )
        else:
            lines, launcher_lines = without_launcher_words(lines)
            exit_code = os.waitstatus_to_exitcode(wait_status)
            status, reason = status_and_reason(
                self._argv,
                exit_code=exit_code,
                was_asked=bool(was_asked),
                kernel_killed=n_kills > 0,
                is_device_full=self._memory.is_gpu_full,
                last_lines=lines[-_N_LAST_LINES:],
                launcher_lines=launcher_lines,
            )
        left_behind = Reason.of("processes_left_behind", n=n_left_behind) if n_left_behind else None
        return self._finish(
            CommandEnd(
                status=status,
                reason=reason,
                last_lines=lines[-_N_LAST_LINES:],
                duration_s=ended_s - self._started_s,
                peak_bytes=self._memory.stop(largest_bytes),
                gpu_peak_bytes=self._memory.gpu_peak_bytes,
                was_asked=bool(was_asked),
                exit_code=exit_code,
                left_behind=left_behind,
            )
        )

    def _lost(self) -> CommandEnd:
        """End what is left of the command that the kernel killed together with its supervisor."""
        self._supervisor.kill()
        end_marked(self.marker)
        return self._finish(
            CommandEnd(
                status=Status.KILLED,
                reason=Reason.of("supervisor_killed"),
                last_lines=self._kept.last_lines(_N_LAST_LINES),
                duration_s=time.monotonic() - self._started_s,
                peak_bytes=self._memory.stop(),
                gpu_peak_bytes=self._memory.gpu_peak_bytes,
            )
        )

    def _finish(self, end: CommandEnd) -> CommandEnd:
        self._ended = end
        self._kept.close()
        self._control.close()
        self.connection.close()
        self._supervisor.wait()
        return end


# These make rich draw its bars into a pipe too, without breaking their lines.
WIDE = {"TTY_COMPATIBLE": "1", "COLUMNS": "300"}
"""Environment variables of a training whose output is read, unless the user has set them."""
