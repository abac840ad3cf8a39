"""What the tests run in child processes: functions that must be importable there."""

import io
import os
import re
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import torch

from batchlab.errors import WorkloadError
from batchlab.processes.children import Line
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.trial import Trial
from batchlab.training.evaluator import Evaluator
from batchlab.training.stepper import Stepper


def first_loss(line: Line, packed: PackedWorkload) -> float:
    workload = packed.unpack()
    torch.manual_seed(0)
    return float(workload.loss(workload.model(), workload.train).detach())


def own_bytes(line: Line, packed: PackedWorkload) -> tuple[float, int]:
    """The sum of the first column, so that every page is read; then this process's own memory.

    Its own is what is no mapping of shared memory.
    """
    return float(packed.unpack().train[0][:, 0].sum(dtype=torch.float64)), anonymous_bytes()


def own_bytes_of_training(line: Line, packed: PackedWorkload, trial: Trial) -> tuple[float, int]:
    """A few steps and an evaluation of all splits; the validation loss, and what it took.

    Counted is the growth of what no file and no other process holds.
    """
    before = anonymous_bytes()
    workload, device = packed.unpack(), torch.device("cpu")
    stepper = Stepper(workload, trial, device)
    stepper.steps(stepper.stream(0), 5, first_step=0)
    evaluator = Evaluator(workload, device, batch_size=256)
    scores = evaluator.scores(stepper.model, ("train", "validation"))
    loss = next(s.value for s in scores if (s.split, s.metric) == ("validation", "loss"))
    assert loss is not None
    return loss, anonymous_bytes() - before


def anonymous_bytes() -> int:
    """This process's own memory, without maps of files and shared memory."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return 1024 * int(found[1])


def product(line: Line, one: int, other: int) -> int:
    return one * other


def shown(line: Line, text: str) -> str:
    """Warn; return what is shown of it."""
    with redirect_stderr(io.StringIO()) as errors:
        warnings.warn(text, stacklevel=1)
    return errors.getvalue()


def does(line: Line, action: Callable[[], object]) -> None:
    action()


def raise_value_error() -> None:
    raise ValueError("first line\nsecond line")


def raise_workload_error() -> None:
    raise WorkloadError("the workload is odd")


def allocate_beyond_the_machine() -> None:
    torch.empty(2**55, dtype=torch.uint8)


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


def echo(line: Line) -> None:
    """Send each received message back, with whether this process was asked to stop since."""
    while True:
        message = line.receive()
        while message == "wait" and not line.asked_to_stop():
            time.sleep(0.001)
        line.say((message, line.asked_to_stop()))
