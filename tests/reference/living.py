"""The processes of a study that are still there."""

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
