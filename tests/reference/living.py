"""Which processes are still there."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from batchlab.script.process import MARK


def living(study: str) -> tuple[int, ...]:
    """Return the processes that carry the mark of a study, or of one of its trials."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            marker = process.environ().get(MARK, "")
            is_of = marker == study or marker.startswith(study + "/")
            if process.pid != os.getpid() and is_of and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return tuple(found)


def command_line(pid: int) -> str:
    """Return the words of a process; none if it has gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Return whether a process is there; one that nobody has asked how it ended is not."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
