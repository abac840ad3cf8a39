"""Program: the native build of a workload, made once and sent to the processes that train."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.random_state import RandomState, untouched_randomness
from batchlab.training.evaluator import as_metric, is_over_all
from batchlab.training.native.build import built, loaded
from batchlab.training.native.capture import captured
from batchlab.training.native.emit import program
from batchlab.training.native.graph import Graph, RefusedError, View, unsupported
from batchlab.training.native.operations import Builder, lowered
from batchlab.training.native.updates import update_of
from batchlab.training.optimizers import made_optimizers
from batchlab.workload.data import Columns, resident
from batchlab.workload.definition import Workload, uncompiled

Layout = tuple[tuple[str, tuple[int, ...], str], ...]  # name, shape and type of some tensors


@dataclass(frozen=True, kw_only=True)
class NativeBuild:
    """A workload's steps and evaluations as a library, and the tensors that they expect.

    Attributes:
        library: the path of the library.
        parameters: the layout of the model's parameters when they were captured, in order.
        buffers: the same for the model's buffers.
        columns: the shape and type of an example's parts.
        constants: the other tensors that the steps use, then those of the evaluations.
        n_constants: how many of the constants belong to the steps.
        trained: whether the loss depends on each parameter, in their order.
        metrics: the names of the metrics that evaluations return, in order.
        unmeasured: why evaluations are not native; None if they are.
        n_draws: how many times a step draws random numbers, for dropout.
        is_plain: whether the update is only right without momentum and decay.
    """

    library: Path
    parameters: Layout
    buffers: Layout
    columns: Layout
    constants: tuple[Tensor, ...]
    n_constants: int
    trained: tuple[bool, ...]
    metrics: tuple[str, ...]
    unmeasured: str | None
    n_draws: int
    is_plain: bool


def layout_of(named: Sequence[tuple[str, Tensor]]) -> Layout:
    """Return the name, shape and type of each tensor."""
    return tuple((name, tuple(part.shape), str(part.dtype)) for name, part in named)


def examples_layout(columns: Columns) -> Layout:
    """Return the layout of the parts of one example."""
    return layout_of([("", part[0]) for part in columns.parts])


def native_build(
    workload: Workload, *, folder: Path | None = None, timeout_s: float = 60.0
) -> NativeBuild:
    """Capture a workload's steps and evaluations, and build them.

    Args:
        workload: the workload to train.
        folder: the folder of the libraries; None for that in the user's cache.
        timeout_s: the time after which the compiler is ended.

    Raises:
        RefusedError: it can't be trained natively; the error holds the reason.
    """
    columns = columns_of(workload)
    with untouched_randomness():
        model = uncompiled(workload.model()).train()
        made = made_optimizers(workload, model, workload.learning_rate)
        update = update_of(made.optimizers[0], list(model.parameters()))
        check_tensors(model, made.optimizers[0])
        step = _step_graph(workload, model, columns)
        model.eval()
        scores, metrics, unmeasured = _scores_graph(workload, model, columns)
    functions = [("take_steps", step, update)]
    if scores is not None:
        functions.append(("evaluate", scores, None))  # type: ignore[arg-type]
    library = built(program(functions), folder=folder, timeout_s=timeout_s)
    more = [] if scores is None else scores.constants
    return NativeBuild(
        library=library,
        parameters=layout_of(list(model.named_parameters())),
        buffers=layout_of(list(model.named_buffers())),
        columns=examples_layout(columns),
        constants=(*step.constants, *more),
        n_constants=len(step.constants),
        trained=tuple(view is not None for view in step.gradients),
        metrics=metrics,
        unmeasured=unmeasured,
        n_draws=step.n_draws,
        is_plain=update.is_plain,
    )


def columns_of(workload: Workload) -> Columns:
    """Return the training examples as tensors in memory.

    Raises:
        RefusedError: they are not in memory, or Python code takes the steps or augments them.
    """
    for name in ("step", "augment"):
        if getattr(workload, name) is not None:
            raise unsupported(f"`{name}` of a workload")
    columns = resident(workload.train)
    if columns is None or (workload.collate is not None and columns is workload.train):
        raise RefusedError("its data are not tensors in memory")
    if not all(part.is_contiguous() and part.device.type == "cpu" for part in columns.parts):
        raise RefusedError("its data are not tensors in memory")
    return columns


def check_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Refuse gaps, shared memory, and parameters not in float32 or unlike the optimizer's."""
    seen: set[int] = set()
    held = [*model.named_parameters(), *model.named_buffers()]
    for name, part in held:
        memory = part.untyped_storage().data_ptr()
        if not part.is_contiguous() or (part.numel() and memory in seen):
            raise RefusedError(f"{name} shares memory or has gaps in it")
        seen.add(memory)
    for part in model.parameters():
        if part.dtype != torch.float32:
            raise unsupported(f"parameters of type {part.dtype}")
    known = {id(part) for part in model.parameters()}
    grouped = [part for group in optimizer.param_groups for part in group["params"]]
    needed = {id(part) for part in model.parameters() if part.requires_grad}
    if any(id(part) not in known for part in grouped) or needed - {id(part) for part in grouped}:
        raise RefusedError("model and optimizer have different parameters")


class _Asked(nn.Module):
    """A module that calls a function of a model and a batch, so its parameters can be replaced."""

    def __init__(self, model: nn.Module, function: Callable[[nn.Module, Any], Any]) -> None:
        super().__init__()
        self.model = model
        self._function = function

    def forward(self, batch: Any) -> Any:
        return self._function(self.model, batch)


def _step_graph(workload: Workload, model: nn.Module, columns: Columns) -> Graph:
    asked = _Asked(model, workload.loss)
    held = [*asked.named_parameters(), *asked.named_buffers()]
    trained = [at for at, (_, part) in enumerate(held) if part.requires_grad]
    n_parameters = len(list(model.parameters()))

    def step(fixed: Sequence[Tensor], batch: Sequence[Tensor]) -> list[Tensor | None]:
        given = {name: part for (name, _), part in zip(held, fixed, strict=True)}
        loss = torch.func.functional_call(asked, given, (columns.filled(batch),))
        asked_for = [fixed[at] for at in trained]
        found = torch.autograd.grad(loss, asked_for, allow_unused=True)
        gradients: list[Tensor | None] = [None] * n_parameters
        for at, gradient in zip(trained, found, strict=True):
            gradients[at] = gradient
        return [loss.detach(), *gradients]

    graph, (loss, *gradients) = _graph(step, held, columns, n_parameters)
    assert loss is not None
    _settle(graph, [loss], gradients)
    return graph


def _scores_graph(
    workload: Workload, model: nn.Module, columns: Columns
) -> tuple[Graph | None, tuple[str, ...], str | None]:
    names = tuple(name for name in workload.metric_names if not is_over_all(workload, name))
    metrics = [as_metric(workload, name) for name in names]
    asked = _Asked(model, lambda module, batch: [each.sum(module, batch) for each in metrics])
    held = [*asked.named_parameters(), *asked.named_buffers()]

    def scores(fixed: Sequence[Tensor], batch: Sequence[Tensor]) -> list[Tensor]:
        given = {name: part for (name, _), part in zip(held, fixed, strict=True)}
        with torch.no_grad():
            return list(torch.func.functional_call(asked, given, (columns.filled(batch),)))

    try:
        graph, found = _graph(scores, held, columns, len(list(model.parameters())))
        _settle(graph, [view for view in found if view is not None], [])
        if graph.n_draws:  # the plain evaluation draws the same ones each time
            raise unsupported("random numbers in an evaluation")
    except RefusedError as refused:
        return None, (), str(refused)
    return graph, names, None


def _graph(
    function: Callable[..., Sequence[Tensor | None]],
    held: Sequence[tuple[str, Tensor]],
    columns: Columns,
    n_parameters: int,
) -> tuple[Graph, list[View | None]]:
    before = RandomState.now()
    try:
        tape = captured(function, [part for _, part in held], columns.parts)
    except RefusedError:
        raise
    except Exception as error:  # the user's code may fail on tensors without memory
        what = f"{type(error).__name__}: {error}"
        raise RefusedError(f"its steps could not be recorded: {what}") from error
    if not before.is_now():  # its draws would be the same at each step
        raise unsupported("random numbers outside of a model's layers")
    n_buffers = len(held) - n_parameters
    kinds = ["parameter"] * n_parameters + ["buffer"] * n_buffers
    return lowered(tape, [*kinds, *["column"] * len(columns.parts)])


def _settle(graph: Graph, outputs: list[View], gradients: list[View | None]) -> None:
    """Give each result memory of its own, in the layout of its tensor."""
    builder = Builder(graph)
    seen: set[int] = set()
    for view in outputs:
        if view.rows or any(size != 1 for size in view.shape):
            raise RefusedError("its loss or a metric is not one number")
        graph.outputs.append(builder.point("{0}", view, dtype=view.dtype))
    for gradient in gradients:
        if gradient is not None:
            node = gradient.node
            is_own = gradient.is_whole and id(node) not in seen and node.c_type == "float"
            if not is_own or node.kind in ("parameter", "buffer", "constant"):
                gradient = builder.point("{0}", gradient)
            seen.add(id(gradient.node))
        graph.gradients.append(gradient)


class Call(ctypes.Structure):
    """The `struct call` of kernels.c."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("parameters", "buffers", "constants", "columns",
          "states", "counts", "index", "sizes", "parts", "shares", "numbers", "told", "space")),
        ("n_steps", ctypes.c_int64),
        ("largest", ctypes.c_int64),
        ("first_step", ctypes.c_int64),
        ("seed", ctypes.c_uint64),
        ("clip", ctypes.c_double),
    )  # fmt: skip


class Program:
    """A function of a library, with the tensors that it works on."""

    def __init__(self, build: NativeBuild, name: str) -> None:
        """Load the function `name`.

        Raises:
            RefusedError: the library is gone or can't be loaded.
        """
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
        index: Tensor,
        sizes: Tensor,
        parts: Tensor,
        shares: Tensor,
        told: Tensor,
        numbers: Tensor | None = None,
        clip: float = 0.0,
        first_step: int = 0,
        seed: int = 0,
        tensors: Mapping[str, Sequence[Tensor | None]],
    ) -> None:
        """Run the function; the arguments are those of `struct call`.

        Raises:
            IndexError: a label or a place in a table is out of range.
        """
        largest = int(sizes.max())
        if largest > self._room:
            self._space = torch.empty(self._space_of(largest), dtype=torch.uint8)
            self._room = largest
        pointers = {name: _pointers(held) for name, held in tensors.items()}
        given = {"index": index, "sizes": sizes, "parts": parts, "shares": shares, "told": told}
        call = Call(
            **{name: ctypes.cast(held, ctypes.c_void_p) for name, held in pointers.items()},
            **{name: held.data_ptr() for name, held in given.items()},
            numbers=None if numbers is None else numbers.data_ptr(),
            space=self._space.data_ptr(),
            n_steps=len(parts),
            largest=self._room,
            first_step=first_step,
            seed=seed,
            clip=clip,
        )
        if self._function(ctypes.byref(call)):
            raise IndexError("a label, or a place in a table, lies outside of what there is")


def _pointers(held: Sequence[Tensor | None]) -> Any:
    found = [None if part is None else part.data_ptr() for part in held]
    return (ctypes.c_void_p * max(1, len(found)))(*found)
