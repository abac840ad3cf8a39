"""Program: the native build of a workload, made once and sent to the training processes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.random_state import RandomState, untouched_randomness
from batchlab.training.batching import columns_in_memory
from batchlab.training.evaluator import MetricSums, as_metric, is_over_all
from batchlab.training.native.build import built, loaded
from batchlab.training.native.capture import captured
from batchlab.training.native.emit import program
from batchlab.training.native.graph import Graph, RefusedError, unsupported
from batchlab.training.native.schedule import SOURCES
from batchlab.training.native.updates import group_numbers, rule_of
from batchlab.training.optimizers import made_optimizers, named_tensors
from batchlab.workload.data import Columns
from batchlab.workload.definition import Workload, uncompiled

STEPS, SCORES = "take_steps", "evaluate"  # the names of the C functions

Layout = tuple[tuple[str, tuple[int, ...], str], ...]  # name, shape and type of each tensor


@dataclass(frozen=True, kw_only=True)
class NativeBuild:
    """A library with a workload's step and evaluation, and the tensors that the library expects.

    Attributes:
        library: the path of the library.
        tensors: name, shape and type of each of the model's parameters, then of its buffers.
        columns: shape and type of one row of each column (tensor with a row per example).
        constants: the constant tensors of each function of the library, by the function's name.
        trained: for each parameter, whether the loss depends on the parameter.
        metrics: the names of the metrics that the library computes, in order; empty if the
            evaluation could not be built.
    """

    library: Path
    tensors: Layout
    columns: Layout
    constants: Mapping[str, Sequence[Tensor]]
    trained: tuple[bool, ...]
    metrics: tuple[str, ...]


def layout_of(named: Iterable[tuple[str, Tensor]]) -> Layout:
    """Return the name, shape and type of each tensor."""
    return tuple((name, tuple(tensor.shape), str(tensor.dtype)) for name, tensor in named)


def examples_layout(columns: Sequence[Tensor]) -> Layout:
    """Return the shape and type of one example's row in each column."""
    return layout_of(("", column[0]) for column in columns)


def native_build(workload: Workload) -> NativeBuild:
    """Capture a workload's steps and evaluations, and compile them to a library.

    Raises:
        RefusedError: the workload can't be trained natively; the message says why.
    """
    columns = columns_of(workload)
    with untouched_randomness():
        model = uncompiled(workload.model()).train()
        made = made_optimizers(workload, model, workload.learning_rate)
        optimizer = made.optimizers[0]
        rule_of(optimizer)  # before the model is captured, refuse an optimizer without a rule
        check_tensors(model, optimizer)
        step = _step_graph(workload, model, columns)
        model.eval()
        scores, metrics = _scores_graph(workload, model, columns)
    functions: list[tuple[str, Graph, torch.optim.Optimizer | None]] = [(STEPS, step, optimizer)]
    if scores is not None:
        functions.append((SCORES, scores, None))
    groups = group_numbers(optimizer, list(model.parameters()))
    library = built(program(functions, groups))
    return NativeBuild(
        library=library,
        tensors=layout_of(named_tensors(model)),
        columns=examples_layout(columns.parts),
        constants={name: graph.constants for name, graph, _ in functions},
        trained=tuple(gradient is not None for gradient in step.gradients),
        metrics=metrics,
    )


def columns_of(workload: Workload) -> Columns:
    """Return the training examples as tensors in memory.

    Raises:
        RefusedError: the examples are not in memory, or the workload has `step`, `augment` or a
            precision of 16 bits.
    """
    for name in ("step", "augment"):
        if getattr(workload, name) is not None:
            raise unsupported(f"`{name}` of a workload")
    if workload.precision != "fp32":
        raise unsupported(f"precision {workload.precision}")
    columns = columns_in_memory(workload.train, workload.collate)
    if columns is None:
        raise RefusedError("its data are not tensors in memory")
    for column in columns.parts:
        if not column.is_contiguous() or column.device.type != "cpu":
            raise RefusedError("its data are not tensors in memory")
    return columns


def check_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Refuse tensors with gaps or shared memory, and parameters of other types than float32.

    Also refuse an optimizer that lacks a trained parameter, or has parameters of another model.
    """
    used_memory: set[int] = set()
    for name, tensor in named_tensors(model):
        memory = tensor.untyped_storage().data_ptr()
        if not tensor.is_contiguous() or (tensor.numel() and memory in used_memory):
            raise RefusedError(f"{name} shares memory or has gaps in it")
        used_memory.add(memory)
    trained = set()
    for parameter in model.parameters():
        if parameter.dtype != torch.float32:
            raise unsupported(f"parameters of type {parameter.dtype}")
        if parameter.requires_grad:
            trained.add(id(parameter))
    of_optimizer: set[int] = set()
    for group in optimizer.param_groups:
        of_optimizer.update(map(id, group["params"]))
    if not trained <= of_optimizer <= set(map(id, model.parameters())):
        raise RefusedError("model and optimizer have different parameters")


def _step_graph(workload: Workload, model: nn.Module, columns: Columns) -> Graph:
    def step(model: nn.Module, batch: Sequence[Tensor]) -> list[Tensor | None]:
        trained = []
        for parameter in model.parameters():
            if parameter.requires_grad:
                trained.append(parameter)
        loss = workload.loss(model, columns.filled(batch))
        computed = iter(torch.autograd.grad(loss, trained, allow_unused=True))
        gradients = []
        for it in model.parameters():
            gradients.append(next(computed) if it.requires_grad else None)
        return [loss.detach(), *gradients]

    return _graph(step, model, columns, n_outputs=1)


def _scores_graph(
    workload: Workload, model: nn.Module, columns: Columns
) -> tuple[Graph | None, tuple[str, ...]]:
    names = tuple(name for name in workload.metric_names if not is_over_all(workload, name))
    metrics = [as_metric(workload, name) for name in names]

    def scores(model: nn.Module, batch: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return [metric.sum(model, columns.filled(batch)) for metric in metrics]

    try:
        graph = _graph(scores, model, columns, n_outputs=len(metrics))
        if graph.n_draws:  # refuse: PyTorch draws equal numbers in all evaluations, C would not
            raise unsupported("random numbers in an evaluation")
    except RefusedError:
        return None, ()
    return graph, names


def _graph(
    function: Callable[..., Sequence[Tensor | None]],
    model: nn.Module,
    columns: Columns,
    *,
    n_outputs: int,
) -> Graph:
    """Return the graph of a function whose first results are outputs and the others gradients."""
    before = RandomState.now()
    try:
        graph, results = captured(function, model, columns.parts)
    except RefusedError:
        raise
    except Exception as error:  # the user's code may fail on tensors without memory
        raise RefusedError(
            f"its steps could not be recorded: {type(error).__name__}: {error}"
        ) from error
    # If the function drew random numbers, refuse: every step in C would use the same numbers.
    if not before.is_now():
        raise unsupported("random numbers outside of a model's layers")
    # Outputs and gradients must be computed nodes without gaps in memory.
    for view in results[:n_outputs]:
        if view is None or view.rows or any(size != 1 for size in view.shape):
            raise RefusedError("its loss or a metric is not one number")
        graph.outputs.append(graph.point("{0}", view, dtype=view.dtype))
    for gradient in results[n_outputs:]:
        if gradient is not None:
            node = gradient.node
            if node.kind in SOURCES or not gradient.is_whole or node.c_type != "float":
                gradient = graph.point("{0}", gradient)
        graph.gradients.append(gradient)
    return graph


class Call(ctypes.Structure):
    """The arguments of a C function, laid out like `struct call` in kernels.c."""

    _fields_ = (
        *zip(("parameters", "buffers", "constants", "columns", "states", "counts", "index",
              "sizes", "numbers", "told", "space"), repeat(ctypes.c_void_p)),
        ("n_steps", ctypes.c_int64),
        ("largest", ctypes.c_int64),
        ("first_step", ctypes.c_int64),
        ("seed", ctypes.c_uint64),
        ("clip", ctypes.c_double),
    )  # fmt: skip


class Program:
    """A C function of a library, called with the tensors of one model."""

    def __init__(self, build: NativeBuild, name: str, model: nn.Module) -> None:
        """Load the function `name` for `model`.

        Raises:
            RefusedError: the library can't be loaded, or was built for a model with other tensors.
        """
        check_same(build.tensors == layout_of(named_tensors(model)))
        self._tensors: dict[str, Sequence[Tensor | None]] = {
            "parameters": list(model.parameters()),
            "buffers": list(model.buffers()),
            "constants": build.constants[name],
        }
        self._library = loaded(build.library)
        self._function = getattr(self._library, name)
        self._space_of = getattr(self._library, f"space_of_{name}")
        self._space_of.restype = ctypes.c_int64
        self._space_of.argtypes = (ctypes.c_int64,)
        self._space = torch.empty(0, dtype=torch.uint8)
        self._room = 0

    def __call__(
        self,
        *,
        sizes: Tensor,
        clip: float = 0.0,
        first_step: int = 0,
        seed: int = 0,
        tensors: dict[str, Sequence[Tensor | None]],
        **arrays: Tensor,
    ) -> None:
        """Run the C function; the arguments are the members of `struct call` in kernels.c.

        Raises:
            IndexError: a label or an index into a table is out of range.
        """
        largest = int(sizes.max())
        if largest > self._room:
            self._space = torch.empty(self._space_of(largest), dtype=torch.uint8)
            self._room = largest
        arrays |= {"sizes": sizes, "space": self._space}
        pointers: dict[str, Any] = {name: array.data_ptr() for name, array in arrays.items()}
        kept_alive = []
        for name, several in (self._tensors | tensors).items():
            kept_alive.append(_pointers(several))
            pointers[name] = ctypes.cast(kept_alive[-1], ctypes.c_void_p)
        call = Call(
            **pointers,
            n_steps=len(sizes),
            largest=self._room,
            first_step=first_step,
            seed=seed,
            clip=clip,
        )
        if self._function(ctypes.byref(call)):
            raise IndexError("a label, or a place in a table, lies outside of what there is")


def check_same(is_same: bool) -> None:
    """Raise a RefusedError if `is_same` is False, because model or optimizer has changed."""
    if not is_same:
        raise RefusedError("model or optimizer changed after the build")


def _pointers(tensors: Sequence[Tensor | None]) -> Any:
    addresses = []
    for tensor in tensors:
        addresses.append(tensor.data_ptr() if tensor is not None else None)
    return (ctypes.c_void_p * max(1, len(tensors)))(*addresses)


def native_scores(build: NativeBuild, model: nn.Module) -> MetricSums:
    """Return a function that computes the metrics of `build` for `model`, in C.

    The function returns each metric's sum over each batch as float64, or {} if the examples have
    other columns, types or shapes than in the build. The caller divides the sums by the metric's
    counts, which do not depend on the model.
    """
    function = Program(build, SCORES, model)

    def scores(columns: Sequence[Tensor], batch_size: int) -> Mapping[str, Tensor]:
        is_packed = all(column.is_contiguous() for column in columns)
        if not is_packed or examples_layout(columns) != build.columns:
            return {}
        index = torch.arange(len(columns[0]))
        sizes = torch.tensor(list(map(len, index.split(batch_size))))
        sums = torch.empty(len(sizes), len(build.metrics), dtype=torch.float64)
        function(
            index=index,
            sizes=sizes,
            told=sums,
            tensors={"columns": columns},
        )
        return dict(zip(build.metrics, sums.unbind(1), strict=True))

    return scores
