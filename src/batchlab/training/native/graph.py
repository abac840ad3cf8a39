"""Graph: the computation of a step as expressions, sums, matrix products and views of them.

In a shape, the number `STAND_IN` stands for the batch size. Only the size of the first dimension
may be a multiple of `STAND_IN`. Such a shape "has rows": the first dimension can be divided into
equal parts, one for each example.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

STAND_IN = 1_000_003  # a prime larger than any layer's width, so that no other size has this factor

Shape = tuple[int, ...]

C_TYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.int64: "int64_t",
    torch.int32: "int32_t",
    torch.int16: "int16_t",
    torch.int8: "int8_t",
    torch.uint8: "uint8_t",
    torch.bool: "uint8_t",
}


class RefusedError(Exception):
    """Raised if a workload can't be trained in C; the error's text is a clause with the reason."""


def unsupported(operation: str) -> RefusedError:
    """Return the error to raise for an operation, type or optimizer that has no C code."""
    return RefusedError(f"batchlab's C code does not cover {operation}")


@dataclass(frozen=True, slots=True)
class Scaled:
    """A number that depends on the batch size B: `factor * B ** power`, with power 1 or -1."""

    factor: float
    power: int

    def __str__(self) -> str:
        """Return a C expression for the number; the C variable `B` is the batch size."""
        if self.power == 1:
            return f"({self.factor!r} * (double)B)"
        return f"({self.factor!r} / B)"


Number = int | float | Scaled


def has_rows(shape: Shape) -> bool:
    """Return whether a tensor of this shape has a part for each example of the batch."""
    return any(size and size % STAND_IN == 0 for size in shape)


def contiguous(shape: Shape) -> Shape:
    """Return the strides of a tensor that has this shape and no gaps in memory."""
    return torch.empty(shape, device="meta").stride()


def number_of(shape: Shape, dims: Sequence[int]) -> Number:
    """Return the product of the sizes of `dims`, as a `Scaled` if it depends on the batch size."""
    n = math.prod(map(shape.__getitem__, dims))
    return Scaled(n // STAND_IN, 1) if has_rows((n,)) else n


def times_rows(n: int, rows: str) -> str:
    """Return the number of elements `n` as C, with `rows` in place of the factor `STAND_IN`."""
    if n % STAND_IN:
        return str(n)
    if n == STAND_IN:
        return rows
    return f"{n // STAND_IN} * {rows}"


@dataclass(eq=False, slots=True)
class Node:
    """A tensor that is read or computed, laid out without gaps.

    Attributes:
        kind: what the tensor is. A tensor that is read is a "parameter", "buffer", "constant" or
            "column" (these are sources). A computed tensor is a "point" (one expression for all
            elements), "sum", "peak" (a maximum), "product" (of matrices; a third operand is a bias
            to add), "take" (rows of a table), "scatter" (the gradient of "take") or "call" (of a
            function of kernels.c).
        shape: the tensor's shape.
        dtype: the type of its elements.
        operands: the views that the node is computed from, each in the shape in which it is used.
        text: the C code of a "point", with `{0}`, `{1}` for the operands and `{d0}`, `{d1}` for the
            index in each dimension; or the C code of a "call", with `{0}`, `{1}` for the operands
            and `{out}` for the memory to fill.
        dims: the dimensions of the operand over which a "sum" or "peak" is computed.
        place: the index of a source among the sources of the same kind.
    """

    kind: str
    shape: Shape
    dtype: torch.dtype
    operands: tuple[View, ...] = ()
    text: str = ""
    dims: tuple[int, ...] = ()
    place: int = -1

    @property
    def rows(self) -> bool:
        """Whether the node's first dimension consists of equal parts, one for each example."""
        return has_rows(self.shape)

    @property
    def size(self) -> int:
        """The number of elements of the node."""
        return math.prod(self.shape)

    @property
    def inputs(self) -> list[Node]:
        """The nodes that the operands are views of."""
        return [view.node for view in self.operands]

    @property
    def space(self) -> Shape:
        """The lengths of the nested loops that compute the node, the outermost loop first."""
        if self.kind in ("sum", "peak", "scatter"):
            return loops_of(self.operands[0].shape)
        return loops_of(self.shape)

    @property
    def ends_lines(self) -> bool:
        """Whether the node is a sum or maximum over only the last dimension of its operand."""
        return self.kind in ("sum", "peak") and self.dims == (len(self.space) - 1,)

    @property
    def accumulates(self) -> bool:
        """Whether loops add to the node's elements, which are complete only after the last loop."""
        is_sum = self.kind in ("sum", "peak") and not self.ends_lines
        is_alone = self.kind in ("product", "call")
        over_examples = is_alone and not self.rows and self.operands[0].rows
        return is_sum or over_examples or self.kind == "scatter"

    @property
    def c_type(self) -> str:
        """The C type of the node's elements; double for a float32 sum that is a single number."""
        is_total = self.accumulates and self.kind == "sum" and self.size == 1
        if is_total and self.dtype == torch.float32:
            return "double"
        return C_TYPES[self.dtype]


def loops_of(shape: Shape) -> Shape:
    """Return `shape`, extended to two dimensions by dimensions of size 1 if it has fewer.

    If the only dimension depends on the batch size, the new dimension is the last, else the first.
    """
    if len(shape) >= 2:
        return shape
    if not shape:
        return (1, 1)
    return (*shape, 1) if has_rows(shape) else (1, *shape)


@dataclass(frozen=True, slots=True)
class View:
    """A view of a node: element `index` is the node's element `offset + sum(index * strides)`."""

    node: Node
    shape: Shape
    strides: Shape
    offset: int = 0

    @classmethod
    def of(cls, node: Node) -> View:
        """Return the whole node as a view."""
        return cls(node, node.shape, contiguous(node.shape))

    @property
    def dtype(self) -> torch.dtype:
        """The type of the node's elements."""
        return self.node.dtype

    @property
    def rows(self) -> bool:
        """Whether the view's first dimension consists of equal parts, one for each example."""
        return has_rows(self.shape)

    @property
    def is_whole(self) -> bool:
        """Whether the view has all the node's elements in memory order; its shape may differ."""
        dims = [dim for dim, size in enumerate(self.shape) if size != 1]
        view = self.permuted(dims)
        is_all = math.prod(self.shape) == self.node.size
        return is_all and self.offset == 0 and view.strides == contiguous(view.shape)

    def expanded(self, shape: Shape) -> View:
        """Return the view broadcast to a larger shape, by PyTorch's rules."""
        view = torch.empty_strided(self.shape, self.strides, device="meta").expand(shape)
        return self.reshaped(shape, view.stride())

    def reshaped(self, shape: Shape, strides: Shape) -> View:
        """Return a view of the node from the same offset, with another shape and other strides."""
        return View(self.node, shape, strides, self.offset)

    def permuted(self, order: Sequence[int]) -> View:
        """Return a view with its dimensions in `order`; dimensions left out must have size 1."""
        shape = tuple(map(self.shape.__getitem__, order))
        return self.reshaped(shape, tuple(map(self.strides.__getitem__, order)))

    def with_dimension(self, at: int) -> View:
        """Return a view with a dimension of size 1 inserted at index `at`."""
        shape = (*self.shape[:at], 1, *self.shape[at:])
        return self.reshaped(shape, (*self.strides[:at], 0, *self.strides[at:]))


def literal(number: Number, suffix: str | None) -> str:
    """Return a number in C, by `suffix`: "f" for a float, "" for a double, None for an integer."""
    if isinstance(number, Scaled):
        kind = {None: "int64_t", "f": "float", "": "double"}[suffix]
        return f"({kind}){number}"
    if suffix is None:
        return str(int(number))
    if math.isnan(number):
        return "NAN"
    if math.isinf(number):
        return f"({'-' * (number < 0)}INFINITY)"
    return f"({float(number)!r}{suffix})"


_CALL = re.compile(r"[a-z]\w*f?\((?!float|double)")  # matches a call of a C function for floats


@dataclass(slots=True)
class Graph:
    """The computation of a step or an evaluation.

    Attributes:
        outputs: the scalars that are reported for each batch: in a step, only the loss.
        gradients: each parameter's gradient; None if the parameter has no effect on the loss.
        constants: tensors that belong neither to the model nor to the data.
        n_draws: the number of operations that draw random numbers.
    """

    outputs: list[View] = field(default_factory=list)
    gradients: list[View | None] = field(default_factory=list)
    constants: list[torch.Tensor] = field(default_factory=list)
    n_draws: int = 0
    _nodes: dict[tuple[Any, ...], Node] = field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        """All nodes, operands before the nodes that use them."""
        return list(self._nodes.values())

    @property
    def results(self) -> list[View]:
        """The outputs, and the gradients that are not None."""
        return [*self.outputs, *filter(None, self.gradients)]

    def add(self, kind: str, shape: Shape, dtype: torch.dtype, **details: Any) -> View:
        """Add a node unless there is an equal node, and return a view of the whole node.

        Several metrics may call the model; equal nodes are then computed only once.
        """
        if dtype not in C_TYPES:
            raise unsupported(f"numbers of type {dtype}")
        if has_rows(tuple(shape[1:])):
            raise unsupported("tensors whose first dimension is not the examples of a batch")
        key = (kind, tuple(shape), dtype, *details.items())
        if key not in self._nodes:
            self._nodes[key] = Node(kind, tuple(shape), dtype, **details)
        return View.of(self._nodes[key])

    def point(
        self,
        text: str,
        *operands: View | Number,
        shape: Shape | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> View:
        """Add an elementwise expression in C, in which `{0}` stands for the first operand."""
        dtypes = {dtype}
        shapes = []
        for operand in operands:
            if isinstance(operand, View):
                dtypes.add(operand.dtype)
                shapes.append(operand.shape)
        if shape is None:
            shape = tuple(torch.broadcast_shapes(*shapes))
        is_float = any(kind.is_floating_point for kind in dtypes)
        is_double = torch.float64 in dtypes
        if _CALL.search(text) and (is_double or not is_float):
            raise unsupported(f"numbers of type {dtype}")
        suffix = None
        if is_double:
            suffix = ""
        elif is_float:
            suffix = "f"
        names: list[str] = []
        shaped: list[View] = []
        for operand in operands:
            if not isinstance(operand, View):
                names.append(literal(operand, suffix))
                continue
            node = operand.node
            if node.kind == "point" and not node.operands and "{" not in node.text:
                # Write a constant itself into the expression, so that no loop stores the constant.
                names.append(f"(({node.c_type})({node.text}))")
                continue
            name = f"{{{len(shaped)}}}"
            if is_float and not operand.dtype.is_floating_point:
                name = f"(float){name}"
            names.append(name)
            shaped.append(operand.expanded(shape))
        text = re.sub(r"\{(\d+)\}", lambda place: names[int(place[1])], text)
        if dtype == torch.bool:  # convert to 0 or 1, because true + true must be true, not 2
            text = f"(({text}) != 0)"
        return self.add("point", shape, dtype, operands=tuple(shaped), text=text)

    def draw(self, x: View, chance: float) -> View:
        """Add a random mask to the graph, shaped like `x` and drawn in each step.

        A value of the mask is 1 with probability `chance`, else 0.
        """
        text = f"(uniform_of(noise, {self.n_draws}, {{element}}) < {chance!r}f ? 1.0f : 0.0f)"
        self.n_draws += 1
        return self.point(text, shape=x.shape)

    def sum(
        self, x: View, dims: Sequence[int], *, keep: bool = False, dtype: torch.dtype | None = None
    ) -> View:
        """Return the sum over the dimensions `dims`, or over all dimensions if `dims` is empty."""
        return self._reduced("sum", x, dims, keep, dtype or x.dtype)

    def peak(self, x: View, dim: int) -> View:
        """Return the maximum along dimension `dim`, which has size 1 in the result."""
        return self._reduced("peak", x, [dim], True, x.dtype)

    def mean(self, x: View, dims: Sequence[int], *, keep: bool = False) -> View:
        """Return the mean over the dimensions `dims`, or over all dimensions if `dims` is empty."""
        n = number_of(x.shape, _dims(x.shape, dims))
        return self.point("{0} / {1}", self.sum(x, dims, keep=keep), n, dtype=x.dtype)

    def _reduced(
        self, kind: str, x: View, dims: Sequence[int], keep: bool, dtype: torch.dtype
    ) -> View:
        if not x.shape:
            return self.point("{0}", x, dtype=dtype)
        reduced = _dims(x.shape, dims)
        # Move the examples to the first dimension, where loops require them.
        order = sorted(range(len(x.shape)), key=lambda dim: not has_rows((x.shape[dim],)))
        x = x.permuted(order)
        gone = tuple(at for at, dim in enumerate(order) if dim in reduced)
        if kind == "peak" and (gone != (len(x.shape) - 1,) or has_rows(x.shape[-1:])):
            raise unsupported("max not over the last dimension")
        shape = tuple(size for dim, size in enumerate(x.shape) if dim not in gone)
        whole = list(x.shape)
        for dim in gone:
            whole[dim] = 1
        # Shift indices by 1 if `loops_of` will insert a dimension before the only dimension.
        is_widened = len(x.shape) == 1 and not has_rows(x.shape)
        over = tuple(dim + is_widened for dim in gone)
        reduction = self.add(kind, shape, dtype, operands=(x,), dims=over)
        back = [order.index(dim) for dim in range(len(order)) if keep or dim not in reduced]
        return reduction.reshaped(tuple(whole), contiguous(tuple(whole))).permuted(back)

    def product(self, a: View, b: View, bias: View | None = None) -> View:
        """Return the product of two matrices (or two batches of matrices), plus the bias."""
        shape: Shape = (a.shape[-2], b.shape[-1])
        if len(a.shape) > 2:
            shape = (math.prod(a.shape[:-2]), *shape)
        operands = [self.plain(a), self.plain(b)]
        if bias is not None:
            operands.append(self.plain(bias.expanded(shape)))
        return self.add("product", shape, torch.float32, operands=tuple(operands))

    def plain(self, x: View) -> View:
        """Return `x` as float if it is a float32 sum that C stores as double, else `x` itself."""
        return x if x.node.c_type == C_TYPES[x.dtype] else self.point("{0}", x)


def _dims(shape: Shape, dims: Sequence[int]) -> tuple[int, ...]:
    if not dims:
        return tuple(range(len(shape)))
    return tuple(sorted(dim % len(shape) for dim in dims))
