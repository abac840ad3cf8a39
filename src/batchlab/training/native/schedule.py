"""Schedule: for each value, the pass over the examples and the loop that compute the value.

Examples are processed in tiles of a few hundred, so that a tile's data stay in the cache. A sum
over examples is complete only after the last tile. A value of each example that uses the sum must
therefore be computed in a later pass over the tiles; the number of a pass is its level. Each value
is computed as late as possible, so that most values are computed in the same pass.

A line is a row of a value's last dimension. In a pass, values with equally many lines can share one
loop over lines. For each line, one or more loops over the line's elements run in sequence. Values
whose lines are equally long can share a loop over elements, if their operands are known by then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from batchlab.training.native.graph import Graph, Node, Shape, View, contiguous, loops_of

SOURCES = ("parameter", "buffer", "constant")


@dataclass(eq=False, slots=True)
class Kernel:
    """A part of a pass: a loop over lines, a product, a call, or a fetch of a tile's examples.

    Attributes:
        kind: "lines" for a loop over lines, else the kind of the only node.
        n_lines: the number of lines of the loop.
        level: the number of the pass.
        segments: the loops over the elements of a line, each as the nodes that the loop computes.
    """

    kind: str
    n_lines: int
    level: int
    segments: list[list[Node]] = field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        """All nodes that the kernel computes."""
        return list(chain.from_iterable(self.segments))


class LoopSchedule:
    """The order in which C code computes the nodes of a graph, and which nodes are stored.

    Each node is assigned to a pass over the examples and to a loop in this pass.
    """

    def __init__(self, graph: Graph) -> None:
        ends = [view.node for view in graph.results]
        self.nodes = _alive(graph, ends)
        self.level = _levels(self.nodes)
        self.n_levels = max(self.level.values(), default=0) + 1
        self.kernels: dict[tuple[int, bool], list[Kernel]] = {}
        self._at: dict[Node, tuple[Kernel, int]] = {}  # each node's kernel and segment index
        self.stored: set[Node] = {node for node in ends if node.kind not in SOURCES}
        self.crossing: set[Node] = set()  # nodes used in a later pass, stored for all examples
        for node in self.nodes:
            if node.kind not in SOURCES:
                self._place(node)
        for node in self.nodes:
            for view in node.operands:
                if view.node.kind not in SOURCES and not self.is_here(view, node):
                    self.stored.add(view.node)
                    if view.node.rows and self._at[view.node][0].level != self._at[node][0].level:
                        self.crossing.add(view.node)

    def _bucket(self, node: Node) -> tuple[int, bool]:
        """Return which pass over the examples computes a node, and whether it does so per tile."""
        if node.rows:
            return self.level[node], True
        levels = [self.level[operand] for operand in node.inputs if operand.rows]
        if levels:
            return max(levels), True
        return self.level[node], False

    def _place(self, node: Node) -> None:
        bucket = self._bucket(node)
        kernels = self.kernels.setdefault(bucket, [])
        n_lines = math.prod(node.space[:-1])
        first = 0
        for view in node.operands:
            if view.node in self._at and self._at[view.node][0] in kernels:
                is_apart = not self._may_share_loop(view, node)
                first = max(first, kernels.index(self._at[view.node][0]) + is_apart)
        if node.kind in ("product", "call", "column"):
            kernels.append(Kernel(node.kind, n_lines, bucket[0], [[node]]))
            self._at[node] = kernels[-1], 0
            return
        at = first
        while at < len(kernels) and (kernels[at].kind, kernels[at].n_lines) != ("lines", n_lines):
            at += 1
        if at == len(kernels):
            kernels.append(Kernel("lines", n_lines, bucket[0]))
        segment = self._segment(node, kernels[at])
        self._at[node] = kernels[at], segment
        kernels[at].segments[segment].append(node)

    def _segment(self, node: Node, kernel: Kernel) -> int:
        """Return the index of a loop over elements that can compute a node; add one if missing."""
        length, first = node.space[-1], 0
        for operand in node.inputs:
            if operand in self._at and self._at[operand][0] is kernel:
                is_later = operand.ends_lines or operand.space[-1] != length
                first = max(first, self._at[operand][1] + is_later)
        for at, nodes in enumerate(kernel.segments):
            if at >= first and nodes[0].space[-1] == length:
                return at
        kernel.segments.append([])
        return len(kernel.segments) - 1

    def _may_share_loop(self, view: View, user: Node) -> bool:
        """Return whether one loop over lines can compute both `view.node` and `user`.

        `user` is a node with the operand `view`. A line is a row of the last dimension.
        """
        node = view.node
        if node.kind in (*SOURCES, "column", "product", "call") or node.accumulates:
            return False
        if user.kind in ("product", "call") or view.offset:
            return False
        if math.prod(node.space[:-1]) != math.prod(user.space[:-1]):
            return False
        width = 1 if node.ends_lines else node.space[-1]
        shape, strides = loops(view)
        steps = zip(shape[:-1], strides[:-1], contiguous(shape[:-1]), strict=True)
        if any(n != 1 and step != lines * width for n, step, lines in steps):
            return False
        if width == 1:
            return strides[-1] == 0 or shape[-1] == 1
        return shape[-1] == width and strides[-1] == 1

    def is_here(self, view: View, user: Node) -> bool:
        """Return whether the node `user` can read a view's value from a local C variable."""
        if view.node not in self._at or not self._may_share_loop(view, user):
            return False
        (kernel, segment), (other, others_segment) = self._at[view.node], self._at[user]
        is_line = view.node.ends_lines or view.node.space[-1] == 1
        return kernel is other and (is_line or segment == others_segment)


def loops(view: View) -> tuple[Shape, Shape]:
    """Return a view's shape and strides, extended by `loops_of` to at least two dimensions."""
    shape = loops_of(view.shape)
    if len(shape) == len(view.shape):
        return shape, view.strides
    missing = (0,) * (len(shape) - len(view.shape))
    if view.rows and shape[: len(view.shape)] == view.shape:
        return shape, (*view.strides, *missing)
    return shape, (*missing, *view.strides)


def _alive(graph: Graph, ends: Sequence[Node]) -> list[Node]:
    wanted = set(ends)
    for node in reversed(graph.nodes):
        if node in wanted:
            wanted.update(node.inputs)
    return list(filter(wanted.__contains__, graph.nodes))


def _levels(nodes: Sequence[Node]) -> dict[Node, int]:
    """Return the pass over the examples in which each node is computed, counted from 0.

    A node is computed as late as possible: in the last pass in which its users can still need it.
    """
    # Count passes over the examples from the end: 0 is the last pass, -1 the last but one.
    levels = dict.fromkeys(nodes, 0)
    for node in reversed(nodes):
        for operand in node.inputs:
            is_after = operand.rows and not node.rows
            levels[operand] = min(levels[operand], levels[node] - is_after)
    first = min(levels.values(), default=0)
    return {node: level - first for node, level in levels.items()}
