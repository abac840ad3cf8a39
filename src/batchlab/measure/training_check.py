"""Does a workload's own step train, and does a stopped training go on as if never stopped."""

from __future__ import annotations

import inspect
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.errors import BatchlabError, WorkloadError
from batchlab.measure.examples import places
from batchlab.processes.memory import is_out_of_memory
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.trial import Trial
from batchlab.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from batchlab.training.optimizers import Stateful
from batchlab.training.stepper import Stepper
from batchlab.words.reasons import reason_text
from batchlab.workload.data import chosen_part
from batchlab.workload.definition import Workload, size_of
from batchlab.workload.source import told
from batchlab.workload.stream import is_stream

# A GradScaler leaves out its first steps until its scale is small enough; a GAN may train one of
# its parts every few steps.
_MOST_STEPS = 20


def check_own_step(workload: Workload, device: str, *, n_examples: int) -> int:
    """Take steps of the workload's own kind, and look at what they do.

    Args:
        workload: with its data; one that trains by plain steps is not looked at but for what
            waits for validation data.
        device: the PyTorch device.
        n_examples: of a step that runs.

    Returns:
        How many steps it takes until a weight changes.

    Raises:
        WorkloadError: the step changes no weights, hides a loss that is no number, or uses
            what remembers something and was made outside of the training.
    """
    _check_validation(workload, device, n_examples)
    if workload.step is None:
        return 1
    for found in _kept_outside(workload.step):
        raise WorkloadError(
            f"workload {workload.name!r}: `step` uses a {type(found).__name__} that was made "
            f"outside of the training, so each training would go on with the state of the last; "
            f"make it in `optimizer` and return it there: "
            f'{{"optimizer": ..., "{type(found).__name__.lower()}": ...}}'
        )
    n_steps = _check_moves(workload, device, n_examples)
    _check_shows_nan(workload, device, n_examples)
    return n_steps


def _check_validation(workload: Workload, device: str, n_examples: int) -> None:
    """What waits for validation data needs some."""
    waits = "patience_epochs" if workload.patience_epochs is not None else ""
    if (
        not waits
        and workload.scheduler is not None
        and _Watched(workload, device, n_examples).follows_metric
    ):
        waits = "its ReduceLROnPlateau"
    if waits and workload.validation is None:
        raise WorkloadError(
            f"workload {workload.name!r}: {waits} waits for the metric on validation data, and "
            f"there are none; give it `validation`"
        )


class _Watched:
    """A stepper on a few examples."""

    def __init__(self, workload: Workload, device: str, n_examples: int) -> None:
        n_train = size_of(workload.train)
        trial = Trial.of_whole_batches(
            workload_id="",
            workload=workload.name,
            n_train=n_train,
            batch_size=min(n_examples, n_train),
            learning_rate=workload.learning_rate,
            seed=0,
        )
        if workload.has_schedule:
            trial = replace(trial, horizon_steps=trial.plan.steps_in(1))
        self._name = workload.name
        with self._asking("making its optimizer or its scheduler"):
            self._stepper = Stepper(workload, trial, torch.device(device))
        self._stream = self._stepper.stream(0)

    @property
    def follows_metric(self) -> bool:
        return self._stepper.rates.follows_metric

    @property
    def model(self) -> nn.Module:
        return self._stepper.model

    def step(self) -> float:
        """The loss of one step."""
        with self._asking("`step`"):
            return float(self._stepper.step(next(self._stream)))

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Context: an exception of the user's function is told in one line, with its place."""
        try:
            yield
        except BatchlabError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise WorkloadError(f"workload {self._name!r}: {what} raised {told(error)}") from error

    def optimizers_called(self) -> list[bool]:
        """Whether each optimizer's step gets called from now on; filled as that happens."""
        called = [False for _ in self._stepper.optimizers]

        def note(index: int) -> Callable[..., None]:
            return lambda *_: called.__setitem__(index, True)

        for index, each in enumerate(self._stepper.optimizers):
            each.register_step_post_hook(note(index))
        return called


def at_a_constant_rate(workload: Workload) -> Workload:
    """The workload without its schedules: one may begin with a rate of 0, or need a length.

    Args:
        workload: with or without them.
    """
    return replace(workload, schedule=None, scheduler=None, scheduler_every="epoch")


def _check_moves(workload: Workload, device: str, n_examples: int) -> int:
    """Refuse a step that trains nothing; gives how many it takes until a weight changes."""
    watched = _Watched(at_a_constant_rate(workload), device, n_examples)
    called = watched.optimizers_called()
    before = [part.detach().clone() for part in watched.model.parameters()]
    for step in range(1, _MOST_STEPS + 1):
        watched.step()
        pairs = zip(before, watched.model.parameters(), strict=True)
        if any(not torch.equal(old, new) for old, new in pairs):
            return step
    if any(called):
        raise WorkloadError(
            f"workload {workload.name!r}: `step` calls the optimizer, but in {_MOST_STEPS} steps "
            f"no weight of the model changed; call loss.backward() between zero_grad() and step()"
        )
    raise WorkloadError(
        f"workload {workload.name!r}: `step` never calls the optimizer: in {_MOST_STEPS} steps no "
        f"weight changed; end it with optimizer.step()"
    )


def _check_shows_nan(workload: Workload, device: str, n_examples: int) -> None:
    """A model that is no number any more has to show in what the step returns."""
    watched = _Watched(workload, device, n_examples)
    with torch.no_grad():
        for part in watched.model.parameters():
            if part.is_floating_point():
                part.fill_(math.nan)
    try:
        loss = watched.step()
    except WorkloadError:  # it says so loudly itself
        return
    if math.isfinite(loss):
        raise WorkloadError(
            f"workload {workload.name!r}: `step` hides a failure: with weights that are NaN it "
            f"returned a loss of {loss:g}; return the loss as it was computed, also where the "
            f"update is left out"
        )


def _kept_outside(step: Callable[..., Any]) -> Iterator[Stateful]:
    """What has a state that changes and lives outside of model and optimizers: a GradScaler."""
    function = inspect.unwrap(step)
    code = getattr(function, "__code__", None)
    if code is None:
        return
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    named = [function.__globals__[name] for name in code.co_names if name in function.__globals__]
    for value in (*cells, *named, *(function.__defaults__ or ())):
        is_model = isinstance(value, (nn.Module, type))
        if isinstance(value, Stateful) and not is_model:
            yield value


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


LEAST_STEPS = 3
"""A training is stopped after so many steps at least, and goes on for as many."""
# Of the whole update: a lost state shows as more, kernels that add up in any order as far less.
_TOLERANCE = 1e-3
_GRAINS = 4  # of a weight's type: what its rounding may do by itself
_MOST_S = 0.5  # for making a training and its first step: a dearer one is not looked at
_SEED = 0

_Weights = list[Tensor]


def resumption_warnings(
    packed: PackedWorkload, device: str, *, n_examples: int, n_steps: int
) -> tuple[str, ...]:
    """Take twice `n_steps` steps in one go, and again with a stop in the middle.

    Args:
        packed: the workload.
        device: the PyTorch device.
        n_examples: of a step that runs.
        n_steps: before the stop, and after it.

    Returns:
        What is odd, in words; nothing where both end alike, or where steps are dear.

    Raises:
        WorkloadError: a checkpoint cannot hold what the optimizer keeps.
    """
    check = _Check(packed, torch.device(device), n_examples, n_steps)
    try:
        whole = check.in_one_go()
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return ()  # the other checks have looked at steps: what fails so late, a trial will tell
    if whole is None:
        return ()
    begin, end = whole
    update = _length(begin, end, grains=0)
    if not 0 < update < float("inf"):
        return ()
    try:
        resumed = check.with_a_stop()
    except _CannotBeKeptError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = " ".join(str(error.__cause__ or error).split())
        return (reason_text(Reason.of("cannot_be_taken_up", error=text)),)
    off = _length(end, resumed, grains=_GRAINS) / update
    if off <= _TOLERANCE:
        return ()
    repeated = check.in_one_go()
    off_by_itself = 0.0 if repeated is None else _length(end, repeated[1], grains=_GRAINS) / update
    if off_by_itself > _TOLERANCE:
        return (reason_text(Reason.of("not_repeatable", percent=_percent(off_by_itself))),)
    return (reason_text(Reason.of("taken_up_otherwise", percent=_percent(off))),)


class _CannotBeKeptError(WorkloadError):
    """Every trial would end with it at its first checkpoint."""


class _Check:
    """Trainings on a few examples."""

    def __init__(
        self, packed: PackedWorkload, device: torch.device, n_examples: int, n_steps: int
    ) -> None:
        self._packed, self._device = packed, device
        self._n_examples, self._n_steps = n_examples, n_steps

    def in_one_go(self) -> tuple[_Weights, _Weights] | None:
        """The weights before and after all steps; None: they are dear."""
        started_s = time.perf_counter()
        stepper = self._begun()
        begin = _weights(stepper)
        stream = stepper.stream(0)
        stepper.step(next(stream))
        # A step of its own kind may need many before it changes a weight.
        factor = self._n_steps / LEAST_STEPS
        if factor * (time.perf_counter() - started_s) > _MOST_S:
            return None
        for _ in range(2 * self._n_steps - 1):
            stepper.step(next(stream))
        return begin, _weights(stepper)

    def with_a_stop(self) -> _Weights:
        """The weights after as many steps, taken up in the middle from a checkpoint."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint"
            first = self._begun()
            self._go_on(first, 0)
            self._keep(first, path)
            del first
            second = self._begun()
            load_checkpoint(
                path, model=second.model, optimizer=second.optimizer, beside=second.kept
            )
        self._go_on(second, self._n_steps)
        return _weights(second)

    def _keep(self, stepper: Stepper, path: Path) -> None:
        try:
            save_checkpoint(
                path,
                model=stepper.model,
                optimizer=stepper.optimizer,
                progress=_progress(self._n_steps),
                beside=stepper.kept,
            )
        except WorkloadError as error:
            raise _CannotBeKeptError(f"workload {self._name!r}: {error}") from error

    def _go_on(self, stepper: Stepper, step: int) -> None:
        stream = stepper.stream(step)
        for _ in range(self._n_steps):
            stepper.step(next(stream))

    def _begun(self) -> Stepper:
        workload = self._of_few(self._packed.unpack())
        self._name = workload.name
        n_train = size_of(workload.train)
        trial = Trial.of_whole_batches(
            workload_id="",
            workload=workload.name,
            n_train=n_train,
            batch_size=min(self._n_examples, n_train),
            learning_rate=workload.learning_rate,
            seed=_SEED,
        )
        return Stepper(workload, trial, self._device)

    def _of_few(self, workload: Workload) -> Workload:
        """The workload with no more examples than are used, fetched by this process."""
        workload = replace(at_a_constant_rate(workload), workers=0)
        if is_stream(workload.train) or workload.make_sampler is not None:
            return workload
        n = min(2 * self._n_steps * self._n_examples, size_of(workload.train))
        chosen = torch.tensor(places(workload, n))
        return replace(workload, train=chosen_part(workload.train, chosen))


def _weights(stepper: Stepper) -> _Weights:
    return [
        part.detach().clone()
        for part in stepper.model.parameters()
        if part.is_floating_point() or part.is_complex()
    ]


def _length(some: _Weights, others: _Weights, *, grains: int) -> float:
    """How far weights lie apart, each without so many grains of its own type."""
    squares = 0.0
    for one, other in zip(some, others, strict=True):
        apart = (one - other).abs()
        apart = (apart - grains * torch.finfo(one.dtype).eps * one.abs()).clamp_min(0)
        squares += float(apart.double().square().sum())
    return float(squares**0.5)


def _percent(fraction: float) -> str:
    percent = 100 * fraction
    return f"{percent:.0f} %" if percent >= 1 else f"{percent:.1g} %"


def _progress(step: int) -> Progress:
    return Progress(
        step=step,
        samples=0,
        train_s=0.0,
        eval_s=0.0,
        loss_sum=0.0,
        loss_examples=0,
        evaluations=(),
        versions=(),
        engine="plain",
        threads=1,
    )
