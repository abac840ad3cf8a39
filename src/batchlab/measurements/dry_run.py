"""DryRun: a training whose steps ask for all their memory and compute nothing.

Model, optimizer and autograd are the real ones, so tensors are made and let go of in the order of
a real step, by the allocator of a real process. How much a process holds depends on that order: a
freed piece between two used ones is not given back, and may be too small for what comes next. So
the sum of what is alive, which a trace alone would give, is too small by up to a half.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

from batchlab.measurements.allocations import (
    Allocated,
    Operation,
    Step,
    are_scalars,
    makes_tensors,
    recorded_steps,
    tensors_in,
)
from batchlab.measurements.kernel_buffers import KernelBuffers, kernel_buffers
from batchlab.processes.children import Line
from batchlab.processes.heap import heap_bytes, shows_tensors
from batchlab.processes.memory import limit_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.reason import Reason
from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper

# As many as a profile takes of a step: what is held creeps up over the first ones.
_STEPS = 10


def find_buffers(
    line: Line, packed: PackedWorkload, trial: Trial, wall_bytes: int | None
) -> KernelBuffers | Reason:
    """What the workload's kernels take beside their results (`kernel_buffers`).

    There the steps without values are compared with real ones.

    Args:
        line: the connection to the parent, unused.
        packed: the workload.
        trial: what to train; its batch size is replaced.
        wall_bytes: what the process may ask for: its steps are real ones; None: what there is.
    """
    os.environ["KINETO_LOG_LEVEL"] = "99"  # or the profiler's library writes to stderr
    if wall_bytes is not None:
        limit_memory(torch.device("cpu"), wall_bytes)
    workload = packed.unpack()
    found = kernel_buffers(workload, trial)
    if isinstance(found, Reason):
        return found
    own = replace(trial, batch_size=found.batch_size, micro_batch_size=found.batch_size)
    known = recorded_steps(workload, own, found)
    return known if isinstance(known, Reason) else found


def record_steps(
    line: Line, packed: PackedWorkload, trial: Trial, buffers: KernelBuffers
) -> tuple[Step, ...] | Reason:
    """The steps of a trial (`recorded_steps`), in a process of their own.

    Args:
        line: the connection to the parent, unused.
        packed: the workload.
        trial: gives the batch size and how it is cut.
        buffers: of `find_buffers`.
    """
    return recorded_steps(packed.unpack(), trial, buffers)


def dry_run_bytes(
    line: Line, packed: PackedWorkload, trial: Trial, steps: Sequence[Step]
) -> int | Reason:
    """The most that the heap of this process holds during steps of `trial`, above what it held.

    Args:
        line: the connection to the parent, unused.
        packed: the workload.
        trial: gives the batch size and how it is cut.
        steps: what its steps make, the last one standing for all that follow.

    Returns:
        Bytes; or why that is not known.
    """
    workload = packed.unpack()
    before_bytes = heap_bytes()
    if before_bytes is None or not shows_tensors():
        return Reason.of("heap_not_told")
    stepper = Stepper(workload, trial, torch.device("cpu"))
    heap = _Heap(before_bytes)
    stream = stepper.stream(0)
    for index in range(_STEPS):
        micro_batches = next(stream)
        heap.look()
        try:
            with _DryRun(steps[min(index, len(steps) - 1)], heap):
                stepper.step(micro_batches)
        except _OtherOperationError as error:
            return Reason.of("steps_differ", text=str(error))
    return heap.most_bytes - before_bytes


class _Heap:
    """The most that was held at a look."""

    def __init__(self, held_bytes: int) -> None:
        self.most_bytes = held_bytes

    def look(self) -> None:
        held_bytes = heap_bytes()
        assert held_bytes is not None
        self.most_bytes = max(self.most_bytes, held_bytes)


class _OtherOperationError(Exception):
    """The step does not do what was recorded."""


class _DryRun(TorchDispatchMode):
    """Gives each operation the memory of what it would make, and does not run it."""

    def __init__(self, step: Step, heap: _Heap) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._to_come: Iterator[Operation] = iter(step)
        self._heap = heap

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = tensors_in(args, kwargs)
        if makes_tensors(func, inputs):
            out = self._made(func)
        elif _writes(func) and not are_scalars(inputs):
            return _written(func, args, kwargs)
        else:
            out = func(*args, **kwargs)
        self._heap.look()
        return out

    def _made(self, func: OpOverload) -> Any:
        expected = next(self._to_come, None)
        if expected is None or expected.name != str(func):
            wanted = "none" if expected is None else expected.name
            raise _OtherOperationError(f"{func} instead of {wanted}")
        made = _taken_in_order(expected, self._heap)
        self._heap.look()
        return made


def _taken_in_order(operation: Operation, heap: _Heap) -> Any:
    """The results of an operation, each taken when the kernel takes it, beside what it gives back.

    The order decides which freed piece each one gets: results taken at the end leave other gaps.
    """
    wanted, structure = tree_flatten(operation.made)
    results: dict[int, Any] = {}
    given_back = {slot for slot, n_bytes in operation.inside if n_bytes == 0}
    held: dict[int, Tensor] = {}
    for slot, n_bytes in operation.inside:
        if n_bytes == 0:
            del held[slot]
            continue
        index = None if slot in given_back else _of_size(wanted, n_bytes, results)
        if index is None:
            held[slot] = torch.empty(n_bytes, dtype=torch.uint8)
        else:
            results[index] = wanted[index].empty()
        heap.look()
    held.clear()
    for index, leaf in enumerate(wanted):
        if index not in results:
            results[index] = leaf.empty() if isinstance(leaf, Allocated) else leaf
    return tree_unflatten([results[index] for index in range(len(wanted))], structure)


def _of_size(wanted: Sequence[Any], n_bytes: int, results: Mapping[int, Any]) -> int | None:
    """Which of the results that are still to be taken has this size; None: none has."""
    for index, leaf in enumerate(wanted):
        if index not in results and isinstance(leaf, Allocated) and leaf.n_bytes == n_bytes:
            return index
    return None


def _writes(func: OpOverload) -> bool:
    return any(_is_written(argument) for argument in func._schema.arguments)


def _is_written(argument: torch.Argument) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _written(func: OpOverload, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What an operation that writes into its arguments returns: those arguments."""
    arguments = func._schema.arguments
    given = dict(zip((argument.name for argument in arguments), args, strict=False)) | kwargs
    written: list[Tensor] = [given[each.name] for each in arguments if _is_written(each)]
    n_returned = len(func._schema.returns)
    if n_returned == 0:
        return None
    return written[0] if n_returned == 1 else tuple(written[:n_returned])
