"""ErrorPlace: an exception of the user's code in one line, with the place in it that raised."""

from __future__ import annotations

import traceback
from pathlib import Path

from batchlab.workload.source import is_library


def told(error: BaseException) -> str:
    """`ValueError: expected 3 columns (train.py, line 12)`: class, first line, user's own line.

    The place is the deepest call in code that is neither a library's nor batchlab's.
    """
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    place = _place(error)
    return f"{text} ({place})" if place else text


def _place(error: BaseException) -> str | None:
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith("<frozen") or is_library(Path(frame.filename)):
            continue
        return f"{Path(frame.filename).name}, line {frame.lineno}"
    return None
