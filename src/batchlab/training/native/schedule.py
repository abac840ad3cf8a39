"""Schedule: for each value, the pass over the examples and the loop that compute the value.

Examples are processed in tiles of a few hundred, so that a tile's data stay in the cache. A sum
over examples is complete only after the last tile, so a value that uses the sum needs another pass
over the tiles (a level). Each value is computed in the last possible pass: most share one pass.

In a pass, values with equally many lines (rows of the last dimension) share one loop over lines. In
each line, loops over elements run in sequence, each with all expressions whose operands are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from batchlab.training.native.graph import Graph, Node, Shape, View, contiguous, loops_of

SOURCES = ("parameter", "buffer", "constant")
_LONGEST_LINE = 4096  # the most elements of a line that are stored on the stack


@dataclass(slots=True)
class Segment:
    """One loop over the elements of a line, and the nodes that the loop computes."""

    length: int
    nodes: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Kernel:
    """A part of a pass: a loop over lines, a product, a call, or a fetch of a tile's examples."""

    kind: str
    n_lines: int
    segments: list[Segment] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node's C code is: bucket (pass, whether in the loop over tiles), kernel, segment."""

    bucket: tuple[int, bool]
    kernel: int
    segment: int = 0

    def shares_kernel(self, other: _Place) -> bool:
        return self.bucket == other.bucket and self.kernel == other.kernel


class LoopSchedule:
    """For each node of a graph: the pass and the loop that compute it, and whether it is stored."""

    def __init__(self, graph: Graph) -> None:
        ends = [view.node for view in graph.results]
        self.nodes = _alive(graph, ends)
        self.level = _levels(self.nodes)
        self.n_levels = max(self.level.values(), default=0) + 1
        self.kernels: dict[tuple[int, bool], list[Kernel]] = {}
        self._at: dict[Node, _Place] = {}
        self.stored: set[Node] = {node for node in ends if node.kind not in SOURCES}
        self.scratch: set[Node] = set()  # stored only for the current line, on the stack
        self.crossing: set[Node] = set()  # used in a later pass, so stored for all examples
        for node in self.nodes:
            if node.kind not in SOURCES:
                self._place(node)
        for node in self.nodes:
            for view in node.operands:
                self._keep(view, node)
        self.scratch -= self.stored

    def _bucket(self, node: Node) -> tuple[int, bool]:
        """Return the pass that computes a node, and whether inside the pass's loop over tiles."""
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
            place = self._at.get(view.node)
            if place is not None and place.bucket == bucket:
                is_apart = self._relation(view, node) is None
                first = max(first, place.kernel + is_apart)
        if node.kind in ("product", "call", "column"):
            kernels.append(Kernel(node.kind, n_lines, nodes=[node]))
            self._at[node] = _Place(bucket, len(kernels) - 1)
            return
        at = first
        while at < len(kernels) and (kernels[at].kind, kernels[at].n_lines) != ("lines", n_lines):
            at += 1
        if at == len(kernels):
            kernels.append(Kernel("lines", n_lines))
        segment = self._segment(node, kernels[at], _Place(bucket, at))
        self._at[node] = _Place(bucket, at, segment)
        kernels[at].segments[segment].nodes.append(node)

    def _segment(self, node: Node, kernel: Kernel, here: _Place) -> int:
        length, first = node.space[-1], 0
        for operand in node.inputs:
            place = self._at.get(operand)
            if place is not None and place.shares_kernel(here):
                is_later = operand.ends_lines or operand.space[-1] != length
                first = max(first, place.segment + is_later)
        for at, segment in enumerate(kernel.segments):
            if at >= first and segment.length == length:
                return at
        kernel.segments.append(Segment(length))
        return len(kernel.segments) - 1

    def _relation(self, view: View, user: Node) -> str | None:
        """Return how `user` can read `view` if both share a loop: "element", "line" or None."""
        node = view.node
        if node.kind in (*SOURCES, "column", "product", "call") or node.accumulates:
            return None
        if user.kind in ("product", "call") or view.offset:
            return None
        if math.prod(node.space[:-1]) != math.prod(user.space[:-1]):
            return None
        width = 1 if node.ends_lines else node.space[-1]
        shape, strides = loops(view)
        steps = zip(shape[:-1], strides[:-1], contiguous(shape[:-1]), strict=True)
        if any(n != 1 and step != lines * width for n, step, lines in steps):
            return None
        if width == 1 and (strides[-1] == 0 or shape[-1] == 1):
            return "line"
        return "element" if shape[-1] == width and strides[-1] == 1 else None

    def _keep(self, view: View, user: Node) -> None:
        node = view.node
        if node.kind in SOURCES:
            return
        place, there = self._at[node], self._at[user]
        if node.rows and place.bucket[0] != there.bucket[0]:
            self.crossing.add(node)
        if not place.shares_kernel(there) or self._relation(view, user) is None:
            self.stored.add(node)
        elif place.segment != there.segment and not node.ends_lines and node.space[-1] > 1:
            if node.space[-1] <= _LONGEST_LINE:
                self.scratch.add(node)
            else:
                self.stored.add(node)

    def is_here(self, view: View, user: Node) -> bool:
        """Return whether `user` can read a view's value from a local C variable."""
        place, there = self._at.get(view.node), self._at[user]
        if place is None or self._relation(view, user) is None or not place.shares_kernel(there):
            return False
        is_line = view.node.ends_lines or view.node.space[-1] == 1
        return is_line or place.segment == there.segment


def loops(view: View) -> tuple[Shape, Shape]:
    """Return a view's shape and strides, extended to at least two dimensions as by `loops_of`."""
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
    """Return for each node the last pass that computes the node in time for all its users."""
    earliest: dict[Node, int] = {}
    for node in nodes:
        earliest[node] = 0
        for operand in node.inputs:
            is_after = operand.rows and not node.rows
            earliest[node] = max(earliest[node], earliest[operand] + is_after)
    latest = dict.fromkeys(nodes, max(earliest.values(), default=0))
    for node in reversed(nodes):
        for operand in node.inputs:
            is_after = operand.rows and not node.rows
            latest[operand] = min(latest[operand], latest[node] - is_after)
    return latest
