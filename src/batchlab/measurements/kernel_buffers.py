"""KernelBuffers: the memory that operations take and give back inside themselves.

oneDNN's convolutions copy their operands into a layout of their own. No shape tells of that, so
steps of two small batches are run, and what PyTorch's own profiler sees of the allocator inside
each operation is carried on to other batch sizes as a straight line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from batchlab.records.reason import Reason
from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

_MARK = "batchlab operation "


@dataclass(frozen=True, slots=True)
class KernelBuffers:
    """What each operation of a step takes beyond its results, in bytes, as a line in batch size.

    Attributes:
        names: of the operations, in their order.
        fixed_bytes: of each, at a batch of none.
        each_bytes: of each, what an example adds.
        batch_size: the larger of the two batch sizes that were run.
        result_bytes: of each operation there, its results.
    """

    names: tuple[str, ...]
    fixed_bytes: tuple[float, ...]
    each_bytes: tuple[float, ...]
    batch_size: int
    result_bytes: tuple[int, ...]

    def at(self, names: Sequence[str], batch_size: int) -> list[int] | None:
        """Bytes of each operation; None: the step does something else, so they are not known."""
        if not any(self.fixed_bytes) and not any(self.each_bytes):
            return [0] * len(names)
        if tuple(names) != self.names:
            return None
        lines = zip(self.fixed_bytes, self.each_bytes, strict=True)
        return [max(0, round(fixed + each * batch_size)) for fixed, each in lines]


def kernel_buffers(workload: Workload, trial: Trial) -> KernelBuffers | Reason:
    """Run steps of the workload's own batch size and of a smaller one.

    Args:
        workload: it is trained on the CPU, two steps each.
        trial: what to train; its batch size is replaced.

    Returns:
        The buffers; or that the two steps differ in their operations.
    """
    small, large = _two_sizes(workload.batch_size, trial.n_train)
    first, second = (_seen_at(workload, trial, size) for size in (small, large))
    if [each.name for each in first] != [each.name for each in second]:
        text = f"other operations at batch size {small} than at {large}"
        return Reason.of("steps_differ", text=text)
    slopes = [
        (more.passing_bytes - less.passing_bytes) / (large - small)
        if large > small
        else less.passing_bytes / small
        for less, more in zip(first, second, strict=True)
    ]
    return KernelBuffers(
        names=tuple(each.name for each in first),
        fixed_bytes=tuple(
            less.passing_bytes - slope * small for less, slope in zip(first, slopes, strict=True)
        ),
        each_bytes=tuple(slopes),
        batch_size=large,
        result_bytes=tuple(each.result_bytes for each in second),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an operation's results take, and what it took beside them before it returned."""

    name: str
    result_bytes: int
    passing_bytes: int


def _two_sizes(reference: int, n_train: int) -> tuple[int, int]:
    """Half of the workload's own and its own: more than it trains with may not fit.

    Not of one example: PyTorch has other kernels for a batch of one.
    """
    own = min(max(reference, 4), n_train)
    return max(1, own // 2), own


def _seen_at(workload: Workload, trial: Trial, batch_size: int) -> list[_Seen]:
    """The operations of the second step at a batch size."""
    trial = replace(trial, batch_size=batch_size, micro_batch_size=batch_size)
    marking = _Marking()
    # From the start: of memory that it did not see taken, the profiler complains when it is freed.
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        stepper = Stepper(workload, trial, torch.device("cpu"))
        stream = stepper.stream(0)
        stepper.step(next(stream))  # makes gradients and state, and kernels that are kept
        micro_batches = next(stream)
        with marking:
            stepper.step(micro_batches)
    results = seen.profiler.kineto_results
    passing = dict(_passing_bytes(results.experimental_event_tree()))
    return [
        _Seen(name, n_bytes, passing.get(index, 0))
        for index, (name, n_bytes) in enumerate(marking.results)
    ]


class _Marking(TorchDispatchMode):
    """Puts a mark that the profiler sees around each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.results: list[tuple[str, int]] = []  # each operation's name and what it returned

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with record_function(f"{_MARK}{len(self.results)}"):
            out = func(*args, **(kwargs or {}))
        self.results.append((str(func), bytes_of(out)))
        return out


def bytes_of(results: Any) -> int:
    """Bytes of the tensors in what an operation returned."""
    return sum(
        leaf.numel() * leaf.element_size()
        for leaf in tree_leaves(results)
        if isinstance(leaf, Tensor)
    )


def _passing_bytes(events: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Of each mark: its index, and the most that was held inside above what is left at its end."""
    for event in events:
        if event.name.startswith(_MARK):
            held = most = 0
            for n_bytes in _allocations(event):
                held += n_bytes
                most = max(most, held)
            yield int(event.name.removeprefix(_MARK)), most - max(0, held)
        else:
            yield from _passing_bytes(event.children)


def _allocations(event: Any) -> list[int]:
    """Bytes got (positive) and given back inside of an event, in their order."""
    found: list[tuple[int, int]] = []
    waiting = list(event.children)
    while waiting:
        inner = waiting.pop()
        waiting += inner.children
        if inner.tag.name == "Allocation":
            found.append((inner.start_time_ns, inner.extra_fields.alloc_size))
    return [n_bytes for _, n_bytes in sorted(found, key=lambda each: each[0])]
