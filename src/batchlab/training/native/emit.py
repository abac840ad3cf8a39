"""Emit: the text of a C function that runs many steps, or many evaluations, of a graph.

It holds the passes over tiles, with products of matrices and loops over lines, and the update of
the parameters by their gradients. Each loop over lines is a function of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import chain

from batchlab.training.native.graph import (
    C_TYPES,
    STAND_IN,
    Graph,
    Node,
    Shape,
    View,
    contiguous,
    times_rows,
    unsupported,
)
from batchlab.training.native.schedule import SOURCES, Kernel, Schedule, Segment, loops

TILE = 256  # examples at most, but up to half more in a single tile
_NEAR = 2**20  # bytes of a tile that stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Update:
    """The change of the parameters by their gradients: see `batchlab.training.native.updates`.

    Attributes:
        text: the C of `prepare` and `update`.
        n_states: how many tensors the optimizer keeps for each parameter.
        n_numbers: how many numbers it takes for each group of parameters.
        is_plain: whether a step is `w -= lr * gradient`.
        groups: the group of each parameter.
    """

    text: str
    n_states: int
    n_numbers: int
    is_plain: bool
    groups: tuple[int, ...]


class _Writer:
    """The writer of the C of one schedule."""

    def __init__(self, name: str, graph: Graph, update: Update | None) -> None:
        self._function = name
        self._graph = graph
        self._update = update
        self._plan = Schedule(graph)
        self._numbers = {node: number for number, node in enumerate(self._plan.nodes)}
        self._tile = self._examples_of_tile()
        self._loops: list[str] = []
        self._memory: list[tuple[str, str, str]] = []  # C type, name, number of elements
        self._uses: dict[Node, int] = {}
        for node in self._plan.nodes:
            for view in node.operands:
                self._uses[view.node] = self._uses.get(view.node, 0) + 1
        for end in (*graph.outputs, *graph.gradients):
            if end is not None:
                self._uses[end.node] = self._uses.get(end.node, 0) + 1

    def _examples_of_tile(self) -> int:
        """Return how many examples fit a tile's memory, which grows with the weights it reads."""
        stored = [node.shape for node in self._plan.stored if node.rows]
        weights = [node.shape for node in self._plan.nodes if node.kind == "parameter"]
        example = 4 * sum(map(math.prod, stored)) // STAND_IN
        whole = max(_NEAR, 16 * sum(map(math.prod, weights)))
        return max(8, min(TILE, whole // max(example, 1) // 8 * 8))

    def _name(self, node: Node) -> str:
        return f"{'p' if node.kind == 'parameter' else 'b'}{self._numbers[node]}"

    def _at_once(self, node: Node) -> bool:
        """Return whether a node is a gradient whose product may go straight into its parameter."""
        return (
            self._update is not None
            and node.kind == "product"
            and node.accumulates
            and len(node.shape) == 2
            and self._uses[node] == 1
            and any(g is not None and g.node is node and g.is_whole for g in self._graph.gradients)
        )

    def text(self) -> str:
        """Return the C, without the kernels that all programs share."""
        body = [*self._step()]
        taken = [f"    {c} *{n} = TAKE({c}, {count});" for c, n, count in self._memory]
        needed = " + ".join(f"SPACE({c}, {count})" for c, _, count in self._memory) or "0"
        lines = [
            f"EXPORT int64_t space_of_{self._function}(int64_t most) {{",
            f"    const long room = most_in_tile(most, {self._tile}); (void)room;",
            f"    return 64 + {needed};",
            "}",
            f"EXPORT int {self._function}(const struct call *call) {{",
            "    int found = 0, *bad = &found; (void)bad;",
            "    char *space = call->space;",
            "    const long most = call->largest;",
            f"    const long room = most_in_tile(most, {self._tile}); (void)room;",
            "    const int64_t *index = call->index, *sizes = call->sizes;",
            "    const double *shares = call->shares;",
            *self._sources(),
            *taken,
            "    const unsigned mode = flush_tiny();",
            "    for (int64_t step = 0; step < call->n_steps; step++) {",
            "    const int64_t n_parts = call->parts[step];",
            f"    double *told = call->told + step * {len(self._graph.outputs)};",
            f"    for (int k = 0; k < {len(self._graph.outputs)}; k++) told[k] = 0;",
            *body,
            "    }",
            "    restore(mode);",
            "    return found;",
            "}",
        ]
        return "\n".join(line for line in (*self._loops, *lines) if line) + "\n"

    def _sources(self) -> Iterator[str]:
        for node in self._plan.nodes:
            if node.kind in SOURCES:
                kind = C_TYPES[node.dtype]
                const = "" if node.kind == "parameter" else "const "
                yield f"    {const}{kind} *{self._name(node)} = call->{node.kind}s[{node.place}];"
            elif node.kind == "column":
                kind = C_TYPES[node.dtype]
                yield f"    const {kind} *column{node.place} = call->columns[{node.place}];"

    def _step(self) -> Iterator[str]:
        graph = self._graph
        for node in self._plan.nodes:
            if node in self._plan.stored:
                n = math.prod(node.shape)
                whole, most = ("all", "most") if node in self._plan.crossing else ("", "room")
                name, count = f"{whole}{self._name(node)}", times_rows(n, most)
                self._memory.append((node.c_type, name, count))
        gradients = list(self._gradients())
        yield "    for (int64_t part = 0; part < n_parts; part++) {"
        yield f"    const long B = *sizes++, T = rows_of_tile(B, {self._tile}), n = B, t0 = 0;"
        yield "    const uint64_t noise = noise_of(call->seed, call->first_step + step, part);"
        yield "    (void)n; (void)t0; (void)noise;"
        yield "    const double share = *shares++; (void)share;"
        if self._update is not None:
            yield "    const int at_once = n_parts == 1 && T >= B && !(call->clip > 0);"
        for level in range(self._plan.n_levels):
            yield from self._level(level)
        for place, view in enumerate(graph.outputs):
            yield f"    told[{place}] += share * (double){self._name(view.node)}[{view.offset}];"
        yield "    if (n_parts > 1) {"
        for place, name, n in gradients:
            yield f"    gather_part({n}, sum{place}, {name}, share, part == 0);"
        yield "    }"
        if self._update is not None:
            yield "    if (part == n_parts - 1) {"
            yield from self._updates(gradients)
            yield "    }"
        yield "    index += B;"
        yield "    }"

    def _gradients(self) -> Iterator[tuple[int, str, int]]:
        for place, view in enumerate(self._graph.gradients):
            if view is not None:
                n = math.prod(view.shape)
                self._memory.append(("float", f"sum{place}", str(n)))
                yield place, self._name(view.node), n

    def _level(self, level: int) -> Iterator[str]:
        for kernel in self._plan.kernels.get((level, False), []):
            yield from self._clears(kernel)
            yield from self._kernel(kernel, "1")
        inner = self._plan.kernels.get((level, True), [])
        if not inner:
            return
        for kernel in inner:
            yield from self._clears(kernel, rows=False)
        yield "    for (long t0 = 0, n = 0; t0 < B; t0 += T) {"
        yield "    n = B - t0 < T ? B - t0 : T;"
        for node in self._plan.nodes:
            if node in self._plan.crossing and level >= self._plan.level[node]:
                per = math.prod(node.shape) // STAND_IN
                name = self._name(node)
                yield f"    {node.c_type} *{name} = all{name} + t0 * {per}; (void){name};"
        for kernel in inner:
            yield from self._clears(kernel, rows=True)
            yield from self._kernel(kernel, "n")
        yield "    }"

    def _clears(self, kernel: Kernel, *, rows: bool | None = None) -> Iterator[str]:
        """Yield C that zeroes what a kernel adds to: all, or only values with or without `rows`."""
        called = kernel.nodes if kernel.kind == "call" else []
        for node in chain(called, *(segment.nodes for segment in kernel.segments)):
            if node.accumulates and (rows is None or node.rows == rows):
                n = times_rows(math.prod(node.shape), "n")
                yield f"    memset({self._name(node)}, 0, sizeof(*{self._name(node)}) * {n});"

    def _kernel(self, kernel: Kernel, rows: str) -> Iterator[str]:
        if kernel.kind == "column":
            yield from self._fetch(kernel.nodes[0])
        elif kernel.kind == "product":
            yield from self._product(kernel.nodes[0])
        elif kernel.kind == "call":
            node = kernel.nodes[0]
            names = [self._name(view.node) for view in node.operands]
            yield self._called(["{", node.text.format(*names, out=self._name(node)), "}"])
        else:
            yield self._called(list(_Lines(self, kernel, times_rows(kernel.n_lines, rows)).text()))

    def _called(self, lines: list[str]) -> str:
        """Make a loop a function and return its call, because long functions compile slowly."""
        text = "\n".join(lines)
        used = sorted(set(re.findall(r"\b[bp]\d+\b", text)))
        kinds = {self._name(node): node for node in self._plan.nodes}
        given = [
            f"{'const ' if kinds[name].kind in ('buffer', 'constant') else ''}"
            f"{kinds[name].c_type} *{name}"
            for name in used
        ]
        name = f"{self._function}_{len(self._loops)}"
        common = ["const long n", "const long t0", "const long B", "const uint64_t noise"]
        declared = ", ".join([*common, "int *bad", *given])
        self._loops.append(f"static __attribute__((noinline)) void {name}({declared}) {text}\n")
        return f"    {name}({', '.join(['n', 't0', 'B', 'noise', 'bad', *used])});"

    def _fetch(self, node: Node) -> Iterator[str]:
        per = math.prod(node.shape[1:])
        name, column = self._name(node), f"column{node.place}"
        if per == 1:
            yield f"    for (long e = 0; e < n; e++) {name}[e] = {column}[index[t0 + e]];"
        else:
            size = f"{per} * sizeof(*{name})"
            yield f"    for (long e = 0; e < n; e++) memcpy({name} + e * {per},"
            yield f"        {column} + index[t0 + e] * {per}, {size});"

    def _operand(self, view: View, *, after: bool = False) -> str:
        """Return matrix `r` of a view as C arguments; `after` means behind the loop over tiles."""
        *_, rows, columns = view.strides
        whole = "all" if after and view.node in self._plan.crossing else ""
        matrix = _line_offset(view.shape[:-2], view.strides[:-2]) or 0
        return f"{whole}{self._name(view.node)} + {view.offset} + {matrix}, {rows}, {columns}"

    def _product(self, node: Node) -> Iterator[str]:
        a, b = node.operands[:2]
        bias = "0"
        for view in node.operands[2:]:
            bias = f"{self._name(view.node)} + {view.offset}"
        sizes = ", ".join(times_rows(n, "n") for n in (a.shape[-2], b.shape[-1], a.shape[-1]))
        beta = "t0 > 0" if node.accumulates else "0"
        unless = "if (!at_once) " if self._at_once(node) else ""
        place = self._changed_with(node)
        if place is not None:
            x = self._graph.gradients[place].node.operands[1]  # type: ignore[union-attr]
            few = f"at_once && {times_rows(a.shape[0], 'B')} <= FEW"
            rate = f"(float)call->numbers[{self._numbers_at(place)}]"
            yield f"    if ({few}) back_and_add({sizes}, {self._operand(a)},"
            yield f"        {self._name(b.node)}, {self._name(x.node)} + {x.offset},"
            yield f"        {x.strides[0]}, -{rate}, {self._name(node)});"
            unless = "    else "
        to = self._name(node)
        if len(node.shape) == 3:
            yield f"    for (long r = 0; r < {times_rows(node.shape[0], 'n')}; r++)"
            to += f" + r * {node.shape[1] * node.shape[2]}"
        yield (
            f"    {unless}product({sizes}, {self._operand(a)}, {self._operand(b)}, {bias}, 1, "
            f"{beta}, {to});"
        )

    def _numbers_at(self, place: int) -> str:
        """Return the index in C at which the numbers of a parameter's group begin."""
        assert self._update is not None
        groups, n = self._update.groups, self._update.n_numbers
        return f"step * {n * (max(groups, default=0) + 1)} + {groups[place] * n}"

    def _changed_with(self, node: Node) -> int | None:
        """Return the parameter that a product reads last, if it can change meanwhile, or None.

        Such a product takes the gradient back through a layer: it is `up @ weight`, and `up.T @ x`
        is the weight's own gradient.
        """
        up, weight = node.operands[:2]
        if self._update is None or not self._update.is_plain:
            return None
        if not node.rows or len(node.shape) > 2:
            return None
        if weight.node.kind != "parameter" or not weight.is_whole or weight.strides[1] != 1:
            return None
        gradient = self._graph.gradients[weight.node.place]
        if gradient is None or not self._at_once(gradient.node):
            return None
        left, x = gradient.node.operands[:2]
        is_same = left.node is up.node and left.strides == up.strides[::-1] and not left.offset
        readers = [n for n in self._plan.nodes if any(v.node is weight.node for v in n.operands)]
        level = self._plan.level
        are_before = all(
            each.kind == "product" and each.rows and level[each] <= level[node] for each in readers
        )
        is_last = are_before and readers[-1] is node and not up.offset and x.strides[1] == 1
        return weight.node.place if is_same and is_last else None

    def _updates(self, gradients: Sequence[tuple[int, str, int]]) -> Iterator[str]:
        update = self._update
        assert update is not None
        yield "    float clip = 1;"
        yield "    if (call->clip > 0) {"
        yield "    double square = 0;"
        for place, name, n in gradients:
            yield f"    square += square_of({n}, n_parts > 1 ? sum{place} : {name});"
        yield "    clip = call->clip / ((float)sqrt(square) + 1e-6f); if (clip > 1) clip = 1;"
        yield "    }"
        done = {self._changed_with(n) for n in self._plan.nodes if n.kind == "product"}
        for place, name, n in gradients:
            view = self._graph.gradients[place]
            assert view is not None
            at = self._numbers_at(place)
            states = ", ".join(
                f"call->states[{place * update.n_states + k}]" if k < update.n_states else "0"
                for k in range(2)
            )
            yield f"    {{ float d[8]; prepare(call->numbers + {at}, call->counts[{place}], d);"
            yield f"    float *w = call->parameters[{place}];"
            whole = f"update({n}, w, n_parts > 1 ? sum{place} : {name}, {states}, clip, d);"
            if self._at_once(view.node):
                a, b = view.node.operands[:2]
                sizes = ", ".join(
                    times_rows(size, "B") for size in (a.shape[0], b.shape[1], a.shape[1])
                )
                few = times_rows(a.shape[1], "B")
                given = f"{sizes}, {self._operand(a, after=True)}, {self._operand(b, after=True)}"
                if update.is_plain:
                    added = ";" if place in done else f"outer_add({given}, -d[0], w);"
                    yield f"    if (at_once && {few} <= FEW) {added}"
                    yield f"    else if (at_once) product({given}, 0, -d[0], 1, w);"
                else:
                    yield f"    if (at_once && {few} <= FEW)"
                    yield f"        update_few({given}, w, {states}, d);"
                    yield f"    else if (at_once) {{ product({given}, 0, 1, 0, {name});"
                    yield f"    {whole} }}"
                yield "    else"
            yield f"    {whole} }}"


class _Lines:
    """The writer of one loop over lines."""

    def __init__(self, writer: _Writer, kernel: Kernel, n_lines: str) -> None:
        self._writer = writer
        self._plan = writer._plan
        self._kernel = kernel
        self._n_lines = n_lines
        self._before: dict[str, str] = {}  # declarations of values read once, by name
        self._ahead: dict[str, str] = {}  # values and pointers set once per line
        self._pointers: dict[object, str] = {}

    def text(self) -> Iterator[str]:
        """Yield the loop."""
        inner = [line for segment in self._kernel.segments for line in self._segment(segment)]
        yield from ("{", *(f"    {line}" for line in self._before.values()))
        yield f"    for (long r = 0; r < {self._n_lines}; r++) {{"
        yield from (f"        {line}" for line in (*self._ahead.values(), *inner))
        yield "    }}"

    def _value(self, node: Node) -> str:
        return f"v{self._writer._numbers[node]}"

    def _segment(self, segment: Segment) -> Iterator[str]:
        declared: list[str] = []
        inner: list[str] = []
        after: list[str] = []
        clauses: list[str] = []
        for node in segment.nodes:
            for into, lines in zip(
                (declared, clauses, inner, after), self._node(node, segment), strict=True
            ):
                into.extend(lines)
        yield from declared
        if segment.length == 1:
            yield from (line for line in inner)
        else:
            yield f"#pragma omp simd {' '.join(clauses)}"
            yield f"for (long c = 0; c < {segment.length}; c++) {{"
            yield from (f"    {line}" for line in inner)
            yield "}"
        yield from after

    def _node(self, node: Node, segment: Segment) -> tuple[list[str], ...]:
        """Return a node's declarations before the loop, clauses, lines in the loop and after it."""
        value, kind, declared = self._value(node), node.c_type, []
        if node.kind in ("sum", "peak"):
            return self._reduction(node, segment)
        if node.kind == "scatter":
            up, place = node.operands
            n, width = node.shape
            row = f"const int64_t {value} = place_of({self._read(place, node)}, {n}, bad);"
            target = f"{self._writer._name(node)}[{value} * {width} + {self._column(segment)}]"
            return [row], [], [f"{target} += {self._read(up, node)};"], []
        if node.kind == "take":
            place, table = node.operands
            n, width = table.shape
            if not table.is_whole:
                raise unsupported("embedding of a view")
            row = f"place_of({self._read(place, node)}, {n}, bad)"
            declared.append(f"const int64_t at{value} = {row};")
            place_text = f"at{value} * {width} + {self._column(segment)}"
            text = f"{self._writer._name(table.node)}[{place_text}]"
        else:
            text = node.text
            for at, view in enumerate(node.operands):
                text = text.replace(f"{{{at}}}", self._read(view, node))
            text = text.replace("{column}", f"(int64_t){self._column(segment)}")
            text = self._with_places(text, node, segment)
            per = self._kernel.n_lines // STAND_IN  # 0 without rows, and so without tiles
            element = f"(t0 * {per} + r) * {segment.length} + {self._column(segment)}"
            text = text.replace("{element}", element)
        lines = [f"const {kind} {value} = {text};"]
        if node in self._plan.stored:
            lines.append(f"{self._place(View.of(node), node)} = {value};")
        elif node in self._plan.scratch:
            declared.append(f"{kind} line{value}[{segment.length}];")
            lines.append(f"line{value}[c] = {value};")
        return declared, [], lines, []

    def _with_places(self, text: str, node: Node, segment: Segment) -> str:
        """Replace `{d0}`, `{d1}`, ... by the place in each dimension."""
        shape = node.space
        first = 0 if shape[: len(node.shape)] == node.shape else len(shape) - len(node.shape)
        for dim in range(len(node.shape)):
            at = dim + first
            inner = math.prod(shape[at + 1 : -1])
            place = f"(r / {inner} % {times_rows(shape[at], 'B')})"
            if at == len(shape) - 1:
                place = self._column(segment)
            text = text.replace(f"{{d{dim}}}", place)
        return text

    def _column(self, segment: Segment) -> str:
        return "0" if segment.length == 1 else "c"

    def _reduction(self, node: Node, segment: Segment) -> tuple[list[str], ...]:
        read, value = self._read(node.operands[0], node), self._value(node)
        is_loop = segment.length > 1
        over_line = len(node.space) - 1 in node.dims or not is_loop
        if node.kind == "peak":
            start = "-INFINITY" if node.dtype.is_floating_point else "INT64_MIN"
            line = f"{value} = {value} > {read} ? {value} : {read};"
            clause = f"reduction(max:{value})"
        else:
            start, line, clause = "0", f"{value} += {read};", f"reduction(+:{value})"
        after = []
        if node.ends_lines:
            if node in self._plan.stored:
                after.append(f"{self._writer._name(node)}[r] = {value};")
        elif not over_line:
            return [], [], [f"{self._sum_place(node)} += {read};"], []
        else:
            after.append(f"{self._sum_place(node)} += {value};")
        declared = [f"{C_TYPES[node.dtype]} {value} = {start};"]
        return declared, [clause] if is_loop else [], [line], after

    def _sum_place(self, node: Node) -> str:
        """Return the element that a sum over lines adds to; summed dimensions do not move it."""
        shape = node.space
        kept = tuple(1 if dim in node.dims else size for dim, size in enumerate(shape))
        steps = tuple(0 if dim in node.dims else step for dim, step in enumerate(contiguous(kept)))
        return self._place(View(node, shape, steps), node)

    def _read(self, view: View, user: Node) -> str:
        node = view.node
        if self._plan.is_here(view, user):
            return self._value(node)
        if node in self._plan.scratch:
            return f"line{self._value(node)}[c]"
        shape, strides = loops(view)
        if strides[-1] and shape[-1] > 1:
            return self._place(view, user)
        place = self._place(View(node, shape, (*strides[:-1], 0), view.offset), user)
        is_fixed = not any(n > 1 and step for n, step in zip(shape, strides, strict=True))
        name = self._pointers.setdefault(("value", place), f"s{len(self._pointers)}")
        line = f"const {node.c_type} {name} = {place};"
        (self._before if is_fixed else self._ahead).setdefault(name, line)
        return name

    def _place(self, view: View, user: Node) -> str:
        """Return an element of a view in C, at line `r` and column `c` of the loops of its user."""
        shape, strides = loops(view)
        name = self._writer._name(view.node)
        lines = _line_offset(shape[:-1], strides[:-1])
        column = strides[-1] if shape[-1] > 1 else 0
        if not lines and not column:
            return f"{name}[{view.offset}]"
        pointer = name
        if lines or view.offset:
            pointer = self._pointers.setdefault(
                (name, lines, view.offset), f"q{len(self._pointers)}"
            )
            const = "const " if view.node.kind in SOURCES else ""
            self._ahead.setdefault(
                pointer,
                f"{const}{view.node.c_type} *{pointer} = {name} + {lines or 0} + {view.offset};",
            )
        if not column:
            return f"{pointer}[0]"
        return f"{pointer}[c]" if column == 1 else f"{pointer}[c * {column}]"


def _line_offset(shape: Shape, strides: Shape) -> str:
    """Return the offset of line `r` in C, one term per group of adjacent dimensions in memory."""
    groups: list[tuple[int, int]] = []  # size, stride
    for size, stride in zip(shape, strides, strict=True):
        if size == 1:
            continue
        if groups and groups[-1][1] == stride * size:
            groups[-1] = (groups[-1][0] * size, stride)
        else:
            groups.append((size, stride))
    terms = []
    inner = 1
    for at, (size, stride) in reversed(list(enumerate(groups))):
        if stride:
            index = "r" if inner == 1 else f"(r / {inner})"
            index = index if at == 0 else f"({index} % {size})"
            terms.append(f"{index} * {stride}" if stride != 1 else index)
        inner *= size
    return " + ".join(terms)


def program(functions: Sequence[tuple[str, Graph, Update | None]]) -> str:
    """Return the C of some graphs, each under its name; only the first may change parameters."""
    kernels = resources.files(__package__).joinpath("kernels.c").read_text(encoding="utf-8")
    parts = [kernels]
    for name, graph, update in functions:
        if update is not None:
            parts += [update.text, _FEW]
        parts.append(_Writer(name, graph, update).text())
    return "\n".join(parts)


_FEW = """
// Each line of a gradient that is the sum of a few outer products, used as soon as it is made.
static void update_few(long M, long N, long K, const float *a, long am, long ak,
                       const float *b, long bk, long bn, float *w, float *s, float *t,
                       const float *d) {
    float line[LINE];
    for (long m = 0; m < M; m++)
        for (long n0 = 0; n0 < N; n0 += LINE) {
            const long n = N - n0 < LINE ? N - n0 : LINE;
            outer_line(n, K, a + m * am, ak, b + n0 * bn, bk, bn, line);
            update(n, w + m * N + n0, line, s ? s + m * N + n0 : 0, t ? t + m * N + n0 : 0, 1, d);
        }
}
"""
