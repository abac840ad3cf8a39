"""Allocations: which tensors the operations of a training step make, found without computing.

The step is taken on fake tensors, which have a shape and no values (`torch._subclasses`), so that
any batch size can be asked for whether or not it fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from batchlab.measurements.kernel_buffers import KernelBuffers, Use, bytes_of
from batchlab.records.reason import Reason
from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

# The first step also makes gradients and the optimizer's state; the second lets go of the first's.
RECORDED_STEPS = 3


@dataclass(frozen=True, slots=True)
class Allocated:
    """A tensor that an operation makes: what is needed to ask for its memory."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @property
    def n_bytes(self) -> int:
        """Of its memory, gaps between its elements included."""
        if 0 in self.shape:
            return 0
        steps = zip(self.shape, self.stride, strict=True)
        return (1 + sum((n - 1) * step for n, step in steps)) * self.dtype.itemsize

    def empty(self) -> Tensor:
        """Its memory, not written to."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that makes tensors.

    Attributes:
        name: PyTorch's.
        made: what it returns, with an `Allocated` for each tensor.
        inside: what it takes and gives back before it returns, if it gives anything back.
    """

    name: str
    made: Any
    inside: tuple[Use, ...] = ()


Step = tuple[Operation, ...]


class _NotStridedError(Exception):
    """A sparse tensor or the like, whose memory is not told by its shape."""


def recorded_steps(
    workload: Workload, trial: Trial, buffers: KernelBuffers
) -> tuple[Step, ...] | Reason:
    """The operations of the first three steps of `trial` that make tensors, in their order.

    Args:
        workload: it is trained on the CPU, in name only; its global random state is used up.
        trial: gives the batch size and how it is cut.
        buffers: what operations take beside their results.

    Returns:
        The steps; or why they cannot be known without computing: the step asks for a tensor's
        values, or has an operation whose results PyTorch does not know without running it.
    """
    stepper = Stepper(workload, trial, torch.device("cpu"))
    micro_batches = next(stepper.stream(0))
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    steps = []
    for _ in range(RECORDED_STEPS):
        try:
            with fake, _Recording() as recording:
                stepper.step(micro_batches)
        except Exception as error:  # the user's own code meets tensors without values here
            return _why_not(error)
        steps.append(recording.step(buffers, trial.micro_batch_size))
    size, known = trial.micro_batch_size, buffers.batch_size
    if size == known:
        return _unlike(recording, buffers) or tuple(steps)
    if not buffers.are_known_of(recording.names):
        text = f"other operations at batch size {size} than at {known}"
        return Reason.of("steps_differ", text=text)
    return tuple(steps)


def _why_not(error: Exception) -> Reason:
    """Of an error in a step without values: whether it is that which it lacks."""
    text = " ".join(str(error).split())[:200]
    lacks_values = isinstance(error, _NEEDS_VALUES) or any(word in text for word in _OF_VALUES)
    name = type(error).__name__.lstrip("_")
    if lacks_values:
        return Reason.of("step_needs_values", error=name, text=text)
    return Reason.of("step_not_followed", error=name, text=text)


_NEEDS_VALUES = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
)
# What PyTorch says of tensors without values where it has no error of its own for it.
_OF_VALUES = ("FakeTensor", "data pointer", "tensor subclass")


def _unlike(recording: _Recording, real: KernelBuffers) -> Reason | None:
    """Where a step without values makes other results than the real step; None: nowhere."""
    pairs = zip(
        recording.names, recording.result_bytes, real.names, real.result_bytes, strict=False
    )
    for name, n_bytes, real_name, real_bytes in pairs:
        if name != real_name:
            return Reason.of("steps_differ", text=f"{name} instead of {real_name}")
        if n_bytes != real_bytes:
            text = f"{name} makes {n_bytes} bytes instead of {real_bytes}"
            return Reason.of("steps_differ", text=text)
    if len(recording.names) != len(real.names):
        text = f"{len(recording.names)} operations instead of {len(real.names)}"
        return Reason.of("steps_differ", text=text)
    return None


def makes_tensors(operation: OpOverload, inputs: Sequence[Tensor]) -> bool:
    """Whether memory is all that a dry run needs of it.

    Not so of views, which are free, of what writes into its arguments, and of scalars: a step
    count, say, whose value decides how an optimizer goes on.
    """
    returned = operation._schema.returns
    aliases = any(value.alias_info is not None for value in returned)
    return bool(returned) and not aliases and not are_scalars(inputs)


def are_scalars(inputs: Sequence[Tensor]) -> bool:
    """Whether there are inputs, of a single element each."""
    return bool(inputs) and all(tensor.numel() <= 1 for tensor in inputs)


def tensors_in(*values: Any) -> list[Tensor]:
    """The tensors in nested arguments."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


class _Recording(TorchDispatchMode):
    """Writes down what is made by each operation that reaches it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []
        self.result_bytes: list[int] = []
        self._made: list[tuple[int, Any]] = []  # which of them made what

    def step(self, buffers: KernelBuffers, batch_size: int) -> Step:
        """What was recorded."""
        inside = buffers.at(self.names, batch_size)
        return tuple(
            Operation(self.names[index], made, inside[index]) for index, made in self._made
        )

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.namespace == "prim":  # the fake tensors' own
            return out
        if makes_tensors(func, tensors_in(args, kwargs)):
            self._made.append((len(self.names), tree_map_only(Tensor, _allocated, out)))
        self.names.append(str(func))
        self.result_bytes.append(bytes_of(out))
        return out


def _allocated(tensor: Tensor) -> Allocated:
    if tensor.layout is not torch.strided:
        raise _NotStridedError(f"it makes a tensor of layout {tensor.layout}")
    return Allocated(tuple(tensor.shape), tensor.stride(), tensor.dtype)
