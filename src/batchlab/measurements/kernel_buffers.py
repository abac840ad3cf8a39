"""KernelBuffers: the memory that operations take and give back inside themselves.

oneDNN's convolutions copy their operands into a layout of their own. No shape tells of that, so
steps of two small batches are run, and what PyTorch's own profiler sees of the allocator inside
each operation is carried on to other batch sizes as a straight line.
"""

from __future__ import annotations

import itertools
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
class Piece:
    """A piece of memory that an operation takes or gives back, its size a line in the batch size.

    Attributes:
        slot: which piece of the operation, from 0.
        is_taken: whether it is taken; else it is given back.
        fixed_bytes: at a batch of none.
        each_bytes: what an example adds.
    """

    slot: int
    is_taken: bool
    fixed_bytes: float
    each_bytes: float

    def at(self, batch_size: int) -> Use:
        """Its slot and bytes; 0: it is given back."""
        n_bytes = max(1, round(self.fixed_bytes + self.each_bytes * batch_size))
        return self.slot, n_bytes if self.is_taken else 0


# Slot and bytes of a piece that is taken; 0 bytes: it is given back.
Use = tuple[int, int]


@dataclass(frozen=True, slots=True)
class KernelBuffers:
    """What each operation of a step takes and gives back before it returns.

    Attributes:
        names: of the operations, in their order.
        pieces: of each, in their order, what becomes its results among them; none where it gives
            nothing back.
        batch_size: the larger of the two batch sizes that were run.
        result_bytes: of each operation there, its results.
    """

    names: tuple[str, ...]
    pieces: tuple[tuple[Piece, ...], ...]
    batch_size: int
    result_bytes: tuple[int, ...]

    def at(self, names: Sequence[str], batch_size: int) -> list[tuple[Use, ...]]:
        """The pieces of each operation, none from where on the step does something else.

        The first step of a training does so at its end, where it makes the optimizer's state.
        """
        alike = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(names, self.names, strict=False)
        )
        known = [
            tuple(piece.at(batch_size) for piece in pieces)
            for pieces, _ in zip(self.pieces, alike, strict=False)
        ]
        return known + [()] * (len(names) - len(known))

    def are_known_of(self, names: Sequence[str]) -> bool:
        """Whether the pieces of all these operations are known."""
        return tuple(names) == self.names or not any(self.pieces)


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
    pairs = list(zip(first, second, strict=True))
    return KernelBuffers(
        names=tuple(each.name for each in first),
        pieces=tuple(_lines(less.uses, small, more.uses, large) for less, more in pairs),
        batch_size=large,
        result_bytes=tuple(each.result_bytes for each in second),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an operation's results take, and what it took and gave back on the way to them."""

    name: str
    result_bytes: int
    uses: tuple[Use, ...]


def _lines(less: Sequence[Use], small: int, more: Sequence[Use], large: int) -> tuple[Piece, ...]:
    """The pieces as lines through two batch sizes; through one, if the kernels do other things."""
    is_alike = large > small and [(s, n > 0) for s, n in less] == [(s, n > 0) for s, n in more]
    pieces = []
    for index, (slot, n_bytes) in enumerate(more):
        slope = n_bytes / large
        if is_alike:
            slope = (n_bytes - less[index][1]) / (large - small)
        pieces.append(Piece(slot, n_bytes > 0, n_bytes - slope * large, slope))
    return tuple(pieces)


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
    uses = dict(_uses(results.experimental_event_tree()))
    return [
        _Seen(name, n_bytes, uses.get(index, ()))
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


def _uses(events: Sequence[Any]) -> Iterator[tuple[int, tuple[Use, ...]]]:
    """Of each mark its index, and the pieces taken and given back inside, if any are given back."""
    for event in events:
        if event.name.startswith(_MARK):
            uses = tuple(_in_order(event))
            gives_back = any(n_bytes == 0 for _, n_bytes in uses)
            yield int(event.name.removeprefix(_MARK)), uses if gives_back else ()
        else:
            yield from _uses(event.children)


def _in_order(event: Any) -> Iterator[Use]:
    """What is taken and given back inside of an event."""
    found = []
    waiting = list(event.children)
    while waiting:
        inner = waiting.pop()
        waiting += inner.children
        if inner.tag.name == "Allocation":
            fields = inner.extra_fields
            found.append((inner.start_time_ns, fields.ptr, fields.alloc_size))
    slots: dict[int, int] = {}
    n_taken = 0
    for _, address, n_bytes in sorted(found, key=lambda each: each[0]):
        if n_bytes > 0:
            slots[address] = n_taken
            n_taken += 1
            yield slots[address], n_bytes
        elif address in slots:  # else it was taken before
            yield slots.pop(address), 0
