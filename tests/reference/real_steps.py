"""The plain twin of a dry run: the same steps computed, and the heap read after each operation."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from batchlab.processes.children import Line
from batchlab.processes.heap import heap_bytes
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper


class _Looking(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.most_bytes = max(self.most_bytes, heap_bytes() or 0)
        return out


def real_steps_bytes(line: Line, packed: PackedWorkload, trial: Trial) -> int:
    """The most that the heap of this process holds during ten steps, above what it held."""
    workload = packed.unpack()
    before_bytes = heap_bytes()
    assert before_bytes is not None
    stepper = Stepper(workload, trial, torch.device("cpu"))
    stream = stepper.stream(0)
    looking = _Looking()
    for _ in range(10):
        micro_batches = next(stream)
        with looking:
            stepper.step(micro_batches)
    return looking.most_bytes - before_bytes
