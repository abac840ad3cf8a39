"""The processes of a trial: their mark in the environment, and what is left of a dead batchlab.

While batchlab or a trial's supervisor lives, the supervisor ends what a trial started. Should the
supervisor be killed as well, the kernel kills the command itself (Linux), and what the command had
started is found by its mark: `BATCHLAB_TRIAL` in its environment. A process that throws its
environment away after its supervisor was killed is found by nobody. On macOS a supervisor ends
the command's process group only, and the mark finds the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping

import psutil

MARK = "BATCHLAB_TRIAL"
"""Names the trial that a process belongs to: the study, a slash, the trial."""
OWNER = "BATCHLAB_OWNER"
"""Names the batchlab that started it, by its process and the time at which that began."""

_LOOK_AGAIN_S = 0.02
_SAME_START_S = 2.0  # two processes of one number are further apart, and clocks are set by less


def marks(marker: str) -> dict[str, str]:
    """What the environment of a trial's processes holds.

    Args:
        marker: the study, a slash, the trial.
    """
    return {MARK: marker, OWNER: f"{os.getpid()}:{psutil.Process().create_time():.2f}"}


def end_leftovers(study: str, *, grace_s: float = 2.0) -> int:
    """End what a batchlab that is dead has left of a study; leave alone what a living one trains.

    Args:
        study: the first part of its trials' markers, or a whole marker.
        grace_s: from SIGTERM to SIGKILL, in seconds.

    Returns:
        How many processes there were.
    """
    return _end(lambda environment: _is_of(environment, study) and _is_orphan(environment), grace_s)


def end_marked(marker: str) -> int:
    """End all processes of one trial at once, whoever started them.

    Returns:
        How many there were.
    """
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
