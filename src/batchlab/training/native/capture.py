"""Capture: a function, with its backward pass, converted to a graph while it runs without values.

The function is run at two batch sizes, on meta tensors (without memory). A number that differs
between the two runs must be proportional to the batch size, or to 1 / batch size. The second run
adds each operation to the graph.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from batchlab.training.native.graph import STAND_IN, Graph, RefusedError, Scaled, View
from batchlab.training.native.operations import OPERATIONS, lowered, viewed

_ANOTHER = 1_000_033  # the batch size of the first run; a prime, like STAND_IN of the second run


@dataclass(frozen=True, slots=True)
class _Ref:
    """An argument of a recorded operation that is a tensor: the tensor's number in its run."""

    number: int


@dataclass(eq=False, slots=True)
class _Recorded:
    """A tensor of one run.

    Attributes:
        tensor: the meta tensor; it is kept alive, so that no other tensor gets its id.
        ref: the tensor's number.
        view: in the second run, the tensor in the graph; None for a result without a view.
        is_writable: whether the function may write into the tensor.
        is_stale: whether the function has written into the tensor's memory since this record.
    """

    tensor: Tensor
    ref: _Ref
    view: View | None
    is_writable: bool
    is_stale: bool = False


class _Recorder(TorchDispatchMode):
    """The PyTorch mode that records a function's operations while the function runs.

    Attributes:
        graph: the graph of the second run; in the first run, a graph with constants only.
        calls: each operation's name, arguments and result shapes.
    """

    def __init__(self, first_run: _Recorder | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = Graph()
        self.calls: list[tuple[str, dict[str, Any], list[list[int]]]] = []
        self._first_run = first_run
        self._in_order: list[_Recorded] = []
        self._by_id: dict[int, _Recorded] = {}
        self._twins: dict[int, tuple[Tensor, Tensor]] = {}  # by id: a constant and its meta copy

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # with True, PyTorch would load its own compiler, which takes seconds

    def recorded(self, tensor: Tensor) -> _Recorded:
        """Return the record of a tensor; refuse unknown tensors and outdated views."""
        recorded = self._by_id.get(id(tensor))
        if recorded is None:
            raise RefusedError("it uses a tensor of unknown origin")
        if recorded.is_stale:
            raise RefusedError("it uses a view of a tensor that changes")
        return recorded

    def hold_source(self, kind: str, place: int, tensor: Tensor) -> None:
        """Record a parameter, buffer or constant, or a column of the batch."""
        view = None
        if self._first_run is not None:
            view = self.graph.add(kind, tuple(tensor.shape), tensor.dtype, place=place)
        self._hold(tensor, view, is_writable=kind == "column")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation on meta tensors, and record the operation."""
        kwargs = kwargs or {}
        is_meta = any(tensor.is_meta for tensor in _tensors_in((args, kwargs)))
        if is_meta:
            args, kwargs = tree_map_only(Tensor, self._twin, (args, kwargs))
            if _name(func) not in OPERATIONS:
                with self:
                    results = _in_parts(func, args, kwargs)
                if results is not NotImplemented:
                    return results
        try:
            results = func(*args, **kwargs)
        except (NotImplementedError, RuntimeError) as error:
            if "meta" in str(error).lower():
                raise RefusedError("what it computes depends on values of its data") from error
            raise
        if is_meta or any(tensor.is_meta for tensor in _tensors_in(results)):
            self._record(func, args, kwargs, results)
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
            self.hold_source("constant", len(self.graph.constants), twin)
            self.graph.constants.append(constant)
            if constant.shape != tensor.shape:
                expanded = twin.expand(tensor.shape)
                self._hold(expanded, self._view(expanded, self.recorded(twin)), is_writable=False)
                twin = expanded
            self._twins[id(tensor)] = tensor, twin
        return self._twins[id(tensor)][1]

    def _record(self, func: Any, args: Any, kwargs: Any, results: Any) -> None:
        name, tensors = _name(func), _tensors_in((args, kwargs))
        by_memory = {_memory(tensor): self.recorded(tensor) for tensor in tensors}
        arguments = _by_name(func, args, kwargs)
        arguments = tree_map_only(Tensor, lambda tensor: self.recorded(tensor).ref, arguments)
        if func._schema.is_mutable:
            self._write(name, tensors[0])
            # Forget the arguments' memory: the result is then recorded as new, not as their view.
            by_memory = {}
        arguments = self._joined_with_first_run(name, arguments, _tensors_in(results))
        computed = {}  # the results with memory of their own, by index
        for place, result in enumerate(
            results if isinstance(results, (tuple, list)) else [results]
        ):
            if not isinstance(result, Tensor):
                continue
            base = by_memory.get(_memory(result))
            if base is None:
                computed[place] = result
            else:
                self._hold(result, self._view(result, base), is_writable=False)
        views: dict[int, View | None] = {}
        if computed and self._first_run is not None:
            views = lowered(self.graph, name, self.in_graph(arguments), computed)
        for place, result in computed.items():
            self._hold(result, views.get(place), is_writable=True)

    def _write(self, name: str, target: Tensor) -> None:
        """Accept only in-place writes into the batch or an operation's result, not into a view."""
        if not self.recorded(target).is_writable:
            raise RefusedError(f"it writes into a tensor that it was given: {name}")
        for recorded in self._in_order:
            if _memory(recorded.tensor) == _memory(target):
                recorded.is_stale = True

    def _joined_with_first_run(
        self, name: str, arguments: dict[str, Any], results: Sequence[Tensor]
    ) -> Any:
        """Store an operation; in the second run, return arguments that hold at any batch size."""
        shapes = [list(result.shape) for result in results]
        self.calls.append((name, arguments, shapes))
        if self._first_run is None:
            return arguments
        place = len(self.calls) - 1
        if place >= len(self._first_run.calls) or self._first_run.calls[place][0] != name:
            raise _DIFFERS
        _, other_arguments, other_shapes = self._first_run.calls[place]
        _joined(shapes, other_shapes, "a shape")
        return _joined(arguments, other_arguments, name)

    def in_graph(self, arguments: Any) -> Any:
        """Return arguments in which the view in the graph replaces each `_Ref`."""
        return tree_map_only(_Ref, lambda ref: self._in_order[ref.number].view, arguments)

    def _view(self, tensor: Tensor, base: _Recorded) -> View | None:
        """Return a view of a recorded tensor in the graph; None in the first run."""
        return None if base.view is None else viewed(tensor, base.tensor, base.view)

    def _hold(self, tensor: Tensor, view: View | None, *, is_writable: bool) -> None:
        recorded = _Recorded(tensor, _Ref(len(self._in_order)), view, is_writable)
        self._in_order.append(recorded)
        self._by_id[id(tensor)] = recorded


_DIFFERS = RefusedError("it computes something else at another batch size")


def _in_parts(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute an operation by other operations, by PyTorch's own rule.

    The result is NotImplemented for a view, and for an operation without a rule.
    """
    results = func.decompose(*args, **kwargs)
    if results is not NotImplemented:
        return results
    if func._schema.is_mutable:  # for example, divide `silu_` into `silu` and a copy
        packet = getattr(torch.ops.aten, func._schema.name.removeprefix("aten::")[:-1], None)
        out_of_place = getattr(packet, func._overloadname, None)
        if out_of_place is not None:
            return args[0].copy_(out_of_place(*args, **kwargs))
    is_view = any(result.alias_info for result in func._schema.returns)
    if is_view or func not in decomposition_table:
        return NotImplemented
    return decomposition_table[func](*args, **kwargs)


def _tensors_in(values: Any) -> list[Tensor]:
    """Return the tensors among arguments or results, in order."""
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _name(func: Any) -> str:
    """Return the name of an operation in `OPERATIONS`; for `add_`, this is the name of `add`."""
    name = str(func).removeprefix("aten.").removesuffix(".default")
    return re.sub(r"_(?=\.|$)", "", name, count=1) if func._schema.is_mutable else name


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


def _run(
    function: Callable[..., Sequence[Tensor | None]],
    model: nn.Module,
    columns: Sequence[Tensor],
    batch_size: int,
    first_run: _Recorder | None = None,
) -> tuple[_Recorder, list[_Ref | None]]:
    """Run a function at one batch size; return the recorder, and the numbers of the results."""
    recorder = _Recorder(first_run)
    twins: dict[int, Tensor] = {}
    for place, parameter in enumerate(model.parameters()):
        twin = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        recorder.hold_source("parameter", place, twin)
        twins[id(parameter)] = twin
    for place, buffer in enumerate(model.buffers()):
        twins[id(buffer)] = torch.empty_like(buffer, device="meta")
        recorder.hold_source("buffer", place, twins[id(buffer)])
    batch = []
    for place, column in enumerate(columns):
        shape = (batch_size, *column.shape[1:])
        batch.append(torch.empty(shape, dtype=column.dtype, device="meta"))
        recorder.hold_source("column", place, batch[-1])
    # `deepcopy` uses the copies in its memo, so the copied model has the meta tensors.
    twin_model = copy.deepcopy(model, twins)
    with recorder:
        results = function(twin_model, batch)
    return recorder, [None if it is None else recorder.recorded(it).ref for it in results]


def captured(
    function: Callable[..., Sequence[Tensor | None]],
    model: nn.Module,
    columns: Sequence[Tensor],
) -> tuple[Graph, list[View | None]]:
    """Convert `function(model, batch)` to a graph for any batch size; return graph and results.

    Raises:
        RefusedError: the operations differ between batch sizes, can't be recorded, or have no row
            in `OPERATIONS`; or a memory layout is unsupported.
    """
    first, first_results = _run(function, model, columns, _ANOTHER)
    second, results = _run(function, model, columns, STAND_IN, first)
    if len(second.calls) < len(first.calls) or results != first_results:
        raise _DIFFERS
    for one, other in zip(second.graph.constants, first.graph.constants, strict=True):
        if one.shape != other.shape or not torch.equal(one, other):
            raise RefusedError("a tensor depends on the batch size")
    return second.graph, second.in_graph(results)


def _joined(one: Any, other: Any, what: str) -> Any:
    """Merge the values `one` and `other`, recorded in two runs with different batch sizes.

    A number that is proportional to the batch size, or to its inverse, becomes a `Scaled`.
    """
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
