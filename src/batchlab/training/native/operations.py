"""Operations: for each supported ATen operation, a C expression or a function that adds nodes.

An operation without a row in `OPERATIONS` is divided by PyTorch's own rules into operations that
may have rows, so a row is needed only for speed, or if PyTorch has no rule. The row of an
elementwise operation is a C expression with the argument names of ATen's schema. Any other row is a
function of the graph and of the arguments by name. Each result has the shape and type that PyTorch
reports.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from batchlab.training.native.graph import (
    STAND_IN,
    Graph,
    Number,
    Scaled,
    Shape,
    View,
    contiguous,
    has_rows,
    literal,
    times_rows,
    unsupported,
)

Arguments = Mapping[str, Any]
Operation = Callable[[Graph, Arguments], Any]


def _product_and_bias(g: Graph, a: Arguments) -> View:
    if a["beta"] != 1 or a["alpha"] != 1:
        raise unsupported("addmm with factors")
    bias = a["self"].expanded((a["mat1"].shape[0], a["mat2"].shape[1]))
    if bias.strides != (0, 1) or bias.rows != a["mat1"].rows:
        return g.point("{0} + {1}", g.product(a["mat1"], a["mat2"]), bias)
    return g.product(a["mat1"], a["mat2"], bias)


def _sum(g: Graph, a: Arguments) -> View:
    dtype = torch.int64 if not a["self"].dtype.is_floating_point else None
    return g.sum(a["self"], a.get("dim") or (), keep=a.get("keepdim", False), dtype=dtype)


def _amax(g: Graph, a: Arguments) -> View:
    (dim,) = a["dim"]
    return _one_per_line(a, g.peak(a["self"], dim % len(a["self"].shape)))


def _one_per_line(a: Arguments, x: View) -> View:
    """Return `x` without its last dimension, which has size 1, unless `keepdim` is set."""
    return x if a["keepdim"] else x.reshaped(x.shape[:-1], x.strides[:-1])


def _place_of_peak(g: Graph, x: View, peak: View) -> View:
    # Return the first index among equal maxima, as PyTorch does. In a line with a NaN, the index is
    # arbitrary.
    text = f"({{0}} == {{1}} ? -(int64_t){{d{len(x.shape) - 1}}} : -INT64_MAX)"
    places = g.point(text, x, peak, dtype=torch.int64)
    return g.point("-{0}", g.peak(places, len(x.shape) - 1), dtype=torch.int64)


def _max_with_place(g: Graph, a: Arguments) -> tuple[View, View]:
    if a["dim"] is None:
        raise unsupported("argmax of a whole tensor")
    x: View = a["self"]
    peak = g.peak(x, a["dim"] % len(x.shape))
    return _one_per_line(a, peak), _one_per_line(a, _place_of_peak(g, x, peak))


def _power(g: Graph, a: Arguments) -> View:
    x, exponent = a["self"], a["exponent"]
    texts = {1: "{0}", 2: "{0} * {0}", 3: "{0} * {0} * {0}", 0.5: "sqrtf({0})", -1: "1.0f / {0}"}
    if exponent in texts:
        return g.point(texts[exponent], x, dtype=x.dtype)
    return g.point(f"powf({{0}}, {literal(exponent, 'f')})", x)


def _inverted(g: Graph, a: Arguments) -> View:
    x: View = a["self"]
    return g.point("!{0}" if x.dtype == torch.bool else "~{0}", x, dtype=x.dtype)


def _clamp(g: Graph, a: Arguments) -> View:
    x: View = a["self"]
    if a["min"] is not None:
        x = g.point("({0} < {1} ? {1} : {0})", x, a["min"])
    if a["max"] is not None:
        x = g.point("({0} > {1} ? {1} : {0})", x, a["max"])
    return x


def _arange(g: Graph, a: Arguments) -> View:
    start, end, step = a.get("start", 0), a["end"], a.get("step", 1)
    if not all(isinstance(number, int) for number in (start, end, step)):
        raise unsupported("arange of examples or of fractions")
    shape = (len(range(start, end, step)),)
    return g.point(f"{start} + {step} * {{d0}}", shape=shape, dtype=torch.int64)


def _gather(g: Graph, a: Arguments) -> View:
    x, dim = a["self"], a["dim"] % len(a["self"].shape)
    if a["index"].shape[dim] != 1:
        raise unsupported("gather of several places")
    chosen = g.point("({0} ? {1} : 0)", _is_place(g, x.shape, a), x, dtype=x.dtype)
    return g.sum(chosen, [dim], keep=True)


def _scatter(g: Graph, a: Arguments) -> View:
    x, dim = a["self"], a["dim"] % len(a["self"].shape)
    if a["index"].shape[dim] != 1:
        raise unsupported("scatter to several places")
    return g.point("({0} ? {1} : {2})", _is_place(g, x.shape, a), a["value"], x, dtype=x.dtype)


def _is_place(g: Graph, shape: Shape, a: Arguments) -> View:
    """Return whether `index` names the place in dimension `dim` of each element of `shape`."""
    dim, index = a["dim"] % len(shape), a["index"]
    text = f"place_of({{0}}, {shape[dim]}, bad)"
    checked = g.add("point", index.shape, torch.int64, operands=(index,), text=text)
    return g.point(f"{{0}} == {{d{dim}}}", checked, shape=shape, dtype=torch.bool)


def _variance_and_mean(g: Graph, a: Arguments) -> tuple[View, View]:
    x, dims = a["self"], a["dim"] or ()
    if a["correction"] != 0:
        raise unsupported("a variance of a sample")
    mean = g.mean(x, dims, keep=True)
    variance = g.mean(g.point("({0} - {1}) * ({0} - {1})", x, mean), dims, keep=a["keepdim"])
    return variance, mean if a["keepdim"] else g.mean(x, dims)


def _embedding(g: Graph, a: Arguments) -> View:
    table, places = a["weight"], a["indices"]
    shape = (*places.shape, table.shape[1])
    places = places.with_dimension(len(places.shape)).expanded(shape)
    return g.add("take", shape, table.dtype, operands=(places, table))


def _embedding_backward(g: Graph, a: Arguments) -> View:
    up, places = a["grad_output"], a["indices"]
    if a["scale_grad_by_freq"]:
        raise unsupported("embedding with scale_grad_by_freq")
    places = places.with_dimension(len(places.shape)).expanded(up.shape)
    if a["padding_idx"] >= 0:
        up = g.point(f"({{0}} == {a['padding_idx']} ? 0.0f : {{1}})", places, up)
    shape = (a["num_weights"], up.shape[-1])
    return g.add("scatter", shape, up.dtype, operands=(up, places))


def _shifted(g: Graph, x: View, shape: Shape, dim: int, start: int) -> View:
    """Return a view of a larger `shape`, in which `x` begins at index `start` of dimension `dim`.

    Elements outside of `x` must not be read.
    """
    if x.strides[-1] == 0:
        x = g.point("{0}", x, dtype=x.dtype)
    if shape[-1] == 1:  # refuse: C would load `x` without a bounds test, perhaps outside `x`
        raise unsupported("a part of a tensor with nothing in its last dimension")
    return View(x.node, shape, x.strides, x.offset - start * x.strides[dim])


def _bernoulli(g: Graph, a: Arguments) -> View:
    if a.get("generator") is not None or not isinstance(a["p"], float):
        raise unsupported("random numbers of a generator")
    return g.draw(a["self"], a["p"])


def _slice_backward(g: Graph, a: Arguments) -> View:
    up, shape = a["grad_output"], _sizes(a["input_sizes"])
    dim = a["dim"] % len(shape)
    start, stop, step = slice(a["start"], a["end"], a["step"]).indices(shape[dim])
    if step != 1 or shape[dim] % STAND_IN == 0:
        raise unsupported("slice of examples or with steps")
    if stop - start == shape[dim]:
        return g.point("{0}", up, dtype=up.dtype)
    text = f"({{d{dim}}} >= {start} && {{d{dim}}} < {stop} ? {{0}} : 0.0f)"
    return g.point(text, _shifted(g, up, shape, dim, start), shape=shape, dtype=up.dtype)


def _sizes(sizes: Sequence[Number]) -> Shape:
    shape = []
    for size in sizes:
        if isinstance(size, Scaled):
            size = int(size.factor) * STAND_IN
        shape.append(int(size))
    return tuple(shape)


def _cat(g: Graph, a: Arguments) -> View:
    tensors: list[View] = a["tensors"]
    first = tensors[0]
    dim = a["dim"] % len(first.shape)
    total, text, dtypes = 0, "", set()
    for at, x in enumerate(tensors):
        total += x.shape[dim]
        text += f"{{d{dim}}} < {total} ? {{{at}}} : "
        dtypes.add(x.dtype)
    if total % STAND_IN == 0 or len(dtypes) > 1:
        raise unsupported("cat of examples or of several types")
    shape = (*first.shape[:dim], total, *first.shape[dim + 1 :])
    start, shifted = 0, []
    for x in tensors:
        shifted.append(_shifted(g, x, shape, dim, start))
        start += x.shape[dim]
    return g.point(f"({text}0)", *shifted, shape=shape, dtype=first.dtype)


def _stack(g: Graph, a: Arguments) -> View:
    tensors: list[View] = a["tensors"]
    dim = a["dim"] % (len(tensors[0].shape) + 1)
    if dim == 0 and tensors[0].rows:  # stack along dimension 1, because examples must be first
        stacked = _stack(g, {"tensors": tensors, "dim": 1})
        return stacked.permuted([1, 0, *range(2, len(stacked.shape))])
    return _cat(g, {"tensors": [x.with_dimension(dim) for x in tensors], "dim": dim})


def _windows(shape: Shape, kernel: Sequence[int], a: Arguments) -> tuple[str, Shape, int]:
    """Describe in C the windows that a convolution or pooling moves over images.

    The images have the `shape` (n, channels, height, width) or (n, channels, width).

    Returns:
        A `struct windows` in C; the number of windows down and across; a padded image's size.
    """
    n_dims = len(shape) - 2
    if n_dims not in (1, 2) or {*a["dilation"]} != {1} or a.get("ceil_mode"):
        raise unsupported("windows with holes, or beyond an edge, or of three dimensions")

    def both(sizes: Sequence[int], of_lines: int) -> tuple[int, ...]:
        of_dims = tuple(sizes) * (n_dims // len(sizes))
        return (of_lines, *of_dims) if n_dims == 1 else of_dims

    size, extent = both(shape[2:], 1), both(kernel, 1)
    step, edge = both(a["stride"] or kernel, 1), both(a["padding"], 0)
    framed = (size[0] + 2 * edge[0], size[1] + 2 * edge[1])
    down, across = framed[0] - extent[0], framed[1] - extent[1]
    places = (down // step[0] + 1, across // step[1] + 1)
    numbers = (shape[1], *size, *extent, *step, *edge, *places)
    text = f"(struct windows){{{{{', '.join(map(str, numbers))}}}}}"
    return text, places, shape[1] * math.prod(framed)


def _call(
    g: Graph, text: str, shape: Shape, *operands: View, dtype: torch.dtype = torch.float32
) -> View:
    """Add a node whose tensor a function of kernels.c fills; `text` is the call in C."""
    whole = []
    for operand in operands:
        if not operand.is_whole:
            operand = g.point("{0}", operand, dtype=operand.dtype)
        whole.append(g.plain(operand))
    return g.add("call", shape, dtype, operands=tuple(whole), text=text)


def _convolving(function: str, x: View, weight: View, a: Arguments) -> tuple[str, Shape]:
    """Return the C call of a convolution function, and the height and width of its result."""
    if a["transposed"] or a["groups"] != 1 or weight.rows:
        raise unsupported("convolution transposed or in groups")
    windows, places, framed = _windows(x.shape, weight.shape[2:], a)
    unfolded = math.prod(weight.shape[1:]) * math.prod(places)
    if unfolded + framed > 2**24:  # refuse, because each thread would need such large arrays
        raise unsupported("convolution of large images")
    text = (
        f"static __thread float cols[{unfolded}], frame[{framed}]; {function}({windows}, "
        f"{times_rows(x.shape[0], 'n')}, {weight.shape[0]}, {{0}}, {{1}}, cols, frame, {{out}});"
    )
    return text, places[4 - len(x.shape) :]


def _convolution(g: Graph, a: Arguments) -> View:
    x, weight, bias = a["input"], a["weight"], a["bias"]
    text, places = _convolving("convolve", x, weight, a)
    planes = _call(g, text, (x.shape[0], weight.shape[0], *places), x, weight)
    if bias is None:
        return planes
    for _ in places:
        bias = bias.with_dimension(len(bias.shape))
    return g.point("{0} + {1}", planes, bias)


def _convolution_backward(g: Graph, a: Arguments) -> tuple[View | None, ...]:
    up, x, weight = a["grad_output"], a["input"], a["weight"]
    to_images, to_weights, to_bias = a["output_mask"]
    back = scale = shift = None
    if to_images:
        text, _ = _convolving("convolve_back", x, weight, a)
        back = _call(g, text, x.shape, up, weight)
    if to_weights:
        text, _ = _convolving("convolve_weights", x, weight, a)
        scale = _call(g, text, weight.shape, up, x)
    if to_bias:
        sizes = f"{times_rows(up.shape[0], 'n')}, {up.shape[1]}, {math.prod(up.shape[2:])}"
        shift = _call(g, f"add_planes({sizes}, {{0}}, {{out}});", weight.shape[:1], up)
    return back, scale, shift


def _max_pool(g: Graph, a: Arguments) -> tuple[View, View]:
    x: View = a["self"]
    planes = math.prod(x.shape[:-2])
    windows, n, _ = _windows((planes, 1, *x.shape[-2:]), a["kernel_size"], a)
    # kernels.c stores one row of pooling windows on the stack, so refuse rows that are too long.
    if n[1] > 4096:
        raise unsupported("windows, more than 4096 in a line")
    shape, count = (*x.shape[:-2], *n), times_rows(planes, "n")
    text = f"peak_places({windows}, {count}, {{0}}, {{out}});"
    places = _call(g, text, shape, x, dtype=torch.int64)
    text = f"picked({math.prod(x.shape[-2:])}, {math.prod(n)}, {count}, {{0}}, {{1}}, {{out}});"
    return _call(g, text, shape, x, places), places


def _max_pool_backward(g: Graph, a: Arguments) -> View:
    up, places, shape = a["grad_output"], a["indices"], a["self"].shape
    sizes = f"{math.prod(shape[-2:])}, {math.prod(up.shape[-2:])}"
    planes = times_rows(math.prod(shape[:-2]), "n")
    return _call(g, f"put_back({sizes}, {planes}, {{0}}, {{1}}, {{out}});", shape, up, places)


def _average_pool(g: Graph, a: Arguments) -> View:
    x, kernel = a["self"], a["kernel_size"] * (2 // len(a["kernel_size"]))
    down, rows_left = divmod(x.shape[-2], kernel[0])
    across, columns_left = divmod(x.shape[-1], kernel[1])
    is_apart = a["stride"] not in ([], a["kernel_size"]) or any(a["padding"])
    if rows_left or columns_left or is_apart or a["divisor_override"]:
        raise unsupported("means of windows that are not beside one another")
    return _means(g, {"self": x, "output_size": [down, across]})


def _means(g: Graph, a: Arguments) -> View:
    x, (down, across) = a["self"], _extent(a["self"].shape, a["output_size"])
    apart = (*x.shape[:-2], down, across, *a["output_size"])
    strides = (*x.strides, x.strides[-2] * down, x.strides[-1] * across)
    return g.mean(x.reshaped(apart, strides), [-4, -3])


def _means_backward(g: Graph, a: Arguments) -> View:
    up, shape = a["grad_output"], a["self"].shape
    (n, m), (down, across) = up.shape[-2:], _extent(shape, up.shape[-2:])
    strides = (*up.strides[:-1], 0, up.strides[-1], 0)
    wide = up.reshaped((*up.shape[:-2], n, down, m, across), strides)
    return g.point("{0} / {1}", wide, down * across).reshaped(shape, contiguous(shape))


def _extent(shape: Shape, n: Sequence[int]) -> tuple[int, int]:
    """Return the height and width of windows if they divide an image into n[0] rows of n[1]."""
    if shape[-2] % n[0] or shape[-1] % n[1]:
        raise unsupported("means of windows that are not equal")
    return shape[-2] // n[0], shape[-1] // n[1]


OPERATIONS: dict[str, str | Operation] = {
    "pow.Tensor_Tensor": "powf({self}, {exponent})",
    "pow.Scalar": "powf({self}, {exponent})",
    "neg": "-{self}",
    "abs": "fabsf({self})",
    "sgn": "(({self} > 0) - ({self} < 0))",
    "sign": "(({self} > 0) - ({self} < 0))",
    "reciprocal": "1.0f / {self}",
    "sqrt": "sqrtf({self})",
    "rsqrt": "1.0f / sqrtf({self})",
    "exp": "exp_of({self})",
    "expm1": "exp_of({self}) - 1.0f",
    "log": "logf({self})",
    "log1p": "log1pf({self})",
    "sin": "sinf({self})",
    "cos": "cosf({self})",
    "erf": "erf_of({self})",
    "tanh": "tanh_of({self})",
    "sigmoid": "sigmoid_of({self})",
    "relu": "({self} <= 0.0f ? 0.0f : {self})",  # NaN stays NaN, as in PyTorch
    "threshold_backward": "({self} <= {threshold} ? 0.0f : {grad_output})",
    "leaky_relu_backward": "({self} > 0.0f ? {grad_output} : {grad_output} * {negative_slope})",
    "hardtanh_backward": "({self} <= {min_val} || {self} >= {max_val} ? 0.0f : {grad_output})",
    "softplus": "({self} * {beta} > {threshold} ? {self} : "
    "log1pf(exp_of({self} * {beta})) / {beta})",
    "softplus_backward": "({self} * {beta} > {threshold} ? {grad_output} : "
    "{grad_output} * sigmoid_of({self} * {beta}))",
    "maximum": "({self} > {other} || {self} != {self} ? {self} : {other})",
    "minimum": "({self} < {other} || {self} != {self} ? {self} : {other})",
    "where.self": "({condition} ? {self} : {other})",
    "logical_not": "!{self}",
    "logical_and": "{self} && {other}",
    "logical_or": "{self} || {other}",
    "bitwise_and.Tensor": "{self} & {other}",
    "bitwise_or.Tensor": "{self} | {other}",
    "clone": "{self}",
    "copy": "{src}",
    "_to_copy": "{self}",
    "full_like": "{fill_value}",
    "new_full": "{fill_value}",
    "ones": "1",
    "zeros": "0",
    "full": "{fill_value}",
    "scalar_tensor": "{s}",
    # The elements of these are overwritten later, so any value is right.
    **dict.fromkeys(("empty_like", "empty.memory_format"), "0"),
    "fill.Scalar": "{value}",
    "zero": "0",
    **dict.fromkeys(("mm", "bmm"), lambda g, a: g.product(a["self"], a["mat2"])),
    "addmm": _product_and_bias,
    "sum": _sum,
    "sum.dim_IntList": _sum,
    "mean": lambda g, a: g.mean(a["self"], ()),
    "mean.dim": lambda g, a: g.mean(a["self"], a["dim"] or (), keep=a["keepdim"]),
    "amax": _amax,
    "argmax": lambda g, a: _max_with_place(g, a)[1],
    "max.dim": _max_with_place,
    "pow.Tensor_Scalar": _power,
    "clamp": _clamp,
    **dict.fromkeys(("arange", "arange.start", "arange.start_step"), _arange),
    "gather": _gather,
    "scatter.value": _scatter,
    "var_mean.correction": _variance_and_mean,
    "embedding": _embedding,
    "embedding_dense_backward": _embedding_backward,
    "bernoulli.float": _bernoulli,
    "bernoulli.p": _bernoulli,
    "slice_backward": _slice_backward,
    "cat": _cat,
    "stack": _stack,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d_with_indices_backward": _max_pool_backward,
    "avg_pool2d": _average_pool,
    "_adaptive_avg_pool2d": _means,
    "avg_pool2d_backward": _means_backward,
    "_adaptive_avg_pool2d_backward": _means_backward,
    "bitwise_not": _inverted,
}
for _kind in ("Tensor", "Scalar"):  # the type of the second operand, `other`
    OPERATIONS |= {
        f"add.{_kind}": "{self} + {alpha} * {other}",
        f"sub.{_kind}": "{self} - {alpha} * {other}",
        f"rsub.{_kind}": "{other} - {alpha} * {self}",
        f"mul.{_kind}": "{self} * {other}",
        f"div.{_kind}": "{self} / {other}",
        f"eq.{_kind}": "{self} == {other}",
        f"ne.{_kind}": "{self} != {other}",
        f"lt.{_kind}": "{self} < {other}",
        f"le.{_kind}": "{self} <= {other}",
        f"gt.{_kind}": "{self} > {other}",
        f"ge.{_kind}": "{self} >= {other}",
    }


def lowered(
    g: Graph, name: str, arguments: dict[str, Any], results: Mapping[int, Tensor]
) -> dict[int, View | None]:
    """Add an operation's nodes to the graph; return the results as views, by result index.

    Raises:
        RefusedError: the operation is not in `OPERATIONS`, or a memory layout is unsupported.
    """
    row = OPERATIONS.get(name)
    if row is None:
        raise unsupported(name)
    if isinstance(row, str):
        (result,) = results.values()
        return {0: _pointwise(g, row, name, arguments, result)}
    views = row(g, arguments)
    if not isinstance(views, tuple):
        views = (views,)
    return {place: _laid_out(g, name, views[place], result) for place, result in results.items()}


def _pointwise(g: Graph, text: str, name: str, arguments: dict[str, Any], result: Tensor) -> View:
    order = _order(name, result)
    operands: list[View | Number] = []
    for argument in dict.fromkeys(re.findall(r"\{(\w+)\}", text)):
        operand = arguments[argument]
        if isinstance(operand, View):
            operand = operand.expanded(result.shape).permuted(order)
        text = text.replace(f"{{{argument}}}", f"{{{len(operands)}}}")
        operands.append(operand)
    shape = tuple(map(result.shape.__getitem__, order))
    point = g.point(text, *operands, shape=shape, dtype=result.dtype)
    return point.reshaped(tuple(result.shape), result.stride())


def _laid_out(g: Graph, name: str, view: View | None, result: Tensor) -> View | None:
    """Return a result laid out as in PyTorch, because later views depend on the memory order."""
    if view is None:
        return None
    if (view.shape, view.dtype) != (tuple(result.shape), result.dtype):
        raise unsupported(f"{name} to this shape or type")
    order = _order(name, result)
    if order == tuple(range(len(order))):
        return view
    copy = g.point("{0}", view.permuted(order), dtype=view.dtype)
    return copy.reshaped(tuple(result.shape), result.stride())


def _order(name: str, result: Tensor) -> tuple[int, ...]:
    """Return a result's dimensions in memory order, the innermost last; refuse memory with gaps."""
    strides = result.stride()
    order = sorted(range(len(strides)), key=lambda dim: -strides[dim])
    real = [dim for dim in order if result.shape[dim] != 1]
    packed = contiguous(tuple(map(result.shape.__getitem__, real)))
    if tuple(map(strides.__getitem__, real)) != packed:
        raise unsupported(f"{name} in another order of memory")
    return tuple(range(len(order))) if real == sorted(real) else tuple(order)


def viewed(tensor: Tensor, was: Tensor, base: View) -> View:
    """Return the graph's view for `tensor`, which is a PyTorch view of the tensor `was`.

    `base` is the graph's view for `was`; its dimensions may be in another memory order.

    Raises:
        RefusedError: the view has another type, only some of the examples, or another memory order.
    """
    if was.dtype != tensor.dtype:
        raise unsupported("a view of another type")
    shape, begin = tuple(tensor.shape), int(tensor.storage_offset())
    # C has only a tile of examples in memory, so refuse a view that selects some examples.
    if base.rows and not has_rows(shape):
        raise unsupported("a view of some of the examples")
    # A block is adjacent dimensions of `was` that can be treated as one dimension: its size, its
    # stride in PyTorch and its stride in the graph's view `base`.
    blocks: list[tuple[int, int, int]] = []
    dims = zip(was.shape, was.stride(), base.strides, strict=True)
    for size, there, here in sorted(dims, key=lambda dim: -dim[1]):
        if size == 1:
            continue
        if blocks and blocks[-1][1:] == (size * there, size * here):
            size *= blocks.pop()[0]
        blocks.append((size, there, here))
    if all(there == here for _, there, here in blocks):
        return View(base.node, shape, tensor.stride(), begin)
    strides = []
    for size, step in zip(shape, tensor.stride(), strict=True):
        most, there, here = next((block for block in blocks if block[1] <= step), (0, 1, 0))
        if size != 1 and step and (step % there or (size - 1) * (step // there) >= most):
            raise unsupported("a view across dimensions in another order of memory")
        strides.append(step // there * here)
    offset, rest = base.offset, begin - int(was.storage_offset())
    for _, there, here in blocks:
        offset += rest // there * here
        rest %= there
    return View(base.node, shape, tuple(strides), offset)
