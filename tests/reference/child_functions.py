"""What the tests run in child processes: functions that must be importable there."""

import io
import os
import resource
import signal
import time
import warnings
from contextlib import redirect_stderr
from pathlib import Path

import torch

from batchlab.errors import WorkloadError
from batchlab.processes.children import Line


def product(line: Line, one: int, other: int) -> int:
    return one * other


def shown(line: Line, text: str) -> str:
    """Warn; return what is shown of it."""
    with redirect_stderr(io.StringIO()) as errors:
        warnings.warn(text, stacklevel=1)
    return errors.getvalue()


def raise_value_error(line: Line) -> None:
    raise ValueError("first line\nsecond line")


def raise_workload_error(line: Line) -> None:
    raise WorkloadError("the workload is odd")


def allocate_beyond_the_machine(line: Line) -> None:
    torch.empty(2**55, dtype=torch.uint8)


def allocate_beyond_its_limit(line: Line) -> None:
    limit = 64 * 1024**3
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    torch.zeros(2 * limit, dtype=torch.uint8)


def kill_itself(line: Line) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(line: Line, code: int) -> None:
    os._exit(code)


def hang(line: Line) -> None:
    time.sleep(3600)


def hang_and_tell(line: Line, file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(3600)


def count_until_asked_to_stop(line: Line) -> str:
    number = 0
    while not line.asked_to_stop():
        line.say(number)
        number += 1
        time.sleep(0.01)
    return "stopped"


def blocked_signals(line: Line) -> list[int]:
    return [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])]
