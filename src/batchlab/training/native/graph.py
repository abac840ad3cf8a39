"""Graph: the values of a step as expressions, sums and products, and views of them.

In a shape, the number `STAND_IN` takes the place of the batch size: the first dimension of all
that has rows (an equal part per example) is a multiple of it, and no other dimension is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

STAND_IN = 1_000_003  # a prime, larger than the width of any layer

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
    """The refusal to train a workload natively; its text is a clause that says why."""


def unsupported(operation: str) -> RefusedError:
    """Return the refusal of an operation, type or optimizer that has no C code."""
    return RefusedError(f"batchlab's C code does not cover {operation}")


@dataclass(frozen=True, slots=True)
class Scaled:
    """A number that depends on the batch size B: `factor * B ** power`, with power 1 or -1."""

    factor: float
    power: int

    def __str__(self) -> str:
        """Return the number as C, in which the batch size is `B`."""
        return f"({self.factor!r} * (double)B)" if self.power == 1 else f"({self.factor!r} / B)"


Number = int | float | Scaled


def has_rows(shape: Shape) -> bool:
    """Return whether the shape has one part per example."""
    return any(size and size % STAND_IN == 0 for size in shape)


def contiguous(shape: Shape) -> Shape:
    """Return the strides of a tensor of this shape without gaps."""
    return tuple(math.prod(max(size, 1) for size in shape[at + 1 :]) for at in range(len(shape)))


def number_of(shape: Shape, dims: Sequence[int]) -> Number:
    """Return how many elements these dimensions have together."""
    n = math.prod(shape[dim] for dim in dims)
    return Scaled(n // STAND_IN, 1) if n and n % STAND_IN == 0 else n


def times_rows(n: int, rows: str) -> str:
    """Return a number of elements as C, in which `rows` is the number of examples."""
    if n % STAND_IN:
        return str(n)
    return rows if n == STAND_IN else f"{n // STAND_IN} * {rows}"


@dataclass(eq=False, slots=True)
class Node:
    """A tensor that is read or computed, laid out without gaps.

    Attributes:
        kind: "parameter", "buffer", "constant" or "column" (with `place`, its number among them);
            "point" (one expression for all elements); "sum" and "peak" (over `dims`, which are
            gone); "product" (of two matrices, or of one pair for each index of the first
            dimensions, plus a bias if there is a third operand); "take" (rows of a table) and
            "scatter" (its gradient); "call" (of a function of kernels.c).
        shape: its shape.
        dtype: its type.
        operands: the views that it is made of, each in the shape in which it is used.
        text: the C of a point, with `{0}`, `{1}` for its operands, `{d0}`, `{d1}` for the place in
            each dimension, and `{column}` for that in the last; or the C of a call, with `{0}`,
            `{1}` for its operands, which are whole, and `{out}` for the memory that it fills.
        dims: the dimensions of its operand that a sum or peak goes over.
        place: the number of a source among those of its kind.
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
        """Whether it has one part per example."""
        return has_rows(self.shape)

    @property
    def space(self) -> Shape:
        """The sizes of the loops that make it: the last is the length of a line."""
        over_operand = self.kind in ("sum", "peak", "scatter")
        return loops_of(self.operands[0].shape if over_operand else self.shape)

    @property
    def ends_lines(self) -> bool:
        """Whether it has one number per line of the loops that make it."""
        return self.kind in ("sum", "peak") and self.dims == (len(self.space) - 1,)

    @property
    def accumulates(self) -> bool:
        """Whether it is complete only after all loops that make it."""
        is_sum = self.kind in ("sum", "peak") and not self.ends_lines
        is_alone = self.kind in ("product", "call")
        over_examples = is_alone and not self.rows and self.operands[0].rows
        return is_sum or over_examples or self.kind == "scatter"

    @property
    def c_type(self) -> str:
        """The C type of its elements, which is double for a float32 sum of everything."""
        is_total = self.accumulates and self.kind == "sum" and math.prod(self.shape) == 1
        return "double" if is_total and self.dtype == torch.float32 else C_TYPES[self.dtype]


def loops_of(shape: Shape) -> Shape:
    """Return the shape with at least two dimensions, the examples never in the last."""
    if len(shape) >= 2:
        return shape
    if not shape:
        return (1, 1)
    return (*shape, 1) if has_rows(shape) else (1, *shape)


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """A node as a tensor of some shape: its elements are `offset + index * strides` of the node."""

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
        """The type of its node."""
        return self.node.dtype

    @property
    def rows(self) -> bool:
        """Whether its shape has one part per example."""
        return has_rows(self.shape)

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole node in its order in memory, perhaps in other dimensions."""
        real = [(n, step) for n, step in zip(self.shape, self.strides, strict=True) if n != 1]
        packed = [step for _, step in real] == list(contiguous(tuple(n for n, _ in real)))
        same = math.prod(self.shape) == math.prod(self.node.shape)
        return packed and same and self.offset == 0

    def expanded(self, shape: Shape) -> View:
        """Repeat the view to a larger shape, by PyTorch's rules of broadcasting."""
        missing = len(shape) - len(self.shape)
        old = (1,) * missing + self.shape
        strides = (0,) * missing + self.strides
        steps = tuple(
            0 if size == 1 and new != 1 else step
            for size, new, step in zip(old, shape, strides, strict=True)
        )
        return View(self.node, shape, steps, self.offset)

    def reshaped(self, shape: Shape, strides: Shape) -> View:
        """Return a view of the same elements with other dimensions."""
        return View(self.node, shape, strides, self.offset)


@dataclass(slots=True)
class Graph:
    """All that a step or an evaluation computes.

    Attributes:
        nodes: every node, operands before the nodes that use them.
        outputs: the scalars that are reported for each batch; in a step this is the loss.
        gradients: one per parameter, by its place; None if the loss does not depend on it.
        constants: tensors that are neither the model's nor the data's.
        n_draws: how many times it draws random numbers.
    """

    nodes: list[Node] = field(default_factory=list)
    outputs: list[View] = field(default_factory=list)
    gradients: list[View | None] = field(default_factory=list)
    constants: list[torch.Tensor] = field(default_factory=list)
    n_draws: int = 0

    def add(self, kind: str, shape: Shape, dtype: torch.dtype, **details: Any) -> View:
        """Add a node, and return it as a view."""
        if dtype not in C_TYPES:
            raise unsupported(f"numbers of type {dtype}")
        if has_rows(tuple(shape[1:])):
            raise unsupported("tensors whose first dimension is not the examples of a batch")
        self.nodes.append(Node(kind, tuple(shape), dtype, **details))
        return View.of(self.nodes[-1])
