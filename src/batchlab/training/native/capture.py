"""Capture: all operations of a function, with its backward pass, recorded without values.

The function is run at two batch sizes, on meta tensors (without memory). A number that differs
between the two runs must be proportional to the batch size, or to 1 / batch size.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from batchlab.training.native.graph import STAND_IN, RefusedError, Scaled

_ANOTHER = 1_000_033  # the batch size of the second run; a prime, like STAND_IN of the first run


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor recorded on a `Tape`: its origin, and its layout in memory.

    Attributes:
        source: the tensor's index among the function's inputs and constants, or -1 if computed.
        call: the index of the call that returned the tensor, or -1.
        result: the tensor's index in the results of that call.
        base: the index of the tensor that this tensor is a view of, or -1 if it is no view.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    dtype: torch.dtype
    source: int = -1
    call: int = -1
    result: int = 0
    base: int = -1


@dataclass(frozen=True, slots=True)
class Ref:
    """An argument of a captured call that is a tensor: the tensor's index on the tape."""

    place: int


@dataclass(slots=True)
class Tape:
    """The record of the operations in one run of a function.

    Attributes:
        held: all tensors that the function used or made.
        calls: the function's operations, in order: the ATen name, and the arguments by name.
        constants: tensors that the function used in addition to its arguments.
        results: the indices of the returned tensors; None for a returned None.
    """

    held: list[Held] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)
    results: list[int | None] = field(default_factory=list)


class _Recorder(TorchDispatchMode):
    """The PyTorch mode that records a function's operations on a tape while the function runs."""

    def __init__(self, sources: Sequence[Tensor], n_writable: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tape = Tape()
        self._places: dict[int, int] = {}
        self._twins: dict[int, Tensor] = {}
        self._alive: list[Tensor] = []  # Tensors are kept alive, so that no id is used twice.
        self._of_memory: dict[int, list[int]] = {}  # For each storage, the indices of its tensors.
        self._stale: set[int] = set()
        self._n_writable = n_writable  # the function may write to the last sources, the batch
        for place, tensor in enumerate(sources):
            self._hold(tensor, source=place)
        self._n_sources = len(sources)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # with True, PyTorch would load its own compiler, which takes seconds

    def place_of(self, tensor: Tensor) -> int:
        """Return a tensor's index on the tape; refuse unknown tensors and outdated views."""
        place = self._places.get(id(tensor))
        if place is None:
            raise RefusedError("it uses a tensor of unknown origin")
        if place in self._stale:
            raise RefusedError("it uses a view of a tensor that changes")
        return place

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record one operation; run the operation on meta tensors to get the results' shapes."""
        kwargs = kwargs or {}
        if not any(tensor.is_meta for tensor in _tensors_in((args, kwargs))):
            return self._created(func, args, kwargs)
        args, kwargs = tree_map_only(Tensor, self._twin, (args, kwargs))
        try:
            results = func(*args, **kwargs)
        except (NotImplementedError, RuntimeError) as error:
            if "meta" in str(error).lower():
                raise RefusedError("what it computes depends on values of its data") from error
            raise
        self._record(func, args, kwargs, results)
        return results

    def _created(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operation without meta tensors as input, such as `ones`; record a meta result."""
        results = func(*args, **kwargs)
        for result in _tensors_in(results):
            if result.is_meta:
                self.tape.calls.append((_name(func), _by_name(func, args, kwargs)))
                self._hold(result, call=len(self.tape.calls) - 1)
        return results

    def _twin(self, tensor: Tensor) -> Tensor:
        """Return a meta tensor unchanged; record other tensors as constants, return meta copies."""
        if tensor.is_meta:
            return tensor
        if id(tensor) not in self._twins:
            # Make a copy without gaps in memory. The entries along an expanded dimension (stride 0)
            # are all the same entry, so copy only the first.
            constant = tensor.detach()
            for dim, step in enumerate(tensor.stride()):
                if not step:
                    constant = constant.narrow(dim, 0, min(1, tensor.shape[dim]))
            constant = constant.clone(memory_format=torch.contiguous_format)
            twin = torch.empty_like(constant, device="meta")
            self._alive.append(tensor)
            self.tape.constants.append(constant)
            self._hold(twin, source=self._n_sources + len(self.tape.constants) - 1)
            if constant.shape != tensor.shape:
                twin = twin.expand(tensor.shape)
                self._hold(twin, base=len(self.tape.held) - 1)
            self._twins[id(tensor)] = twin
        return self._twins[id(tensor)]

    def _record(self, func: Any, args: Any, kwargs: Any, results: Any) -> None:
        tensors = _tensors_in((args, kwargs))
        refs = tree_map_only(Tensor, lambda tensor: Ref(self.place_of(tensor)), (args, kwargs))
        arguments = _by_name(func, *refs)
        places = dict(zip(map(_memory, tensors), map(self.place_of, tensors), strict=True))
        name = _name(func)
        if func._schema.is_mutable:
            self._check_may_write(func, tensors[0])
            places = {}  # so that the result is recorded as a new tensor, not as a view
            name = re.sub(r"_(?=\.|$)", "", name, count=1)
        call = len(self.tape.calls)
        self.tape.calls.append((name, arguments))
        if not isinstance(results, (tuple, list)):
            results = [results]
        for number, result in enumerate(results):
            if isinstance(result, Tensor):
                base = places.get(_memory(result), -1)
                self._hold(result, call=call, result=number, base=base)

    def _check_may_write(self, func: Any, target: Tensor) -> None:
        """Accept only in-place writes into the batch or a call's result, not into a view."""
        place = self.place_of(target)
        held = self.tape.held[place]
        writable = held.call >= 0 or (
            self._n_sources - self._n_writable <= held.source < self._n_sources
        )
        name = _name(func)
        if held.base >= 0 or not writable or not name.split(".")[0].endswith("_"):
            raise RefusedError(f"it writes into a tensor that it was given: {name}")
        self._stale.update(self._of_memory[_memory(target)])

    def _hold(self, tensor: Tensor, *, base: int = -1, **origin: int) -> None:
        held = Held(
            tuple(tensor.shape),
            tuple(tensor.stride()),
            int(tensor.storage_offset()),
            tensor.dtype,
            base=base,
            **origin,
        )
        place = len(self.tape.held)
        self.tape.held.append(held)
        self._places[id(tensor)] = place
        self._alive.append(tensor)
        self._of_memory.setdefault(_memory(tensor), []).append(place)


def _tensors_in(values: Any) -> list[Tensor]:
    """Return the tensors among arguments or results, in order."""
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _name(func: Any) -> str:
    return str(func).removeprefix("aten.").removesuffix(".default")


def _by_name(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return all arguments of a call by name, with default values for missing arguments."""
    arguments = {}
    for place, spec in enumerate(func._schema.arguments):
        if place < len(args):
            arguments[spec.name] = args[place]
        elif spec.has_default_value():
            arguments[spec.name] = spec.default_value
    return arguments | kwargs


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tape(
    function: Callable[..., Sequence[Tensor | None]],
    model: nn.Module,
    columns: Sequence[Tensor],
    batch_size: int,
) -> Tape:
    batch = []
    for column in columns:
        shape = (batch_size, *column.shape[1:])
        batch.append(torch.empty(shape, dtype=column.dtype, device="meta"))
    tensors = [*model.parameters(), *model.buffers()]
    twins = [torch.empty_like(tensor, device="meta") for tensor in tensors]
    for at, tensor in enumerate(tensors):
        if isinstance(tensor, nn.Parameter):
            twins[at] = nn.Parameter(twins[at], tensor.requires_grad)
    # `deepcopy` uses the copies in its memo, so the copied model has the meta tensors `twins`.
    twin = copy.deepcopy(model, dict(zip(map(id, tensors), twins, strict=True)))
    with _Recorder([*twins, *batch], n_writable=len(batch)) as recorder:
        results = function(twin, batch)
    tape: Tape = recorder.tape
    for result in results:
        place = recorder.place_of(result) if result is not None else None
        tape.results.append(place)
    return tape


def captured(
    function: Callable[..., Sequence[Tensor | None]],
    model: nn.Module,
    columns: Sequence[Tensor],
) -> Tape:
    """Record the operations of `function(model, batch)`, in a form valid at any batch size.

    Raises:
        RefusedError: the operations differ between batch sizes, or can't be recorded.
    """
    first = _tape(function, model, columns, STAND_IN)
    second = _tape(function, model, columns, _ANOTHER)
    names = [name for name, _ in first.calls]
    other_names = [name for name, _ in second.calls]
    is_same_size = len(first.held) == len(second.held)
    if names != other_names or not is_same_size or first.results != second.results:
        raise RefusedError("it computes something else at another batch size")
    for one, other in zip(first.constants, second.constants, strict=True):
        if one.shape != other.shape or not torch.equal(one, other):
            raise RefusedError("a tensor depends on the batch size")
    for tensor, twin in zip(first.held, second.held, strict=True):
        _joined(list(tensor.shape), list(twin.shape), "a shape")
    for place, (name, arguments) in enumerate(first.calls):
        first.calls[place] = name, _joined(arguments, second.calls[place][1], name)
    return first


def _joined(one: Any, other: Any, what: str) -> Any:
    """Merge the values from both runs; a number that depends on the batch size becomes `Scaled`."""
    if isinstance(one, dict):
        return {key: _joined(value, other.get(key), what) for key, value in one.items()}
    if isinstance(one, (list, tuple)) and len(one) == len(other):
        return type(one)(_joined(a, b, what) for a, b in zip(one, other, strict=True))
    is_number = isinstance(one, (int, float)) and isinstance(other, (int, float))
    if one == other or (is_number and one != one and other != other):
        return one
    if is_number:
        if one * _ANOTHER == other * STAND_IN:
            return Scaled(one / STAND_IN, 1)
        if abs(one * STAND_IN - other * _ANOTHER) <= 1e-12 * abs(one * STAND_IN):
            return Scaled(one * STAND_IN, -1)
    raise RefusedError(f"{what} depends on the batch size")
