"""OwnStepCheck: does a workload's own step train, and show when it fails?

A few steps on a few examples, before anything is spent.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from batchlab.errors import BatchlabError, WorkloadError
from batchlab.processes.memory import is_out_of_memory
from batchlab.records.trial import Trial
from batchlab.training.made_optimizers import Stateful
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload, size_of
from batchlab.workload.error_place import told

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
