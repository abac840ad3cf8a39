"""One training command as processes: from its start until none is left, and how it ended."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
OWNER = "BATCHLAB_OWNER"
"""Names the batchlab that started it, by its process and the time at which that began."""

_LOOK_AGAIN_S = 0.02
_SAME_START_S = 2.0  # two processes of one number are further apart, and clocks are set by less


def marks(marker: str) -> dict[str, str]:
    """What the environment of a trial's processes holds; the marker is `study/trial`."""
    return {MARK: marker, OWNER: f"{os.getpid()}:{psutil.Process().create_time():.2f}"}


def end_leftovers(study: str, *, grace_s: float = 2.0) -> int:
    """End what a batchlab that is dead has left of a study; leave alone what a living one trains.

    A study is the first part of its trials' markers. Returns how many processes there were.
    """
    return _end(lambda environment: _is_of(environment, study) and _is_orphan(environment), grace_s)


def end_marked(marker: str) -> int:
    """End all processes of one trial at once, whoever started them; how many there were."""
    return _end(lambda environment: environment.get(MARK) == marker, 0.0)


def living(study: str) -> tuple[int, ...]:
    """The processes that carry the mark of a study, or of one of its trials."""
    return tuple(process.pid for process in _found(lambda marks: _is_of(marks, study)))


def _end(is_meant: Callable[[Mapping[str, str]], bool], grace_s: float) -> int:
    seen: set[int] = set()
    kill_s = time.monotonic() + grace_s
    while found := list(_found(is_meant)):
        is_late = time.monotonic() >= kill_s
        for process in found:
            if is_late or process.pid not in seen:
                _send(process.kill if is_late else process.terminate)
        seen.update(process.pid for process in found)
        time.sleep(_LOOK_AGAIN_S)
    return len(seen)


def _send(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.Error:
        pass  # it has ended meanwhile


def _found(is_meant: Callable[[Mapping[str, str]], bool]) -> Iterator[psutil.Process]:
    own = os.getpid()
    for process in psutil.process_iter():
        try:
            if (
                process.pid != own
                and is_meant(process.environ())
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                yield process
        except (psutil.Error, OSError):
            continue  # it has just ended, or is somebody else's


def _is_of(environment: Mapping[str, str], study: str) -> bool:
    marker = environment.get(MARK, "")
    return marker == study or marker.startswith(study + "/")


def _is_orphan(environment: Mapping[str, str]) -> bool:
    number, _, start = environment.get(OWNER, "").partition(":")
    try:
        pid, started_s = int(number), float(start)
    except ValueError:
        return False
    try:
        owner = psutil.Process(pid)
        is_there = owner.status() != psutil.STATUS_ZOMBIE
        return not is_there or abs(owner.create_time() - started_s) > _SAME_START_S
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


_TRACEBACK = "Traceback (most recent call last):"
# The frames by which the traceback of a launcher is known from that of a script.
_LAUNCHER_FRAME = re.compile(r'File ".*\b(torch/distributed/run|accelerate/commands/launch)\.py"')
_LAUNCHER_LOG = re.compile(r"^[WEI]\d{4} .*\btorch/distributed/(run|elastic/.*)\.py:\d+\]")
_OF_A_RANK = re.compile(r"^\[rank\d+\]: ")


def without_launcher_words(lines: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the processes of a training said, and what their launcher said.

    What other processes said after the error of one is left out: they were ended for it. Of an
    output without a launcher, or with nothing beside its words, the first are all lines.
    """
    begins = [i for i, line in enumerate(lines) if line == _TRACEBACK]
    end = next((i for i in begins if _is_launchers(lines, i)), len(lines))
    own = [line for line in lines[:end] if not _LAUNCHER_LOG.match(line)]
    errors = [i for i, line in enumerate(own) if _OF_A_RANK.match(line)]
    own = own[: errors[-1] + 1] if errors else own
    if end == len(lines) or not own:
        return tuple(lines), ()
    return tuple(own), tuple(lines[end:])


def _is_launchers(lines: Sequence[str], begin: int) -> bool:
    """Whether the traceback that begins there is a launcher's: it is the last in the output."""
    rest = lines[begin + 1 :]
    return _TRACEBACK not in rest and any(_LAUNCHER_FRAME.search(line) for line in rest)


# Words that a failed command says when memory ran out, looked for in each of its last lines.
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
# Words that are said of other failures too: believed where the kernel killed a process for memory
# meanwhile (workers of PyTorch, torchrun, pools of Python, shells) ...
KILLED_FOR_MEMORY = (
    r"DataLoader worker .* killed by signal: Killed",
    r"Signal 9 \(SIGKILL\)|exitcode\s*:\s*-9\b",
    r"BrokenProcessPool|TerminatedWorkerError",
    r"^(.*: )?(line \d+: +\d+ )?Killed\b",
)
# ... or where the memory of a device was nearly full.
ON_FULL_DEVICE = (
    r"CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)",
    r"CUDNN_STATUS_(ALLOC_FAILED|INTERNAL_ERROR)",
    r"ncclUnhandledCudaError",
)


def out_of_memory_line(
    last_lines: Sequence[str], *, kernel_killed: bool, is_device_full: bool
) -> str | None:
    """The last line by which a failed command says that memory ran out; None: none does."""
    patterns = [
        *OUT_OF_MEMORY,
        *(KILLED_FOR_MEMORY if kernel_killed else ()),
        *(ON_FULL_DEVICE if is_device_full else ()),
    ]
    believed = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    return next((line.strip() for line in reversed(last_lines) if believed.search(line)), None)


_NEEDS_TERMINAL = re.compile(
    r"EOFError: EOF when reading a line|Inappropriate ioctl for device|No such device or address: "
    r"'?/dev/tty|not a (tty|TTY|terminal)|GetPassWarning|[Tt]erminal is required|_curses\.error"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandEnd:
    """How a command ended, after the last of its processes is gone.

    Attributes:
        status: ok only for exit code 0 of a command that nobody ended; times of any other run
            tell nothing. Whoever asked for the end knows why, and has a better status.
        reason: why it is not ok; None where it is.
        last_lines: the last lines of its output, cleaned for showing.
        started_s: when it began, on the monotonic clock.
        ended_s: when the command itself ended, on the same clock.
        peak_bytes: the most main memory that its processes held; pages of mapped files count too.
        gpu_peak_bytes: the most on any one GPU; None: none was used, or it is not known.
        was_asked: whether batchlab ended it (`end`, `kill`) before it ended by itself.
        exit_code: of the command; None if a signal ended it or it never ran.
        signal: name of the signal that ended it; None if none did.
        n_left_behind: processes that it left running when it ended by itself; they were ended.
    """

    status: Status
    reason: Reason | None
    last_lines: tuple[str, ...]
    started_s: float
    ended_s: float
    peak_bytes: int | None
    gpu_peak_bytes: int | None
    was_asked: bool = False
    exit_code: int | None = None
    signal: str | None = None
    n_left_behind: int = 0

    @property
    def duration_s(self) -> float:
        """From its start to its own end, in seconds."""
        return self.ended_s - self.started_s

    @property
    def left_behind(self) -> Reason | None:
        """What to say if it left processes running; None: it did not.

        A script that starts its training in the background and ends looks like one that was done.
        """
        if not self.n_left_behind:
            return None
        return Reason.of("processes_left_behind", n=self.n_left_behind)


def _why_not_started(argv: Sequence[str], cwd: Path, *, error: int, in_folder: bool) -> Reason:
    """Why the system would not run it, by its error number."""
    if in_folder:
        return Reason.of("working_folder_missing", folder=str(cwd), error=os.strerror(error))
    program = argv[0]
    if error == errno.ENOENT:
        if os.sep in program and (cwd / program).exists():
            return Reason.of("interpreter_missing", program=program)
        return Reason.of("command_not_found", program=program)
    if error in (errno.EACCES, errno.EPERM):
        return Reason.of("command_not_executable", program=program)
    if error == errno.ENOEXEC:
        return Reason.of("command_without_interpreter", program=program)
    return Reason.of("command_not_started", program=program, error=os.strerror(error))


def status_and_reason(
    argv: Sequence[str],
    *,
    wait_status: int,
    was_asked: bool,
    kernel_killed: bool,
    is_device_full: bool,
    last_lines: Sequence[str],
    launcher_lines: Sequence[str] = (),
) -> tuple[Status, Reason | None]:
    """What an end means, by its status as the system reports it and by what was said."""
    if was_asked:
        return Status.KILLED, Reason.of("ended_on_request")
    code = os.waitstatus_to_exitcode(wait_status)
    if code == 0:
        return Status.OK, None
    line = out_of_memory_line(
        (*last_lines, *launcher_lines), kernel_killed=kernel_killed, is_device_full=is_device_full
    )
    if line is not None:
        return Status.OOM, Reason.of("memory_ran_out", error=line)
    # A shell that runs the training reports its signal as 128 and the number.
    number = -code if code < 0 else code - 128 if 128 < code <= 128 + 64 else 0
    if number == signal.SIGKILL and kernel_killed:
        return Status.OOM, Reason.of("kernel_ended_process")
    if any(_NEEDS_TERMINAL.search(line) for line in last_lines):
        return Status.ERROR, Reason.of("needs_terminal", line=last_lines[-1])
    if number and (name := _signal_name(number)):
        return Status.KILLED, Reason.of("ended_by_signal", signal=name)
    said = last_lines[-1] if last_lines else Reason.of("nothing_said")
    return Status.ERROR, Reason.of(
        "command_failed", command=shlex.join(argv[:2]), exit_code=code, said=said
    )


def _signal_name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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
                self._not_started = _why_not_started(
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
        largest_bytes: int,
    ) -> CommandEnd:
        own, launchers = without_launcher_words(self._kept.last_lines(_N_READ_LINES))
        last_lines = own[-_N_LAST_LINES:]
        peak_bytes = self._memory.stop(0 if self._not_started else largest_bytes)
        ended = CommandEnd(
            status=Status.ERROR,
            reason=self._not_started,
            last_lines=last_lines,
            started_s=self._started_s,
            ended_s=ended_s,
            peak_bytes=peak_bytes,
            gpu_peak_bytes=self._memory.gpu_peak_bytes,
            was_asked=bool(was_asked),
            n_left_behind=n_left_behind,
        )
        if self._not_started is not None:
            return ended
        status, reason = status_and_reason(
            self._argv,
            wait_status=wait_status,
            was_asked=ended.was_asked,
            kernel_killed=n_kills > 0,
            is_device_full=self._memory.is_gpu_full,
            last_lines=last_lines,
            launcher_lines=launchers,
        )
        if os.WIFSIGNALED(wait_status):
            name = _signal_name(os.WTERMSIG(wait_status))
            return replace(ended, status=status, reason=reason, signal=name)
        code = os.waitstatus_to_exitcode(wait_status)
        return replace(ended, status=status, reason=reason, exit_code=code)

    def _lost(self) -> CommandEnd:
        """The supervisor was killed; the kernel takes the command with it, this the rest."""
        self._supervisor.kill()
        self._supervisor.wait()
        end_marked(self.marker)
        return CommandEnd(
            status=Status.KILLED,
            reason=Reason.of("supervisor_killed"),
            last_lines=self._kept.last_lines(_N_LAST_LINES),
            started_s=self._started_s,
            ended_s=time.monotonic(),
            peak_bytes=self._memory.stop(),
            gpu_peak_bytes=self._memory.gpu_peak_bytes,
        )

    def _finish(self, ended: CommandEnd) -> CommandEnd:
        self._ended = ended
        self._kept.close()
        self._control.close()
        self._connection.close()
        self._supervisor.wait()
        return ended


# Python writes into a pipe at once; rich draws its bars there too, and breaks no line of them.
_SETTINGS = {"PYTHONUNBUFFERED": "1", "TTY_COMPATIBLE": "1", "COLUMNS": "300"}


def output_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment for a training whose output is read; what the user has set stays."""
    return {**_SETTINGS, **given}


ENOUGH = 3
# What differs between two runs of one failure: paths, addresses, numbers.
_VARIES = re.compile(r"(?:[\w.~-]*/)+[\w.-]*|0x[0-9a-fA-F]+|\d+")


class FailureCount:
    """Counts failures of the same kind: the same end, the same last line but for its numbers."""

    def __init__(self) -> None:
        self._seen: Counter[object] = Counter()

    def add(self, end: CommandEnd, told: Reason | None = None) -> Reason | None:
        """Count one end, by what was wrong with what it `told` where that is why it failed.

        Returns:
            Why the study should stop; None: it may go on. Memory that ran out never stops a study:
            a smaller batch size may fit. An end that batchlab asked for is no failure.
        """
        if told is not None:
            kind: tuple[object, ...] = (told.code, _VARIES.sub("#", repr(told.values)))
            return self._counted(kind, told)
        if end.was_asked or end.reason is None or end.status == Status.OOM:
            return None
        last = end.last_lines[-1] if end.last_lines else ""
        kind = (end.exit_code, end.signal, end.reason.code, _VARIES.sub("#", last))
        return self._counted(kind, end.reason)

    def _counted(self, kind: tuple[object, ...], why: Reason) -> Reason | None:
        self._seen[kind] += 1
        if self._seen[kind] < ENOUGH:
            return None
        return Reason.of("same_failure_again", n=self._seen[kind], why=why)
