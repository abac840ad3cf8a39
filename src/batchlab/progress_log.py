"""Progress log: `batchlab.log()`, by which a training script reports progress to a study.

Each call appends a JSON line to the file whose path is in an environment variable. Unlike a file
descriptor, a path reaches the script through shells, `torchrun`, containers with a mounted folder
and programs that close inherited files. The module imports only the standard library.
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
    """Report a training's progress and metrics to batchlab; do nothing outside a study.

    Give at least one of `step`, `epoch` and `samples`, and for every batch size evaluate after the
    same numbers of samples. `log` raises no error; the study reports invalid values instead.

    Args:
        step: optimizer updates since the start of the training; do not count micro-batches.
        epoch: passes over the training data since the start, may be a fraction; 0 is the untrained
            model. At the end of a loop `for epoch in range(n)`, pass `epoch + 1`.
        samples: training examples seen since the start.
        values: metrics by name. A value is anything that `float()` accepts, such as a tensor or
            array of one number.
    """
    if not _PATH:
        return
    try:
        line = _line({"step": step, "epoch": epoch, "samples": samples}, values)
        # Write each line by one call, so that the lines of several processes do not mix.
        # Start with a line break, in case a full disk cut off the previous line.
        with open(_PATH, "ab", buffering=0) as file:
            file.write(b"\n" + line + b"\n")
    except Exception:
        # Ignore errors in reporting, because they must not stop the training.
        return


def _line(counters: dict[str, Any], values: dict[str, Any]) -> bytes:
    import json  # imported only here, because a training outside a study does not need json

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
        complaints.append(f"{name}={given!r}"[:60])
    else:
        fields[name] = number


def _counted(name: str, given: Any) -> float | None:
    """Return the counter's value, or None if it is invalid; only `epoch` may be a fraction."""
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
