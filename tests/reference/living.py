"""Which processes are still there."""

import os
from contextlib import suppress

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


def is_running(pid: int) -> bool:
    """Return whether a process is there; one that nobody has asked how it ended is not."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
