"""Emit: the text of a C function that runs a graph for many steps or evaluated batches.

The function processes the examples in tiles, by matrix products and loops over lines (rows of the
last dimension), and updates the parameters. Each loop over lines becomes a separate C function.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from itertools import count

from torch.optim import Optimizer

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
from batchlab.training.native.schedule import SOURCES, Kernel, LoopSchedule, loops
from batchlab.training.native.updates import rule_of

TILE = 256  # The most examples per tile, but a batch of up to 1.5 times this number is one tile.
_NEAR = 2**20  # The number of bytes of a tile's data that fit into the processor's cache.


class _CWriter:
    """The writer of the C function that computes one graph."""

    def __init__(
        self, name: str, graph: Graph, optimizer: Optimizer | None, groups: Sequence[int]
    ) -> None:
        self._function = name
        self._graph = graph
        self._optimizer = optimizer
        self._groups = groups  # the index of each parameter's group in the optimizer
        self._plan = LoopSchedule(graph)
        self._numbers = dict(zip(self._plan.nodes, count()))
        self._tile = self._examples_of_tile()
        self._loops: list[str] = []
        self._memory: list[tuple[str, str, str]] = []  # each C array's type, name and size
        self._uses: Counter[Node] = Counter()
        for node in self._plan.nodes:
            self._uses.update(node.inputs)
        for view in graph.results:
            self._uses[view.node] += 1

    def _examples_of_tile(self) -> int:
        """Return the number of examples per tile, a multiple of 8 from 8 to 256.

        If possible, the data of a tile take at most 1 MiB, or 16 bytes per weight if that is more.
        """
        stored = weights = 0
        for node in self._plan.nodes:
            if node.kind == "parameter":
                weights += node.size
            if node.rows and node in self._plan.stored:
                stored += node.size
        example_bytes = max(4 * stored // STAND_IN, 1)
        tile_bytes = max(_NEAR, 16 * weights)
        return max(8, min(TILE, tile_bytes // example_bytes // 8 * 8))

    def _name(self, node: Node) -> str:
        letter = "p" if node.kind == "parameter" else "b"
        return f"{letter}{self._numbers[node]}"

    def _at_once(self, node: Node) -> bool:
        """Return whether the optimizer's code can compute the gradient `node` row by row."""
        if self._optimizer is None or node.kind != "product" or not node.accumulates:
            return False
        if len(node.shape) != 2 or self._uses[node] != 1:
            return False
        return any(view.node is node and view.is_whole for view in self._graph.results)

    def text(self) -> str:
        """Return the C code of the function, without the code of kernels.c."""
        body = list(self._step())
        taken, spaces = [], ["64"]
        for kind, name, n in self._memory:
            taken.append(f"    {kind} *{name} = TAKE({kind}, {n});")
            spaces.append(f"SPACE({kind}, {n})")
        lines = [
            f"EXPORT int64_t space_of_{self._function}(int64_t most) {{",
            f"    const long room = most_in_tile(most, {self._tile}); (void)room;",
            f"    return {' + '.join(spaces)};",
            "}",
            f"EXPORT int {self._function}(const struct call *call) {{",
            "    int found = 0, *bad = &found; (void)bad;",
            "    char *space = call->space;",
            "    const long most = call->largest;",
            f"    const long room = most_in_tile(most, {self._tile}); (void)room;",
            "    const int64_t *index = call->index, *sizes = call->sizes;",
            *self._sources(),
            *taken,
            "    const unsigned mode = flush_tiny();",
            "    for (int64_t step = 0; step < call->n_steps; step++) {",
            f"    double *told = call->told + step * {len(self._graph.outputs)};",
            *body,
            "    }",
            "    restore(mode);",
            "    return found;",
            "}",
        ]
        return "\n".join([*self._loops, *filter(None, lines)]) + "\n"

    def _sources(self) -> Iterator[str]:
        for node in self._plan.nodes:
            if node.kind == "column":
                name = f"column{node.place}"
            elif node.kind in SOURCES:
                name = self._name(node)
            else:
                continue
            const = "" if node.kind == "parameter" else "const "
            yield f"    {const}{C_TYPES[node.dtype]} *{name} = call->{node.kind}s[{node.place}];"

    def _step(self) -> Iterator[str]:
        graph = self._graph
        for node in self._plan.nodes:
            if node in self._plan.stored:
                n, name = node.size, self._name(node)
                if node in self._plan.crossing:
                    self._memory.append((node.c_type, f"all{name}", times_rows(n, "most")))
                else:
                    self._memory.append((node.c_type, name, times_rows(n, "room")))
        gradients = []  # each gradient's parameter index, name in C and number of elements
        for place, gradient in enumerate(graph.gradients):
            if gradient is not None:
                gradients.append((place, self._name(gradient.node), math.prod(gradient.shape)))
        yield f"    const long B = *sizes++, T = rows_of_tile(B, {self._tile}), n = B, t0 = 0;"
        yield "    const uint64_t noise = noise_of(call->seed, call->first_step + step);"
        yield "    (void)n; (void)t0; (void)noise;"
        if self._optimizer is not None:
            yield "    const int at_once = T >= B && !(call->clip > 0);"
        yield from self._clears(node for node in self._plan.nodes if not node.rows)
        for level in range(self._plan.n_levels):
            yield from self._level(level)
        for place, view in enumerate(graph.outputs):
            yield f"    told[{place}] = (double){self._name(view.node)}[{view.offset}];"
        if self._optimizer is not None:
            yield from self._updates(gradients, self._optimizer)
        yield "    index += B;"

    def _level(self, level: int) -> Iterator[str]:
        for kernel in self._plan.kernels.get((level, False), []):
            yield from self._kernel(kernel, "1")
        inner = self._plan.kernels.get((level, True), [])
        if not inner:
            return
        yield "    for (long t0 = 0, n = 0; t0 < B; t0 += T) {"
        yield "    n = B - t0 < T ? B - t0 : T;"
        for node in self._plan.nodes:
            if node in self._plan.crossing and level >= self._plan.level[node]:
                per = node.size // STAND_IN
                name = self._name(node)
                yield f"    {node.c_type} *{name} = all{name} + t0 * {per}; (void){name};"
        for kernel in inner:
            yield from self._clears(node for node in kernel.nodes if node.rows)
            yield from self._kernel(kernel, "n")
        yield "    }"

    def _clears(self, nodes: Iterable[Node]) -> Iterator[str]:
        """Yield C that sets sums to 0, before loops add to the sums."""
        for node in nodes:
            if node.accumulates and node.kind != "product":
                n = times_rows(node.size, "n")
                yield f"    memset({self._name(node)}, 0, sizeof(*{self._name(node)}) * {n});"

    def _kernel(self, kernel: Kernel, rows: str) -> Iterator[str]:
        if kernel.kind == "column":
            yield from self._fetch(kernel.nodes[0])
        elif kernel.kind == "product":
            yield from self._product(kernel.nodes[0])
        elif kernel.kind == "call":
            node = kernel.nodes[0]
            names = map(self._name, node.inputs)
            yield self._called(["{", node.text.format(*names, out=self._name(node)), "}"])
        else:
            yield self._called(list(_Lines(self, kernel, times_rows(kernel.n_lines, rows)).text()))

    def _called(self, lines: list[str]) -> str:
        """Put a loop into a C function and return the call; one long function compiles slowly."""
        text = "\n".join(lines)
        nodes = dict(zip(map(self._name, self._plan.nodes), self._plan.nodes, strict=True))
        arguments = ["n", "t0", "B", "noise", "bad"]
        declared = ["const long n, const long t0, const long B, const uint64_t noise, int *bad"]
        for used in sorted(set(re.findall(r"\b[bp]\d+\b", text))):
            const = "const " if nodes[used].kind in ("buffer", "constant") else ""
            declared.append(f"{const}{nodes[used].c_type} *{used}")
            arguments.append(used)
        name = f"{self._function}_{len(self._loops)}"
        head = f"static __attribute__((noinline)) void {name}({', '.join(declared)})"
        self._loops.append(f"{head} {text}\n")
        return f"    {name}({', '.join(arguments)});"

    def _fetch(self, node: Node) -> Iterator[str]:
        per = math.prod(node.shape[1:])
        name = self._name(node)
        yield f"    for (long e = 0; e < n; e++) memcpy({name} + e * {per},"
        yield f"        column{node.place} + index[t0 + e] * {per}, {per} * sizeof(*{name}));"

    def _operand(self, view: View, *, after: bool = False) -> str:
        """Return C code for the address, row stride and column stride of one matrix of a view.

        A view holds several matrices; the C variable `r` is the number of the matrix. The matrix
        covers one tile of examples or, if `after`, the whole batch.
        """
        *_, rows, columns = view.strides
        name = self._name(view.node)
        if after and view.node in self._plan.crossing:
            name = f"all{name}"
        matrix = _line_offset(view.shape[:-2], view.strides[:-2]) or 0
        return f"{name} + {view.offset} + {matrix}, {rows}, {columns}"

    def _few(self, node: Node) -> str:
        """Return the C condition for computing the gradient `node` row by row in the optimizer.

        It requires a small batch without gradient clipping. Else a matrix product computes `node`.
        """
        return f"at_once && {times_rows(node.operands[0].shape[1], 'B')} <= FEW"

    def _product(self, node: Node) -> Iterator[str]:
        a, b = node.operands[:2]
        bias = "0"
        for view in node.operands[2:]:
            bias = f"{self._name(view.node)} + {view.offset}"
        sizes = _sizes(a, b, "n")
        beta, unless = "0", ""
        if node.accumulates:
            beta = "t0 > 0"
        if self._at_once(node):
            unless = f"if (!({self._few(node)})) "
        to = self._name(node)
        if len(node.shape) == 3:
            yield f"    for (long r = 0; r < {times_rows(node.shape[0], 'n')}; r++)"
            to += f" + r * {node.shape[1] * node.shape[2]}"
        yield (
            f"    {unless}product({sizes}, {self._operand(a)}, {self._operand(b)}, {bias}, "
            f"{beta}, {to});"
        )

    def _updates(
        self, gradients: Sequence[tuple[int, str, int]], optimizer: Optimizer
    ) -> Iterator[str]:
        rule, group = rule_of(optimizer), optimizer.param_groups[0]
        n_numbers, n_states = len(rule.numbers(group)), len(rule.states(group))
        yield "    float clip = 1;"
        yield "    if (call->clip > 0) {"
        yield "    double square = 0;"
        for _, name, n in gradients:
            yield f"    square += square_of({n}, {name});"
        yield "    clip = call->clip / ((float)sqrt(square) + 1e-6f); if (clip > 1) clip = 1;"
        yield "    }"
        n_of_step = n_numbers * len(optimizer.param_groups)
        for place, name, n in gradients:
            view = self._graph.gradients[place]
            assert view is not None
            at = f"step * {n_of_step} + {self._groups[place] * n_numbers}"
            pointers = [f"call->states[{place * n_states + k}]" for k in range(n_states)]
            states = ", ".join([*pointers, "0", "0"][:2])
            yield f"    {{ float d[8]; prepare(call->numbers + {at}, call->counts[{place}], d);"
            yield f"    float *w = call->parameters[{place}];"
            whole = f"update({n}, w, {name}, {states}, clip, d);"
            if self._at_once(view.node):
                a, b = view.node.operands[:2]
                operands = f"{self._operand(a, after=True)}, {self._operand(b, after=True)}"
                yield f"    if ({self._few(view.node)})"
                yield f"        update_few({_sizes(a, b, 'B')}, {operands}, w, {states}, d);"
                yield "    else"
            yield f"    {whole} }}"


def _sizes(a: View, b: View, rows: str) -> str:
    """Return a product's sizes as C arguments: rows, columns, and number of terms per element."""
    return ", ".join(times_rows(n, rows) for n in (a.shape[-2], b.shape[-1], a.shape[-1]))


class _Lines:
    """The writer of the C code of one loop over lines (rows of the last dimension)."""

    def __init__(self, writer: _CWriter, kernel: Kernel, n_lines: str) -> None:
        self._writer = writer
        self._plan = writer._plan
        self._kernel = kernel
        self._n_lines = n_lines
        self._values: dict[str, tuple[str, str]] = {}  # C expression -> type, name of its variable
        self._begin_segment()

    def text(self) -> Iterator[str]:
        """Yield the loop as lines of C code."""
        inner: list[str] = []
        for nodes in self._kernel.segments:
            inner += self._segment(nodes)
        yield "{"
        yield f"    for (long r = 0; r < {self._n_lines}; r++) {{"
        yield "        const long c = 0;  // in a loop over elements, another c"
        for place, (c_type, name) in self._values.items():
            yield f"        const {c_type} {name} = {place};"
        for line in inner:
            yield f"        {line}"
        yield "    }}"

    def _value(self, node: Node) -> str:
        return f"v{self._writer._numbers[node]}"

    def _begin_segment(self) -> None:
        """Make empty lists for C lines before, inside and after a loop, and for OpenMP clauses."""
        self._before: list[str] = []
        self._clauses: list[str] = []
        self._inside: list[str] = []
        self._after: list[str] = []

    def _segment(self, nodes: Sequence[Node]) -> Iterator[str]:
        self._begin_segment()
        length = nodes[0].space[-1]
        for node in nodes:
            if node.kind in ("sum", "peak"):
                self._reduction(node)
            elif node.kind == "scatter":
                self._scatter(node)
            else:
                self._element(node)
        yield from self._before
        if length == 1:
            yield from self._inside
        else:
            yield f"#pragma omp simd {' '.join(self._clauses)}"
            yield f"for (long c = 0; c < {length}; c++) {{"
            for line in self._inside:
                yield f"    {line}"
            yield "}"
        yield from self._after

    def _scatter(self, node: Node) -> None:
        up, place = node.operands
        row, (n, width) = self._value(node), node.shape
        self._before.append(f"const int64_t {row} = place_of({self._read(place, node)}, {n}, bad);")
        target = f"{self._writer._name(node)}[{row} * {width} + c]"
        self._inside.append(f"{target} += {self._read(up, node)};")

    def _element(self, node: Node) -> None:
        value = self._value(node)
        if node.kind == "take":
            text = self._taken(node)
        else:
            text = self._filled_in(node)
        self._inside.append(f"const {node.c_type} {value} = {text};")
        if node in self._plan.stored:
            self._inside.append(f"{self._place(View.of(node))} = {value};")

    def _taken(self, node: Node) -> str:
        place, table = node.operands
        n, width = table.shape
        if not table.is_whole:
            raise unsupported("embedding of a view")
        row = f"at{self._value(node)}"
        self._before.append(f"const int64_t {row} = place_of({self._read(place, node)}, {n}, bad);")
        return f"{self._writer._name(table.node)}[{row} * {width} + c]"

    def _filled_in(self, node: Node) -> str:
        text = node.text
        for at, view in enumerate(node.operands):
            text = text.replace(f"{{{at}}}", self._read(view, node))
        text = self._with_places(text, node)
        # The number of lines per example; 0 if the number of lines is independent of the batch size
        per = self._kernel.n_lines // STAND_IN
        element = f"(t0 * {per} + r) * {node.space[-1]} + c"
        return text.replace("{element}", element)

    def _with_places(self, text: str, node: Node) -> str:
        """Replace `{d0}`, `{d1}`, ... by C for the element's index in dimension 0, 1, ..."""
        shape = node.space
        first = 0 if shape[: len(node.shape)] == node.shape else len(shape) - len(node.shape)
        for dim in range(len(node.shape)):
            at = dim + first
            inner = math.prod(shape[at + 1 : -1])
            place = f"(r / {inner} % {times_rows(shape[at], 'B')})"
            if at == len(shape) - 1:
                place = "c"
            text = text.replace(f"{{d{dim}}}", place)
        return text

    def _reduction(self, node: Node) -> None:
        read, value = self._read(node.operands[0], node), self._value(node)
        is_loop = node.space[-1] > 1
        over_line = len(node.space) - 1 in node.dims or not is_loop
        if not node.ends_lines and not over_line:
            self._inside.append(f"{self._sum_place(node)} += {read};")
            return
        if node.kind == "peak":
            operator, start = "max", "INT64_MIN"
            if node.dtype.is_floating_point:
                start = "-INFINITY"
            self._inside.append(f"{value} = {value} > {read} ? {value} : {read};")
        else:
            operator, start = "+", "0"
            self._inside.append(f"{value} += {read};")
        self._before.append(f"{C_TYPES[node.dtype]} {value} = {start};")
        if is_loop:
            self._clauses.append(f"reduction({operator}:{value})")
        if not node.ends_lines:
            self._after.append(f"{self._sum_place(node)} += {value};")
        elif node in self._plan.stored:
            self._after.append(f"{self._writer._name(node)}[r] = {value};")

    def _sum_place(self, node: Node) -> str:
        """Return a C expression for one element of the sum `node`.

        To this element, the loop over the operand's elements adds the operand's current element.
        """
        shape = node.space
        left = list(shape)
        for dim in node.dims:
            left[dim] = 1
        steps = list(contiguous(tuple(left)))
        for dim in node.dims:
            steps[dim] = 0
        return self._place(View(node, shape, tuple(steps)))

    def _read(self, view: View, user: Node) -> str:
        node = view.node
        if self._plan.is_here(view, user):
            return self._value(node)
        shape, strides = loops(view)
        if strides[-1] and shape[-1] > 1:
            return self._place(view)
        place = self._place(View(node, shape, (*strides[:-1], 0), view.offset))
        unused = f"s{len(self._values)}"
        return self._values.setdefault(place, (node.c_type, unused))[1]

    def _place(self, view: View) -> str:
        """Return C for a view's element at line `r` and column `c`, the loop variables in C."""
        shape, strides = loops(view)
        line = _line_offset(shape[:-1], strides[:-1]) or 0
        return f"{self._writer._name(view.node)}[{line} + {view.offset} + c * {strides[-1]}]"


def _line_offset(shape: Shape, strides: Shape) -> str:
    """Return a C expression for the memory offset of line `r`, a row of the last dimension.

    Adjacent dimensions without gaps in memory count as one, which makes the expression shorter.
    """
    groups: list[tuple[int, int]] = []  # size and stride of each group of adjacent dimensions
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
            index = f"(r / {inner})" if inner != 1 else "r"
            if at > 0:
                index = f"({index} % {size})"
            if stride != 1:
                index = f"{index} * {stride}"
            terms.append(index)
        inner *= size
    return " + ".join(terms)


def program(functions: Sequence[tuple[str, Graph, Optimizer | None]], groups: Sequence[int]) -> str:
    """Return the C of a library with one function per graph; only one may update parameters.

    Args:
        functions: each function's name, graph and optimizer (None to update no parameters).
        groups: the index of each parameter's group in the optimizer.
    """
    kernels = resources.files(__package__).joinpath("kernels.c").read_text(encoding="utf-8")
    texts = [kernels]
    for name, graph, optimizer in functions:
        if optimizer is not None:
            rule = rule_of(optimizer)
            texts += [rule.text(*rule.shape(optimizer.param_groups[0])), _FEW]
        texts.append(_CWriter(name, graph, optimizer, groups).text())
    return "\n".join(texts)


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
