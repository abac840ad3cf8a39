"""Operations: one row per ATen operation, with an expression in C or a function that makes nodes.

To add one, write a row in `POINTWISE` if each of its elements comes from one element of each
operand (the names are those of ATen's schema), or else a function in `COMPOSED`, which takes the
builder and the arguments by name. The shape and type of a result are those that PyTorch reports.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from batchlab.training.native.capture import Call, Held, Ref, Tape
from batchlab.training.native.graph import (
    C_TYPES,
    STAND_IN,
    Graph,
    Number,
    Scaled,
    Shape,
    View,
    contiguous,
    has_rows,
    number_of,
    times_rows,
    unsupported,
)

_BOTH = ("Tensor", "Scalar")
_COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}

POINTWISE: dict[str, str] = {
    **{f"add.{kind}": "{self} + {alpha} * {other}" for kind in _BOTH},
    **{f"sub.{kind}": "{self} - {alpha} * {other}" for kind in _BOTH},
    **{f"rsub.{kind}": "{other} - {alpha} * {self}" for kind in _BOTH},
    **{f"mul.{kind}": "{self} * {other}" for kind in _BOTH},
    **{f"div.{kind}": "{self} / {other}" for kind in _BOTH},
    **{f"{n}.{kind}": f"{{self}} {c} {{other}}" for n, c in _COMPARED.items() for kind in _BOTH},
    "pow.Tensor_Scalar": "powf({self}, {exponent})",  # `COMPOSED` comes first: see `_power`
    "pow.Tensor_Tensor": "powf({self}, {exponent})",
    "pow.Scalar": "powf({self}, {exponent})",
    "addcmul": "{self} + {value} * {tensor1} * {tensor2}",
    "neg": "-{self}",
    "abs": "fabsf({self})",
    "sgn": "(({self} > 0) - ({self} < 0))",
    "sign": "(({self} > 0) - ({self} < 0))",
    "reciprocal": "1.0f / {self}",
    "sqrt": "sqrtf({self})",
    "rsqrt": "1.0f / sqrtf({self})",
    "exp": "exp_of({self})",
    "log": "logf({self})",
    "log1p": "log1pf({self})",
    "sin": "sinf({self})",
    "cos": "cosf({self})",
    "erf": "erf_of({self})",
    "tanh": "tanh_of({self})",
    "tanh_backward": "{grad_output} * (1.0f - {output} * {output})",
    "sigmoid": "sigmoid_of({self})",
    "sigmoid_backward": "{grad_output} * (1.0f - {output}) * {output}",
    "relu": "({self} <= 0.0f ? 0.0f : {self})",  # a NaN stays a NaN
    "threshold_backward": "({self} <= {threshold} ? 0.0f : {grad_output})",
    "silu": "{self} * sigmoid_of({self})",
    "silu_backward": "silu_slope({self}) * {grad_output}",
    "leaky_relu": "({self} > 0.0f ? {self} : {self} * {negative_slope})",
    "leaky_relu_backward": "({self} > 0.0f ? {grad_output} : {grad_output} * {negative_slope})",
    "elu": "({self} > 0.0f ? {self} * {scale} : "
    "(exp_of({self} * {input_scale}) - 1.0f) * {alpha} * {scale})",
    "hardtanh": "({self} < {min_val} ? {min_val} : {self} > {max_val} ? {max_val} : {self})",
    "hardtanh_backward": "({self} <= {min_val} || {self} >= {max_val} ? 0.0f : {grad_output})",
    "softplus": "({self} * {beta} > {threshold} ? {self} : "
    "log1pf(exp_of({self} * {beta})) / {beta})",
    "softplus_backward": "({self} * {beta} > {threshold} ? {grad_output} : "
    "{grad_output} * sigmoid_of({self} * {beta}))",
    "maximum": "({self} > {other} || {self} != {self} ? {self} : {other})",
    "minimum": "({self} < {other} || {self} != {self} ? {self} : {other})",
    "clamp_min": "({self} < {min} ? {min} : {self})",
    "clamp_max": "({self} > {max} ? {max} : {self})",
    "where.self": "({condition} ? {self} : {other})",
    "masked_fill.Scalar": "({mask} ? {value} : {self})",
    "logical_not": "!{self}",
    "logical_and": "{self} && {other}",
    "logical_or": "{self} || {other}",
    "clone": "{self}",
    "_to_copy": "{self}",
    "ones_like": "1",
    "zeros_like": "0",
    "full_like": "{fill_value}",
    "new_zeros": "0",
    "new_ones": "1",
    "new_full": "{fill_value}",
    "ones": "1",
    "zeros": "0",
    "full": "{fill_value}",
    "scalar_tensor": "{s}",
    "empty_like": "0",  # it is filled afterwards
    "fill.Scalar": "{value}",
    "zero": "0",
}


_CALL = re.compile(r"[a-z]\w*f?\((?!float|double)")  # a call of a single-precision function


class Builder:
    """The maker of nodes, with the methods that the functions of `COMPOSED` use."""

    def __init__(self, graph: Graph) -> None:
        """Add nodes to this graph."""
        self.graph = graph

    def draw(self, x: View, chance: float) -> View:
        """Draw 1 with this chance, else 0, per element; each call and step draws other values."""
        text = f"(uniform_of(noise, {self.graph.n_draws}, {{element}}) < {chance!r}f ? 1.0f : 0.0f)"
        self.graph.n_draws += 1
        return self.point(text, shape=x.shape)

    def point(
        self,
        text: str,
        *given: View | Number,
        shape: Shape | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> View:
        """Compute each element from one of each operand; `{0}` in the text is the first operand."""
        views = [part for part in given if isinstance(part, View)]
        if shape is None:
            shape = tuple(torch.broadcast_shapes(*(view.shape for view in views)))
        dtypes = {dtype, *(view.dtype for view in views)}
        is_float = any(each.is_floating_point for each in dtypes)
        if _CALL.search(text) and (torch.float64 in dtypes or not is_float):
            raise unsupported(f"numbers of type {dtype}")
        suffix = "" if torch.float64 in dtypes else "f"
        names: list[str] = []
        operands: list[View] = []
        for part in given:
            if isinstance(part, View):
                cast = is_float and not part.dtype.is_floating_point
                names.append(f"{'(float)' if cast else ''}{{{len(operands)}}}")
                operands.append(part if part.shape == shape else part.expanded(shape))
            else:
                names.append(literal(part, suffix if is_float else None))
        filled = re.sub(r"\{(\d+)\}", lambda found: names[int(found[1])], text)
        if dtype == torch.bool:  # true + true is true, not two
            filled = f"(({filled}) != 0)"
        return self.graph.add("point", shape, dtype, operands=tuple(operands), text=filled)

    def sum(
        self, x: View, dims: Sequence[int], *, keep: bool = False, dtype: torch.dtype | None = None
    ) -> View:
        """Return the sum over some dimensions, or over all if `dims` is empty."""
        return self._reduced("sum", x, dims, keep, dtype or x.dtype)

    def peak(self, x: View, dim: int) -> View:
        """Return the largest along one dimension, which is kept with size 1."""
        return self._reduced("peak", x, [dim], True, x.dtype)

    def mean(self, x: View, dims: Sequence[int], *, keep: bool = False) -> View:
        """Return the mean over some dimensions, or over all if `dims` is empty."""
        dims = _dims(x.shape, dims)
        total = self.sum(x, dims, keep=keep)
        return self.point("{0} / {1}", total, number_of(x.shape, dims), dtype=x.dtype)

    def _reduced(
        self, kind: str, x: View, dims: Sequence[int], keep: bool, dtype: torch.dtype
    ) -> View:
        if not x.shape:
            return self.point("{0}", x, dtype=dtype)
        # Loops need the examples in the first dimension.
        order = sorted(range(len(x.shape)), key=lambda dim: not has_rows((x.shape[dim],)))
        of_all = _dims(x.shape, dims)
        x, gone = _permuted(x, order), tuple(at for at, dim in enumerate(order) if dim in of_all)
        shape = tuple(size for dim, size in enumerate(x.shape) if dim not in gone)
        # `loops_of` puts a dimension in front of a single one without examples.
        wide = len(x.shape) == 1 and not has_rows(x.shape)
        over = tuple(dim + wide for dim in gone)
        if kind == "peak" and gone != (len(x.shape) - 1,):
            raise unsupported("max not over the last dimension")
        found = self.graph.add(kind, shape, dtype, operands=(x,), dims=over)
        whole = tuple(1 if dim in gone else size for dim, size in enumerate(x.shape))
        back = [order.index(dim) for dim in range(len(order)) if keep or dim not in of_all]
        return _permuted(found.reshaped(whole, contiguous(whole)), back)

    def product(self, a: View, b: View, bias: View | None = None) -> View:
        """Return the product of two matrices, or one per index of their first dimensions."""
        batch = (math.prod(a.shape[:-2]),) if len(a.shape) > 2 else ()
        shape = (*batch, a.shape[-2], b.shape[-1])
        with_bias = () if bias is None else (bias.expanded(shape),)
        operands = tuple(map(self.plain, (a, b, *with_bias)))
        return self.graph.add("product", shape, torch.float32, operands=operands)

    def plain(self, x: View) -> View:
        """Return a view that kernels.c can read; a sum of everything is converted from double."""
        return x if x.node.c_type == C_TYPES[x.dtype] else self.point("{0}", x)


def literal(number: Number, suffix: str | None) -> str:
    """Return a number as C, with the suffix of its type; it is whole if the suffix is None."""
    if isinstance(number, Scaled):
        return (
            f"(int64_t){number}"
            if suffix is None
            else f"({'float' if suffix else 'double'}){number}"
        )
    if suffix is None:
        return str(int(number))
    if math.isnan(number) or math.isinf(number):
        return "NAN" if math.isnan(number) else f"({'-' if number < 0 else ''}INFINITY)"
    return f"({float(number)!r}{suffix})"


def _dims(shape: Shape, dims: Sequence[int] | None) -> tuple[int, ...]:
    return tuple(sorted(dim % len(shape) for dim in dims)) if dims else tuple(range(len(shape)))


def _last(x: View, dim: int) -> int:
    if dim % len(x.shape) != len(x.shape) - 1 or (len(x.shape) == 1 and x.rows):
        raise unsupported("a softmax not over the last dimension")
    return len(x.shape) - 1


Arguments = Mapping[str, Any]


def _product(g: Builder, a: Arguments) -> View:
    return g.product(a["self"], a["mat2"])


def _product_and_bias(g: Builder, a: Arguments) -> View:
    if a["beta"] != 1 or a["alpha"] != 1:
        raise unsupported("addmm with factors")
    bias = a["self"].expanded((a["mat1"].shape[0], a["mat2"].shape[1]))
    if bias.strides != (0, 1) or bias.rows != a["mat1"].rows:
        return g.point("{0} + {1}", g.product(a["mat1"], a["mat2"]), bias)
    return g.product(a["mat1"], a["mat2"], bias)


def _products(g: Builder, a: Arguments) -> View:
    return g.product(_uncopied(a["self"]), _uncopied(a["mat2"]))


def _uncopied(x: View) -> View:
    """Return what a batch of matrices copies (perhaps with a dimension for heads), or `x`."""
    made = x.node
    if (made.kind, made.text) != ("point", "{0}") or x.offset:
        return x
    source, (rows, columns) = made.operands[0], made.shape[-2:]
    is_all = math.prod(x.shape) == math.prod(made.shape) and x.strides[0] == rows * columns
    if len(made.shape) < 3 or source.dtype != x.dtype or not is_all:
        return x
    if (x.shape[1:], x.strides[1:]) == ((rows, columns), (columns, 1)):
        return source
    if (x.shape[1:], x.strides[1:]) == ((columns, rows), (1, columns)):
        return _swapped(source, -1, -2)
    return x


def _swapped(x: View, one: int, other: int) -> View:
    shape, strides = list(x.shape), list(x.strides)
    for part in (shape, strides):
        part[one], part[other] = part[other], part[one]
    return x.reshaped(tuple(shape), tuple(strides))


def _sum(g: Builder, a: Arguments) -> View:
    dtype = torch.int64 if not a["self"].dtype.is_floating_point else None
    return g.sum(a["self"], a.get("dim") or (), keep=a.get("keepdim", False), dtype=dtype)


def _mean(g: Builder, a: Arguments) -> View:
    return g.mean(a["self"], a.get("dim") or (), keep=a.get("keepdim", False))


def _amax(g: Builder, a: Arguments) -> View:
    (dim,) = a["dim"]
    found: View = g.peak(a["self"], dim % len(a["self"].shape))
    return found if a["keepdim"] else _dropped(found)


def _dropped(x: View) -> View:
    return x.reshaped(x.shape[:-1], x.strides[:-1])


def _argmax(g: Builder, a: Arguments) -> View:
    x: View = a["self"]
    if a["dim"] is None:
        raise unsupported("argmax")
    return _place_of_peak(g, x, g.peak(x, _last(x, a["dim"])), keep=a["keepdim"])


def _place_of_peak(g: Builder, x: View, peak: View, *, keep: bool) -> View:
    # PyTorch returns the first of equal elements. A line with a NaN has no such place.
    place = g.point("({0} == {1} ? -{column} : -INT64_MAX)", x, peak, dtype=torch.int64)
    found = g.peak(place, len(x.shape) - 1)
    found = g.point("-{0}", found, dtype=torch.int64)
    return found if keep else _dropped(found)


def _max_with_place(g: Builder, a: Arguments) -> tuple[View, View]:
    x: View = a["self"]
    peak = g.peak(x, _last(x, a["dim"]))
    places = _place_of_peak(g, x, peak, keep=a["keepdim"])
    return (peak if a["keepdim"] else _dropped(peak)), places


def _power(g: Builder, a: Arguments) -> View:
    x, exponent = a["self"], a["exponent"]
    texts = {1: "{0}", 2: "{0} * {0}", 3: "{0} * {0} * {0}", 0.5: "sqrtf({0})", -1: "1.0f / {0}"}
    if exponent in texts:
        return g.point(texts[exponent], x, dtype=x.dtype)
    return g.point(f"powf({{0}}, {literal(exponent, 'f')})", x)


def _logical(text: str) -> Callable[[Builder, Arguments], View]:
    """Return the function of a bitwise operation, which is supported on truth values only."""

    def lowered(g: Builder, a: Arguments) -> View:
        given = [part for part in (a["self"], a.get("other")) if part is not None]
        if any(not isinstance(part, View) or part.dtype != torch.bool for part in given):
            raise unsupported("bits of numbers")
        return g.point(text, *given, dtype=torch.bool)

    return lowered


def _clamp(g: Builder, a: Arguments) -> View:
    found: View = a["self"]
    for key, sign in (("min", "<"), ("max", ">")):
        if a[key] is not None:
            found = g.point(f"({{0}} {sign} {{1}} ? {{1}} : {{0}})", found, a[key])
    return found


def _gelu(g: Builder, a: Arguments) -> View:
    kind = "gelu_tanh" if a["approximate"] == "tanh" else "gelu"
    return g.point(f"{kind}({{0}})", a["self"])


def _gelu_backward(g: Builder, a: Arguments) -> View:
    kind = "gelu_tanh_slope" if a["approximate"] == "tanh" else "gelu_slope"
    return g.point(f"{kind}({{0}}) * {{1}}", a["self"], a["grad_output"])


def _elu_backward(g: Builder, a: Arguments) -> View:
    if a["is_result"]:
        text = "({0} <= 0.0f ? {1} * {3} * ({0} + {2} * {4}) : {1} * {4})"
    else:
        text = "({0} <= 0.0f ? {1} * {3} * {2} * {4} * exp_of({0} * {3}) : {1} * {4})"
    names = ("self_or_result", "grad_output", "alpha", "input_scale", "scale")
    return g.point(text, *(a[name] for name in names))


def _softmax(g: Builder, a: Arguments) -> View:
    x: View = a["self"]
    return _shares(g, x, g.peak(x, _last(x, a["dim"])))


def _safe_softmax(g: Builder, a: Arguments) -> View:
    """Return a softmax that is 0 on a line in which everything is -inf."""
    x: View = a["self"]
    peak = g.peak(x, _last(x, a["dim"]))
    return _shares(g, x, g.point("({0} == -INFINITY ? 0.0f : {0})", peak))


def _shares(g: Builder, x: View, peak: View) -> View:
    raised = g.point("exp_of({0} - {1})", x, peak)
    total = g.sum(raised, [len(x.shape) - 1], keep=True)
    return g.point("{0} * {1}", raised, g.point("({0} == 0.0f ? 0.0f : 1.0f / {0})", total))


def _triangle(sign: str) -> Callable[[Builder, Arguments], View]:
    def lowered(g: Builder, a: Arguments) -> View:
        x: View = a["self"]
        if has_rows(x.shape[-2:]):
            raise unsupported("a triangle of examples")
        column, row = (f"{{d{len(x.shape) - back}}}" for back in (1, 2))
        return g.point(f"({column} - {row} {sign} {a['diagonal']} ? {{0}} : 0)", x, dtype=x.dtype)

    return lowered


def _log_softmax(g: Builder, a: Arguments) -> View:
    x: View = a["self"]
    last = _last(x, a["dim"])
    peak = g.peak(x, last)
    total = g.sum(g.point("exp_of({0} - {1})", x, peak), [last], keep=True)
    return g.point("{0} - {1} - {2}", x, peak, g.point("logf({0})", total))


def _softmax_backward(g: Builder, a: Arguments) -> View:
    up, y = a["grad_output"], a["output"]
    total = g.sum(g.point("{0} * {1}", up, y), [_last(y, a["dim"])], keep=True)
    return g.point("{1} * ({0} - {2})", up, y, total)


def _log_softmax_backward(g: Builder, a: Arguments) -> View:
    up, y = a["grad_output"], a["output"]
    total = g.sum(up, [_last(y, a["dim"])], keep=True)
    return g.point("{0} - exp_of({1}) * {2}", up, y, total)


def _labels(a: Arguments) -> tuple[View, View]:
    """Return the scores, and the labels as a column; classes are the last dimension."""
    x, target = a["self"], a["target"]
    if len(x.shape) != 2:
        raise unsupported("nll_loss of one example")
    return x, target.reshaped((*target.shape, 1), (*target.strides, 0))


def _picked(g: Builder, text: str, a: Arguments, *more: View) -> View:
    """Compute the expression for the label's class, and 0 for others or an ignored label."""
    x, target = _labels(a)
    label = f"label_of({{0}}, {a['ignore_index']}, {x.shape[1]}, bad)"
    checked = g.graph.add("point", target.shape, torch.int64, operands=(target,), text=label)
    weight = [] if a["weight"] is None else [a["weight"]]
    is_label = g.point("{0} == {column}", checked, shape=x.shape, dtype=torch.bool)
    return g.point(f"({{0}} ? {text} : 0.0f)", is_label, *more, *weight, shape=x.shape)


def _weight_total(g: Builder, a: Arguments) -> View:
    _, target = _labels(a)
    if a["weight"] is not None:
        return g.sum(_picked(g, "{1}", a), ())
    kept = g.point(f"({{0}} != {a['ignore_index']} ? 1.0f : 0.0f)", target)
    return g.sum(kept, ())


def _nll(g: Builder, a: Arguments) -> tuple[View, View]:
    text = "-{1}" if a["weight"] is None else "-{1} * {2}"
    losses = _picked(g, text, a, a["self"])
    weights = _weight_total(g, a)
    if a["reduction"] == 0:
        return g.sum(losses, [1]), weights
    total = g.sum(losses, ())
    return (g.point("{0} / {1}", total, weights) if a["reduction"] == 1 else total), weights


def _nll_backward(g: Builder, a: Arguments) -> View:
    up = a["grad_output"]
    if a["reduction"] == 0:
        up = up.reshaped((*up.shape, 1), (*up.strides, 0))
    elif a["reduction"] == 1:
        up = g.point("{0} / {1}", up, a["total_weight"])
    return _picked(g, "-{1}" if a["weight"] is None else "-{1} * {2}", a, up)


def _loss_of(text: str) -> Callable[[Builder, Arguments], View]:
    """Return the function of a loss: the mean, sum or all of an expression of {0} and {1}."""

    def lowered(g: Builder, a: Arguments) -> View:
        if a.get("weight") is not None or a.get("pos_weight") is not None:
            raise unsupported("a loss with weights")
        more = [a[name] for name in ("beta", "delta") if name in a]
        each = g.point(text, a["self"], a["target"], *more)
        if a["reduction"] == 0:
            return each
        return g.mean(each, ()) if a["reduction"] == 1 else g.sum(each, ())

    return lowered


def _slope_of(text: str) -> Callable[[Builder, Arguments], View]:
    """Return the function of a loss's derivative by {0}, times the gradient {2}."""

    def lowered(g: Builder, a: Arguments) -> View:
        more = [a[name] for name in ("beta", "delta") if name in a]
        up = a["grad_output"]
        if a["reduction"] == 1:
            n = number_of(a["self"].shape, range(len(a["self"].shape)))
            up = g.point("{0} / {1}", up, n)
        return g.point(text, a["self"], a["target"], up, *more)

    return lowered


def _layer_norm(g: Builder, a: Arguments) -> tuple[View, View, View]:
    x: View = a["input"]
    if len(a["normalized_shape"]) != 1:
        raise unsupported("layer_norm over several dimensions")
    last = [len(x.shape) - 1]
    mean = g.mean(x, last, keep=True)
    variance = g.mean(g.point("({0} - {1}) * ({0} - {1})", x, mean), last, keep=True)
    spread = g.point("1.0f / sqrtf({0} + {1})", variance, a["eps"])
    found = g.point("({0} - {1}) * {2}", x, mean, spread)
    if a["weight"] is not None:
        found = g.point("{0} * {1}", found, a["weight"])
    if a["bias"] is not None:
        found = g.point("{0} + {1}", found, a["bias"])
    return found, mean, spread


def _layer_norm_backward(g: Builder, a: Arguments) -> tuple[View | None, ...]:
    x, up, mean, spread, weight = (a[n] for n in ("input", "grad_out", "mean", "rstd", "weight"))
    last = [len(x.shape) - 1]
    unit = g.point("({0} - {1}) * {2}", x, mean, spread)
    inner = up if weight is None else g.point("{0} * {1}", up, weight)
    along = g.mean(g.point("{0} * {1}", inner, unit), last, keep=True)
    found = g.point("{3} * ({0} - {2} - {1} * {4})", inner, unit, g.mean(inner, last, keep=True),
                    spread, along)  # fmt: skip
    rest = list(range(len(x.shape) - 1))
    scale = g.sum(g.point("{0} * {1}", up, unit), rest) if a["output_mask"][1] else None
    shift = g.sum(up, rest) if a["output_mask"][2] else None
    return found, scale, shift


def _embedding(g: Builder, a: Arguments) -> View:
    table, places = a["weight"], a["indices"]
    width = table.shape[1]
    places = places.reshaped((*places.shape, 1), (*places.strides, 0))
    shape = (*places.shape[:-1], width)
    return g.graph.add("take", shape, table.dtype, operands=(places.expanded(shape), table))


def _embedding_backward(g: Builder, a: Arguments) -> View:
    up, places = a["grad_output"], a["indices"]
    if a["scale_grad_by_freq"]:
        raise unsupported("embedding with scale_grad_by_freq")
    places = places.reshaped((*places.shape, 1), (*places.strides, 0)).expanded(up.shape)
    if a["padding_idx"] >= 0:
        up = g.point(f"({{0}} == {a['padding_idx']} ? 0.0f : {{1}})", places, up)
    shape = (a["num_weights"], up.shape[-1])
    return g.graph.add("scatter", shape, up.dtype, operands=(up, places))


def _shifted(g: Builder, x: View, shape: Shape, dim: int, start: int) -> View:
    """Return `x` as if it lay in a tensor of this shape from `start` on; only read it there."""
    if x.strides[-1] == 0:
        x = g.point("{0}", x, dtype=x.dtype)
    if shape[-1] == 1:  # it would be read before the line, outside of `x` too
        raise unsupported("a part of a tensor with nothing in its last dimension")
    return View(x.node, shape, x.strides, x.offset - start * x.strides[dim])


def _bernoulli(g: Builder, a: Arguments) -> View:
    if a.get("generator") is not None or not isinstance(a["p"], float):
        raise unsupported("random numbers of a generator")
    return g.draw(a["self"], a["p"])


def _select_backward(g: Builder, a: Arguments) -> View:
    up, shape = a["grad_output"], _sizes(a["input_sizes"])
    dim = a["dim"] % len(shape)
    wide = (*up.shape[:dim], 1, *up.shape[dim:])
    up = up.reshaped(wide, (*up.strides[:dim], 0, *up.strides[dim:]))
    text = f"({{d{dim}}} == {a['index'] % shape[dim]} ? {{0}} : 0.0f)"
    return g.point(text, up, shape=shape, dtype=up.dtype)


def _slice_backward(g: Builder, a: Arguments) -> View:
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
    return tuple(int(n.factor) * STAND_IN if isinstance(n, Scaled) else int(n) for n in sizes)


def _cat(g: Builder, a: Arguments) -> View:
    parts: list[View] = a["tensors"]
    dim = a["dim"] % len(parts[0].shape)
    total = sum(part.shape[dim] for part in parts)
    shape = (*parts[0].shape[:dim], total, *parts[0].shape[dim + 1 :])
    if total % STAND_IN == 0 or len({part.dtype for part in parts}) > 1:
        raise unsupported("cat of examples or of several types")
    text, start, moved = "", 0, []
    for at, part in enumerate(parts):
        moved.append(_shifted(g, part, shape, dim, start))
        start += part.shape[dim]
        text += f"{{d{dim}}} < {start} ? {{{at}}} : "
    return g.point(f"({text}0)", *moved, shape=shape, dtype=parts[0].dtype)


def _stack(g: Builder, a: Arguments) -> View:
    parts: list[View] = a["tensors"]
    dim = a["dim"] % (len(parts[0].shape) + 1)
    at = max(dim, 1) if parts[0].rows else dim  # examples must stay first
    wide = [
        part.reshaped(
            (*part.shape[:at], 1, *part.shape[at:]), (*part.strides[:at], 0, *part.strides[at:])
        )
        for part in parts
    ]
    found = _cat(g, {"tensors": wide, "dim": at})
    return found if at == dim else _swapped(found, dim, at)


def _windows(shape: Shape, kernel: Sequence[int], a: Arguments) -> tuple[str, Shape, int]:
    """Describe windows over images (n, C, H, W) or lines (n, C, W) for C.

    Returns:
        `struct windows` in C; the number of windows down and across; a padded image's elements.
    """
    n_dims = len(shape) - 2
    if n_dims not in (1, 2) or any(step != 1 for step in a["dilation"]) or a.get("ceil_mode"):
        raise unsupported("windows with holes, or beyond an edge, or of three dimensions")

    def both(sizes: Sequence[int], of_lines: int) -> tuple[int, ...]:
        each = tuple(sizes) * (n_dims // len(sizes))
        return (*(of_lines,) * (2 - n_dims), *each)

    size, extent = both(shape[2:], 1), both(kernel, 1)
    step, edge = both(a["stride"] or kernel, 1), both(a["padding"], 0)
    framed = [n + 2 * more for n, more in zip(size, edge, strict=True)]
    places = tuple((framed[dim] - extent[dim]) // step[dim] + 1 for dim in (0, 1))
    numbers = (shape[1], *size, *extent, *step, *edge, *places)
    text = f"(struct windows){{{{{', '.join(map(str, numbers))}}}}}"
    return text, places, shape[1] * math.prod(framed)


def _call(
    g: Builder, text: str, shape: Shape, *given: View, dtype: torch.dtype = torch.float32
) -> View:
    """Add a tensor that a function of kernels.c fills."""
    whole = [g.plain(x) if x.is_whole else g.point("{0}", x, dtype=x.dtype) for x in given]
    return g.graph.add("call", shape, dtype, operands=tuple(whole), text=text)


def _convolving(function: str, x: View, weight: View, a: Arguments) -> tuple[str, Shape]:
    """Return the C call of a convolution function, and the size of its result per image."""
    if a["transposed"] or a["groups"] != 1 or weight.rows:
        raise unsupported("convolution transposed or in groups")
    windows, places, framed = _windows(x.shape, weight.shape[2:], a)
    unfolded = math.prod(weight.shape[1:]) * math.prod(places)
    if unfolded + framed > 2**24:  # each thread has its own copy of these arrays
        raise unsupported("convolution of large images")
    text = (
        f"static __thread float cols[{unfolded}], frame[{framed}]; {function}({windows}, "
        f"{times_rows(x.shape[0], 'n')}, {weight.shape[0]}, {{0}}, {{1}}, cols, frame, {{out}});"
    )
    return text, places[4 - len(x.shape) :]


def _convolution(g: Builder, a: Arguments) -> View:
    x, weight, bias = a["input"], a["weight"], a["bias"]
    text, places = _convolving("convolve", x, weight, a)
    found = _call(g, text, (x.shape[0], weight.shape[0], *places), x, weight)
    if bias is None:
        return found
    wide = (1,) * len(places)
    return g.point("{0} + {1}", found, bias.reshaped((*bias.shape, *wide), (*bias.strides, *wide)))


def _convolution_backward(g: Builder, a: Arguments) -> tuple[View | None, ...]:
    up, x, weight = a["grad_output"], a["input"], a["weight"]
    back, scale, shift = a["output_mask"]
    over, _ = _convolving("convolve_back", x, weight, a)
    by, _ = _convolving("convolve_weights", x, weight, a)
    sizes = f"{times_rows(up.shape[0], 'n')}, {up.shape[1]}, {math.prod(up.shape[2:])}"
    planes = f"add_planes({sizes}, {{0}}, {{out}});"
    return (
        _call(g, over, x.shape, up, weight) if back else None,
        _call(g, by, weight.shape, up, x) if scale else None,
        _call(g, planes, weight.shape[:1], up) if shift else None,
    )


def _max_pool(g: Builder, a: Arguments) -> tuple[View, View]:
    x: View = a["self"]
    planes = math.prod(x.shape[:-2])
    windows, n, _ = _windows((planes, 1, *x.shape[-2:]), a["kernel_size"], a)
    if n[1] > 4096:  # C keeps a line of them on the stack
        raise unsupported("windows, more than 4096 in a line")
    shape, count = (*x.shape[:-2], *n), times_rows(planes, "n")
    text = f"peak_places({windows}, {count}, {{0}}, {{out}});"
    places = _call(g, text, shape, x, dtype=torch.int64)
    text = f"picked({math.prod(x.shape[-2:])}, {math.prod(n)}, {count}, {{0}}, {{1}}, {{out}});"
    return _call(g, text, shape, x, places), places


def _max_pool_backward(g: Builder, a: Arguments) -> View:
    up, places, shape = a["grad_output"], a["indices"], a["self"].shape
    sizes = f"{math.prod(shape[-2:])}, {math.prod(up.shape[-2:])}"
    planes = times_rows(math.prod(shape[:-2]), "n")
    return _call(g, f"put_back({sizes}, {planes}, {{0}}, {{1}}, {{out}});", shape, up, places)


def _average_pool(g: Builder, a: Arguments) -> View:
    x, kernel = a["self"], a["kernel_size"] * (2 // len(a["kernel_size"]))
    is_cut = any(n % extent for n, extent in zip(x.shape[-2:], kernel, strict=True))
    apart = a["stride"] not in ([], a["kernel_size"]) or any(a["padding"])
    if is_cut or apart or a["divisor_override"]:
        raise unsupported("means of windows that are not beside one another")
    places = [n // extent for n, extent in zip(x.shape[-2:], kernel, strict=True)]
    return _means(g, {"self": x, "output_size": places})


def _means(g: Builder, a: Arguments) -> View:
    x, (down, across) = a["self"], _extent(a["self"].shape, a["output_size"])
    apart = (*x.shape[:-2], down, across, *a["output_size"])
    strides = (*x.strides, x.strides[-2] * down, x.strides[-1] * across)
    return g.mean(x.reshaped(apart, strides), [-4, -3])


def _means_backward(g: Builder, a: Arguments) -> View:
    up, shape = a["grad_output"], a["self"].shape
    (n, m), (down, across) = up.shape[-2:], _extent(shape, up.shape[-2:])
    strides = (*up.strides[:-1], 0, up.strides[-1], 0)
    wide = up.reshaped((*up.shape[:-2], n, down, m, across), strides)
    found = g.point("{0} / {1}", wide, down * across)
    return found.reshaped(shape, contiguous(shape))


def _extent(shape: Shape, n: Sequence[int]) -> tuple[int, int]:
    """Return the height and width of the windows if an image has `n` down and across."""
    if any(size % places for size, places in zip(shape[-2:], n, strict=True)):
        raise unsupported("means of windows that are not equal")
    return shape[-2] // n[0], shape[-1] // n[1]


COMPOSED: dict[str, Callable[[Builder, Arguments], Any]] = {
    "mm": _product,
    "addmm": _product_and_bias,
    "bmm": _products,
    "sum": _sum,
    "sum.dim_IntList": _sum,
    "mean": _mean,
    "mean.dim": _mean,
    "amax": _amax,
    "argmax": _argmax,
    "max.dim": _max_with_place,
    "pow.Tensor_Scalar": _power,
    "clamp": _clamp,
    "bitwise_not": _logical("!{0}"),
    "bitwise_and.Tensor": _logical("{0} && {1}"),
    "bitwise_or.Tensor": _logical("{0} || {1}"),
    "gelu": _gelu,
    "gelu_backward": _gelu_backward,
    "elu_backward": _elu_backward,
    "_softmax": _softmax,
    "_safe_softmax": _safe_softmax,
    "tril": _triangle("<="),
    "triu": _triangle(">="),
    "_softmax_backward_data": _softmax_backward,
    "_log_softmax": _log_softmax,
    "_log_softmax_backward_data": _log_softmax_backward,
    "nll_loss_forward": _nll,
    "nll_loss_backward": _nll_backward,
    "mse_loss": _loss_of("({0} - {1}) * ({0} - {1})"),
    "mse_loss_backward": _slope_of("2.0f * ({0} - {1}) * {2}"),
    "smooth_l1_loss": _loss_of(
        "(fabsf({0} - {1}) < {2} ? 0.5f * ({0} - {1}) * ({0} - {1}) / {2} : "
        "fabsf({0} - {1}) - 0.5f * {2})"
    ),
    "smooth_l1_loss_backward": _slope_of(
        "({0} - {1} <= -{3} ? -{2} : {0} - {1} >= {3} ? {2} : {2} * ({0} - {1}) / {3})"
    ),
    "huber_loss": _loss_of(
        "(fabsf({0} - {1}) <= {2} ? 0.5f * ({0} - {1}) * ({0} - {1}) : "
        "{2} * (fabsf({0} - {1}) - 0.5f * {2}))"
    ),
    "huber_loss_backward": _slope_of(
        "({0} - {1} <= -{3} ? -{2} * {3} : {0} - {1} >= {3} ? {2} * {3} : {2} * ({0} - {1}))"
    ),
    "binary_cross_entropy_with_logits": _loss_of(
        "(({0} > 0.0f ? {0} : 0.0f) - {0} * {1} + log1pf(exp_of(-fabsf({0}))))"
    ),
    "bernoulli.float": _bernoulli,
    "bernoulli.p": _bernoulli,
    "select_backward": _select_backward,
    "slice_backward": _slice_backward,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "avg_pool2d": _average_pool,
    "avg_pool2d_backward": _means_backward,
    "_adaptive_avg_pool2d": _means,
    "_adaptive_avg_pool2d_backward": _means_backward,
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d_with_indices_backward": _max_pool_backward,
    "cat": _cat,
    "stack": _stack,
    "native_layer_norm": _layer_norm,
    "native_layer_norm_backward": _layer_norm_backward,
    "embedding": _embedding,
    "embedding_dense_backward": _embedding_backward,
}


def lowered(tape: Tape, kinds: Sequence[str]) -> tuple[Graph, list[View | None]]:
    """Return a graph that does what a tape did, and the views that the tape returned.

    Args:
        tape: the captured tape.
        kinds: the kind of each of its sources: "parameter", "buffer" or "column".

    Raises:
        RefusedError: an operation has no row, or its result an unsupported order in memory.
    """
    graph = Graph(constants=tape.constants)
    builder = Builder(graph)
    places = _places([*kinds, *["constant"] * len(tape.constants)])
    done: dict[int, dict[int, View | None]] = {}  # the results of each call
    views: dict[int, View | None] = {}

    def view(place: int) -> View | None:
        if place not in views:
            views[place] = _view(tape.held[place])
        return views[place]

    def _view(held: Held) -> View | None:
        if held.base >= 0:
            base = view(held.base)
            if base is None or base.dtype != held.dtype:
                raise unsupported("a view of another type")
            if base.rows and not has_rows(held.shape):  # examples come in tiles
                raise unsupported("a view of some of the examples")
            return View(base.node, held.shape, *_lying(held, tape.held[held.base], base))
        if held.source >= 0:
            kind, place = places[held.source]
            return graph.add(kind, held.shape, held.dtype, place=place)
        found: View | None = done[held.call][held.result]
        return found

    def tensors(value: Any) -> Any:
        if isinstance(value, Ref):
            return view(value.place)
        return [tensors(part) for part in value] if isinstance(value, (list, tuple)) else value

    results_of: dict[int, list[Held]] = {}
    for held in tape.held:
        if held.call >= 0 and held.base < 0:
            results_of.setdefault(held.call, []).append(held)
    for number, call in enumerate(tape.calls):
        if number in results_of:
            arguments = {name: tensors(value) for name, value in call.arguments.items()}
            done[number] = _result(builder, call, arguments, results_of[number])
    return graph, [None if place is None else view(place) for place in tape.results]


def _places(kinds: Sequence[str]) -> list[tuple[str, int]]:
    seen: dict[str, int] = {}
    found = []
    for kind in kinds:
        found.append((kind, seen.get(kind, 0)))
        seen[kind] = seen.get(kind, 0) + 1
    return found


def _result(
    g: Builder, call: Call, arguments: dict[str, Any], results: list[Held]
) -> dict[int, View | None]:
    if call.name in COMPOSED:
        found = COMPOSED[call.name](g, arguments)
    elif call.name in POINTWISE:
        names = list(dict.fromkeys(re.findall(r"\{(\w+)\}", POINTWISE[call.name])))
        text = POINTWISE[call.name]
        for at, name in enumerate(names):
            text = text.replace(f"{{{name}}}", f"{{{at}}}")
        (held,) = results
        order = _order(call, held)
        operands = [
            _permuted(part.expanded(held.shape), order) if isinstance(part, View) else part
            for part in map(arguments.__getitem__, names)
        ]
        shape = tuple(held.shape[dim] for dim in order)
        made = g.point(text, *operands, shape=shape, dtype=held.dtype)
        return {0: made.reshaped(held.shape, held.strides)}
    else:
        raise unsupported(call.name)
    return {
        held.result: _laid_out(
            g, call, found[held.result] if isinstance(found, tuple) else found, held
        )
        for held in results
    }


def _laid_out(g: Builder, call: Call, made: View | None, held: Held) -> View | None:
    """Return a result in PyTorch's order of memory, because views of it rely on that."""
    if made is None:
        return None
    if (made.shape, made.dtype) != (held.shape, held.dtype):
        raise unsupported(f"{call.name} to this shape or type")
    order = _order(call, held)
    if order == tuple(range(len(order))):
        return made
    return g.point("{0}", _permuted(made, order), dtype=made.dtype).reshaped(
        held.shape, held.strides
    )


def _permuted(x: View, order: Sequence[int]) -> View:
    return x.reshaped(tuple(x.shape[dim] for dim in order), tuple(x.strides[dim] for dim in order))


def _order(call: Call, held: Held) -> tuple[int, ...]:
    """Return a result's dimensions in their order in memory, the innermost last; refuse gaps."""
    order = sorted(range(len(held.shape)), key=lambda dim: -held.strides[dim])
    real = [dim for dim in order if held.shape[dim] != 1]
    packed = contiguous(tuple(held.shape[dim] for dim in real))
    if tuple(held.strides[dim] for dim in real) != packed:
        raise unsupported(f"{call.name} in another order of memory")
    return tuple(order) if real != sorted(real) else tuple(range(len(order)))


def _lying(held: Held, was: Held, base: View) -> tuple[Shape, int]:
    """Return a view's strides and offset here; PyTorch's base `was` lies here as `base` does."""
    parts: list[tuple[int, int, int]] = []  # size, PyTorch's stride, stride here; outermost first
    for size, there, here in sorted(
        zip(was.shape, was.strides, base.strides, strict=True), key=lambda part: -part[1]
    ):
        if size == 1:
            continue
        if parts and parts[-1][1:] == (size * there, size * here):
            size *= parts.pop()[0]
        parts.append((size, there, here))
    if all(there == here for _, there, here in parts):
        return held.strides, held.offset
    strides = []
    for size, step in zip(held.shape, held.strides, strict=True):
        most, there, here = next((part for part in parts if part[1] <= step), (0, 1, 0))
        if size != 1 and step and (step % there or (size - 1) * (step // there) >= most):
            raise unsupported("a view across dimensions in another order of memory")
        strides.append(step // there * here)
    offset, rest = base.offset, held.offset - was.offset
    for _, there, here in parts:
        offset += rest // there * here
        rest %= there
    return tuple(strides), offset
