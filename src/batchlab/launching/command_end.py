"""CommandEnd: how a command ended, as a status and a reason."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batchlab.launching.memory_peak import MemoryPeak
from batchlab.launching.out_of_memory import out_of_memory_line
from batchlab.records.reason import Reason
from batchlab.records.trial import Status

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
        exit_code: of the command; None if a signal ended it or it never ran.
        signal: name of the signal that ended it; None if none did.
        was_asked: whether batchlab ended it (`end`, `kill`) before it ended by itself.
        last_lines: the last lines of its output, cleaned for showing.
        started_s: when it began, on the monotonic clock.
        ended_s: when the command itself ended, on the same clock.
        cpu_s: CPU time of all its processes, in seconds; of those that were reaped.
        peak: the most memory that its processes held; None: not known.
        n_left_behind: processes that it left running when it ended by itself; they were ended.
        output: the compressed output.
    """

    status: Status
    reason: Reason | None
    exit_code: int | None
    signal: str | None
    was_asked: bool
    last_lines: tuple[str, ...]
    started_s: float
    ended_s: float
    cpu_s: float
    peak: MemoryPeak | None
    n_left_behind: int
    output: Path

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


def why_not_started(argv: Sequence[str], cwd: Path, *, error: int, in_folder: bool) -> Reason:
    """Why the system would not run it.

    Args:
        argv: the command.
        cwd: its working directory.
        error: the system's error number.
        in_folder: whether the working directory was the trouble.
    """
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
    """What an end means.

    Args:
        argv: the command.
        wait_status: as the system reports it.
        was_asked: whether batchlab ended it.
        kernel_killed: whether the kernel killed a process for memory while it ran.
        is_device_full: whether the memory of one of its devices was nearly full.
        last_lines: the end of its output.
        launcher_lines: what the launcher of its processes said after it.
    """
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


def signal_name(wait_status: int) -> str | None:
    """The signal that ended a process; None if none did."""
    return _signal_name(os.WTERMSIG(wait_status)) if os.WIFSIGNALED(wait_status) else None


def _signal_name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None
