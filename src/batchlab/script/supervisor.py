"""Supervisor: a small process that starts a command and ends all processes of the command.

Batchlab runs this file by its path with `python -I -S -E`. The file imports little, and nothing of
batchlab, so that the supervisor starts in a few hundredths of a second.

- The supervisor starts the command in a new session, receives messages of batchlab, and checks that
  batchlab runs.
- When the command ends, when batchlab requests the end, or when batchlab is gone (perhaps by kill
  -9), the supervisor ends every process that the command started: by SIGTERM and, after a grace
  period, by SIGKILL. On Linux, the supervisor finds all of these processes, because orphaned
  processes become its children (it is a subreaper). It is done when the kernel reports no children.
  On other systems, the supervisor ends the process group of the command.
- If the supervisor is killed, the kernel kills the command, and `end_marked` kills the other
  processes that the command started.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
import sys
import time

TYPE_CHECKING = False  # importing `typing` takes longer than all other imports
if TYPE_CHECKING:
    from collections.abc import Callable

ENDED = struct.Struct("<iiidq")
"""The report to batchlab: the command's wait status, whether its end was requested, how many
processes the kernel killed for memory, the time of the end, and the largest process in bytes."""

END, KILL = b"e", b"k"
"""Batchlab's messages: end the command with a grace period, or end it at once."""

# Wait this many seconds for the command's remaining processes to end by themselves, as Python's
# resource tracker does.
LINGER_S = 1.0
REST_S = 0.02  # seconds between checks for messages and for processes that have ended

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LINUX = sys.platform == "linux"


class Supervisor:
    """Runs one command, until none of its processes is left."""

    def __init__(self, *, owner: int, grace_s: float) -> None:
        """Prepare to receive messages of batchlab (process `owner`) on the standard input."""
        self._owner, self._grace_s = owner, grace_s
        self._command = 0
        self._wait_status = -1
        self._command_ended_s: float | None = None
        self._largest_bytes = 0
        self._is_asked = self._is_owner_gone = False
        self._signaled: set[int] = set()
        self._end_s: float | None = None  # The time at which to send SIGTERM.
        self._kill_s: float | None = None  # The time at which to send SIGKILL.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: self._ask(self._grace_s))
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self, argv: list[str], folder: str) -> bytes:
        """Run the command in a folder until all of its processes have ended; return the report."""
        kills_before = kills_for_memory()
        supervisor = os.getpid()
        # Block SIGTERM until the new process no longer has the signal handlers of the supervisor.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self._command = os.fork()
        if self._command == 0:
            _become(argv, folder, supervisor)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        while self._has_children():
            self._listen()
            self._signal_what_is_due()
        return ENDED.pack(
            self._wait_status,
            self._is_asked,
            kills_for_memory() - kills_before,
            self._command_ended_s or time.monotonic(),
            self._largest_bytes,
        )

    def _listen(self) -> None:
        """Wait a moment for a message of batchlab; end the command if batchlab is gone."""
        rest_s = REST_S
        if self._kill_s is not None and self._kill_s <= time.monotonic() < self._kill_s + 1.0:
            # Repeat SIGKILL quickly for a second, to catch processes that keep forking. Processes
            # that survive are stuck in the kernel or belong to another user.
            rest_s = 0.002
        ready, _, _ = select.select([] if self._is_owner_gone else [0], [], [], rest_s)
        words = os.read(0, 64) if ready else None
        if words:
            self._ask(0.0 if KILL in words else self._grace_s)
        elif not self._is_owner_gone and (words == b"" or os.getppid() != self._owner):
            self._is_owner_gone = True
            self._ask(self._grace_s)

    def _ask(self, grace_s: float) -> None:
        now_s = time.monotonic()
        self._is_asked |= self._command_ended_s is None
        if self._end_s is None or now_s < self._end_s:
            self._end_s = now_s
        if grace_s == 0.0:
            self._kill_s = now_s

    def _has_children(self) -> bool:
        """Reap ended processes, and return whether any process of the command is left."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return not _LINUX and self._has_group()
            if pid == 0:
                return True
            self._largest_bytes = max(self._largest_bytes, used.ru_maxrss * (1024 if _LINUX else 1))
            if pid == self._command:
                self._wait_status, self._command_ended_s = status, time.monotonic()
                if self._end_s is None:
                    self._end_s = self._command_ended_s + min(LINGER_S, self._grace_s)

    def _has_group(self) -> bool:
        try:
            os.killpg(self._command, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _signal_what_is_due(self) -> None:
        now_s = time.monotonic()
        if self._end_s is None or now_s < self._end_s:
            return
        if self._kill_s is None:
            self._kill_s = now_s + self._grace_s
        own_group = os.getpgrp()
        alive = descendants(os.getpid()) if _LINUX else {self._command: self._command}
        if now_s >= self._kill_s:
            # Kill whole groups, so that no process of a group can fork meanwhile. Also kill each
            # process separately, because a process may have moved to another group.
            for group in {*alive.values()} - {own_group}:
                _send_signal(os.killpg, group, signal.SIGKILL)
            for pid in alive:
                _send_signal(os.kill, pid, signal.SIGKILL)
            return
        for pid in alive.keys() - self._signaled:
            _send_signal(os.kill if _LINUX else os.killpg, pid, signal.SIGTERM)
        self._signaled |= alive.keys()


def descendants(ancestor: int) -> dict[int, int]:
    """Return the process group of each descendant of a process, by process id."""
    children: dict[int, list[int]] = {}
    group = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            stat = os.open(f"/proc/{name}/stat", os.O_RDONLY)
        except OSError:
            continue  # the process has just ended
        try:
            # The program's name, in parentheses, may contain any text: split at the last ")".
            _, parent, its_group = os.read(stat, 1024).rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        finally:
            os.close(stat)
        pid = int(name)
        children.setdefault(int(parent), []).append(pid)
        group[pid] = int(its_group)
    below, unseen = {}, [ancestor]
    while unseen:
        for pid in children.pop(unseen.pop(), ()):
            unseen.append(pid)
            below[pid] = group[pid]
    return below


def kills_for_memory() -> int:
    """Return how many processes the kernel has killed since boot to free memory; 0 if unknown."""
    try:
        with open("/proc/vmstat", "rb") as counts:
            for line in counts:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def _become(argv: list[str], folder: str, supervisor: int) -> None:
    """Replace this child process by the command, or print why that failed; never return."""
    what = folder
    try:
        os.setsid()
        if _LINUX:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:
                os._exit(1)  # The supervisor died before the kernel could watch it.
            _offer_to_the_kernel()
        for name in ("SIGPIPE", "SIGXFSZ", "SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # standard error is the output file: write standard output there too
        os.chdir(folder)
        what = argv[0]
        os.execvpe(argv[0], argv, os.environ)
    except OSError as error:
        os.write(2, f"{what}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _offer_to_the_kernel() -> None:
    """Make the kernel kill the training, instead of batchlab, if memory runs out."""
    try:
        with open("/proc/self/oom_score_adj", "r+b", buffering=0) as score:
            if int(score.read()) < 500:
                score.write(b"500")
    except OSError:
        pass


def _send_signal(send: Callable[[int, int], None], target: int, number: int) -> None:
    try:
        send(target, number)
    except (ProcessLookupError, PermissionError):
        pass  # the process has ended meanwhile, or belongs to another user


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def main(arguments: list[str]) -> None:
    """Supervise a command, and write a report at the end.

    `arguments` are the process id of batchlab, the grace period, the folder and the command.
    """
    if _LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    owner = int(arguments[0])
    supervisor = Supervisor(owner=owner, grace_s=float(arguments[1]))
    if os.getppid() != owner:
        return  # Batchlab has already ended.
    ended = supervisor.run(arguments[3:], arguments[2])
    try:
        os.write(1, ended)
    except BrokenPipeError:
        pass  # batchlab has ended, so nobody reads how the command ended


if __name__ == "__main__":
    main(sys.argv[1:])
