"""Progress log: the progress that a training script reports in a study, one JSON line per call.

`batchlab.log` only appends to a file, whose path is in an environment variable. A path, unlike
a descriptor, is passed on by shells, `torchrun`, containers with a mounted folder, and programs
that close inherited files. This module needs only the standard library, for any user's training.
"""

from __future__ import annotations

import os
import time
from typing import Any, SupportsFloat

LOG_PATH_VARIABLE = "BATCHLAB_LOG_PATH"
_PATH = os.environ.get(LOG_PATH_VARIABLE)


def log(
    *,
    step: SupportsFloat | None = None,
    epoch: SupportsFloat | None = None,
    samples: SupportsFloat | None = None,
    **values: SupportsFloat,
) -> None:
    """Report to batchlab how far a training is and what it measured; do nothing outside a study.

    Give at least one of `step`, `epoch` and `samples`, and evaluate at the same samples for every
    batch size. This never raises into the training: the study reports what is wrong.

    Args:
        step: optimizer updates since the start, not micro-batches and not within the epoch.
        epoch: passes over the training data since the start; it may be a fraction. After the pass
            number `epoch`, counted from 0, that is `epoch + 1`; 0 is the untrained model.
        samples: training examples seen since the start.
        values: metrics by name. Each is anything that `float()` takes, such as a tensor or array
            of one number.
    """
    if not _PATH:
        return
    try:
        line = _line({"step": step, "epoch": epoch, "samples": samples}, values)
        # Each line is one write, so that lines of several processes do not run into one another.
        # It begins with a line break, in case a full disk tore the line before.
        with open(_PATH, "ab", buffering=0) as file:
            file.write(b"\n" + line + b"\n")
    except Exception:
        # An error in reporting must not end the training.
        return


def _line(counters: dict[str, Any], values: dict[str, Any]) -> bytes:
    import json  # a training outside a study never needs it

    complaints: list[str] = []
    line: dict[str, Any] = {"batchlab_log": 1, "at_s": time.monotonic()}
    for name, given in counters.items():
        if given is not None:
            _put(line, name, _counted(name, given), given, complaints)
    numbers: dict[str, Any] = {}
    for name, given in values.items():
        _put(numbers, name, _float(given), given, complaints)
    line["values"] = numbers
    if complaints:
        line["not_understood"] = complaints
    return json.dumps(line).encode()


def _put(
    fields: dict[str, Any], name: str, number: float | None, given: Any, complaints: list[str]
) -> None:
    if number is None:
        complaints.append(f"{name}={_shown(given)}")
    else:
        fields[name] = number


def _shown(given: Any) -> str:
    try:
        return repr(given)[:60]
    except Exception:
        return type(given).__name__


def _counted(name: str, given: Any) -> float | None:
    """Return a counter, or None if it is invalid; only an epoch may be a fraction."""
    number = _float(given)
    if number is None or not 0 <= number < 1e18:
        return None
    whole = int(number)
    if whole == number:
        return whole
    return number if name == "epoch" else None


def _float(given: Any) -> float | None:
    if isinstance(given, str | bytes):
        return None
    try:
        # Detach, because PyTorch warns if a tensor with a gradient is converted to a number.
        return float(given.detach() if hasattr(given, "detach") else given)
    except Exception:
        return None
