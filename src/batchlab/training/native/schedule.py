"""Schedule: the pass over the examples, and the loop, in which each value of a graph is made.

Examples are taken in tiles of a few hundred, so that what a tile needs stays in the cache. A sum
over examples is complete after the last tile, so a value that uses it is made in another pass over
the tiles (a level). Each value comes in the last pass it can, so one pass does nearly everything.

In a pass, values with the same number of lines share one loop over lines. Within a line, loops over
its elements follow one another, each with all expressions whose operands are known by then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from batchlab.training.native.graph import Graph, Node, Shape, View, contiguous, loops_of

SOURCES = ("parameter", "buffer", "constant")
_LONGEST_LINE = 4096  # most elements of a line that are kept on the stack


@dataclass(slots=True)
class Segment:
    """One loop over the elements of a line."""

    length: int
    nodes: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Kernel:
    """One loop over lines, one product or call, or one fetch of a tile's examples from a column."""

    kind: str
    n_lines: int
    segments: list[Segment] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)


class Schedule:
    """The pass and the loop in which each node is made, and the nodes to keep in memory."""

    def __init__(self, graph: Graph) -> None:
        ends = [view.node for view in (*graph.outputs, *(g for g in graph.gradients if g))]
        self.nodes = _alive(graph, ends)
        self.level = _levels(self.nodes)
        self.n_levels = max(self.level.values(), default=0) + 1
        self.kernels: dict[tuple[int, bool], list[Kernel]] = {}
        self._at: dict[Node, tuple[tuple[int, bool], int, int]] = {}
        self.stored: set[Node] = {node for node in ends if node.kind not in SOURCES}
        self.scratch: set[Node] = set()
        self.crossing: set[Node] = set()
        for node in self.nodes:
            if node.kind not in SOURCES:
                self._place(node)
        for node in self.nodes:
            for view in node.operands:
                self._keep(view, node)
        self.scratch -= self.stored

    def _bucket(self, node: Node) -> tuple[int, bool]:
        in_rows = node.rows or any(view.node.rows for view in node.operands)
        if in_rows and not node.rows:
            made_of = [view.node for view in node.operands if view.node.rows]
            return max(self.level[each] for each in made_of), True
        return self.level[node], in_rows

    def _place(self, node: Node) -> None:
        bucket = self._bucket(node)
        kernels = self.kernels.setdefault(bucket, [])
        n_lines = math.prod(node.space[:-1])
        first = 0
        for view in node.operands:
            where = self._at.get(view.node)
            if where is None or where[0] != bucket:
                continue
            first = max(first, where[1] + (self._relation(view, node) is None))
        if node.kind in ("product", "call", "column"):
            kernels.append(Kernel(node.kind, n_lines, nodes=[node]))
            self._at[node] = (bucket, len(kernels) - 1, 0)
            return
        fitting = [
            at
            for at, kernel in enumerate(kernels)
            if at >= first and kernel.kind == "lines" and kernel.n_lines == n_lines
        ]
        if not fitting:
            kernels.append(Kernel("lines", n_lines))
        at = fitting[0] if fitting else len(kernels) - 1
        segment = self._segment(node, kernels[at], (bucket, at))
        self._at[node] = (bucket, at, segment)
        kernels[at].segments[segment].nodes.append(node)

    def _segment(self, node: Node, kernel: Kernel, here: tuple[tuple[int, bool], int]) -> int:
        length, first = node.space[-1], 0
        for view in node.operands:
            where = self._at.get(view.node)
            if where is None or where[:2] != here:
                continue
            later = view.node.ends_lines or view.node.space[-1] != length
            first = max(first, where[2] + later)
        for at, segment in enumerate(kernel.segments):
            if at >= first and segment.length == length:
                return at
        kernel.segments.append(Segment(length))
        return len(kernel.segments) - 1

    def _relation(self, view: View, user: Node) -> str | None:
        """Return how a loop shares a node: "element", "line" (one number), or None if it can't."""
        made = view.node
        if made.kind in (*SOURCES, "column", "product", "call") or made.accumulates:
            return None
        if user.kind in ("product", "call") or math.prod(made.space[:-1]) != math.prod(
            user.space[:-1]
        ):
            return None
        width = 1 if made.ends_lines else made.space[-1]
        shape, strides = loops(view)
        lines = tuple(step * width for step in contiguous(shape[:-1]))
        pairs = zip(shape[:-1], strides[:-1], lines, strict=True)
        if view.offset or any(n != 1 and step != line for n, step, line in pairs):
            return None
        if width == 1 and (strides[-1] == 0 or shape[-1] == 1):
            return "line"
        return "element" if shape[-1] == width and strides[-1] == 1 else None

    def _keep(self, view: View, user: Node) -> None:
        made = view.node
        if made.kind in SOURCES:
            return
        where, there = self._at[made], self._at[user]
        if where[0][0] != there[0][0] and made.rows:
            self.crossing.add(made)
        if where[:2] != there[:2] or self._relation(view, user) is None:
            self.stored.add(made)
        elif where[2] != there[2] and not made.ends_lines and made.space[-1] > 1:
            is_short = made.space[-1] <= _LONGEST_LINE
            (self.scratch if is_short else self.stored).add(made)

    def is_here(self, view: View, user: Node) -> bool:
        """Return whether a node's value is at hand when it is used, and need not be read."""
        where = self._at.get(view.node)
        if where is None or self._relation(view, user) is None:
            return False
        there = self._at[user]
        is_line = view.node.ends_lines or view.node.space[-1] == 1
        return where[:2] == there[:2] and (where[2] == there[2] or is_line)


def loops(view: View) -> tuple[Shape, Shape]:
    """Return a view's shape and strides for loops: at least two dimensions, examples not last."""
    shape = loops_of(view.shape)
    if len(shape) == len(view.shape):
        return shape, view.strides
    missing = (0,) * (len(shape) - len(view.shape))
    first = shape[: len(view.shape)] == view.shape and bool(view.shape) and view.rows
    return shape, (*view.strides, *missing) if first else (*missing, *view.strides)


def _alive(graph: Graph, ends: Sequence[Node]) -> list[Node]:
    wanted = set(ends)
    for node in reversed(graph.nodes):
        if node in wanted:
            wanted.update(view.node for view in node.operands)
    return [node for node in graph.nodes if node in wanted]


def _levels(nodes: Sequence[Node]) -> dict[Node, int]:
    """Return the pass of each node: the last in which it may be made."""
    earliest: dict[Node, int] = {}
    for node in nodes:
        made_of = [(view.node, view.node.rows and not node.rows) for view in node.operands]
        earliest[node] = max((earliest[each] + after for each, after in made_of), default=0)
    latest = dict.fromkeys(nodes, max(earliest.values(), default=0))
    for node in reversed(nodes):
        for view in node.operands:
            before = latest[node] - (view.node.rows and not node.rows)
            latest[view.node] = min(latest[view.node], before)
    return latest
