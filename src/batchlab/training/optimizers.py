"""Optimizers of a training: their construction, learning rates by step, and averaged weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import get_ema_multi_avg_fn

from batchlab.errors import WorkloadError
from batchlab.plans.scaling import moved_settings, settings_of
from batchlab.records.study import AdamSettings
from batchlab.records.trial import Trial
from batchlab.workload.definition import Workload, asks_for_names, horizons_of


@runtime_checkable
class Stateful(Protocol):
    """An object that a checkpoint can store: an optimizer, a scheduler, a GradScaler."""

    def state_dict(self) -> dict[str, Any]:
        """Return the object's state: tensors, numbers, texts, and lists and dicts of them."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Restore a state that `state_dict` returned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeOptimizers:
    """The result of the workload's `optimizer` function, and the optimizers in that result.

    Attributes:
        given: the unchanged result, which the workload's own `step` receives.
        optimizers: the optimizers in `given`, at least one.
        kept: the objects in `given`, by name, whose state a checkpoint stores.
    """

    given: Any
    optimizers: tuple[torch.optim.Optimizer, ...]
    kept: Mapping[str, Stateful]


def made_optimizers(workload: Workload, model: nn.Module, learning_rate: float) -> MadeOptimizers:
    """Make the optimizers of a new model with the workload's `optimizer` function."""
    make = workload.optimizer or default_optimizer
    parameters: Any = list(model.parameters())
    if asks_for_names(make):
        parameters = list(model.named_parameters())
    returned = make(parameters, learning_rate)
    kept = {"optimizer": returned}
    if isinstance(returned, Mapping):
        kept = {f"optimizer {name}": entry for name, entry in returned.items()}
    optimizers = [it for it in kept.values() if isinstance(it, torch.optim.Optimizer)]
    if not (optimizers and all(isinstance(it, Stateful) for it in kept.values())):
        kinds = ", ".join(type(it).__name__ for it in kept.values()) or "an empty dict"
        raise WorkloadError(
            f"workload {workload.name!r}: `optimizer` returned {kinds}; expected a "
            f"torch.optim.Optimizer, or a dict with at least one, whose other values have a "
            f"state_dict and a load_state_dict"
        )
    if isinstance(returned, Mapping) and workload.step is None:
        raise WorkloadError(
            f"workload {workload.name!r}: `optimizer` returned a dict, and only a `step` of your "
            f"own knows when each of them steps; give step=..., or return one optimizer"
        )
    return MadeOptimizers(given=returned, optimizers=tuple(optimizers), kept=kept)


def default_optimizer(
    parameters: Sequence[nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """Make SGD with momentum 0.9, the default for a workload without `optimizer`."""
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9)


def adam_settings(*optimizers: torch.optim.Optimizer) -> AdamSettings | None:
    """Return the smallest betas, the largest weight decay and the first eps of all groups.

    A scaling rule that can scale the smallest betas can scale every group's betas. The result is
    None if a group does not have two betas and eps as numbers.
    """
    betas, eps, decays = [], [], []
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            settings = settings_of(group, whose=type(optimizer).__name__)
            if settings is None:
                return None
            betas.append(settings.betas)
            eps.append(settings.eps)
            if settings.weight_decay is not None:
                decays.append(settings.weight_decay)
    if not betas:
        return None
    first, second = map(min, zip(*betas, strict=True))
    return AdamSettings(betas=(first, second), eps=eps[0], weight_decay=max(decays, default=None))


def asks_for_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether the optimizer's `step` requires a closure that computes the loss (LBFGS)."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def move_settings(
    optimizer: torch.optim.Optimizer, trial: Trial, *, reference_batch_size: int
) -> None:
    """Scale weight decay and Adam's settings in every parameter group for a trial's batch size.

    The learning rate is unchanged, because a trial's rate is already scaled.

    Raises:
        UsageError: a group lacks a setting that the rule scales, or the batch size is too large.
    """
    sizes = {"batch_size": trial.batch_size, "reference_batch_size": reference_batch_size}
    whose = type(optimizer).__name__
    for group in optimizer.param_groups:
        group.update(moved_settings(group, trial.scaling_rule, whose=whose, **sizes))


def averaged_model(workload: Workload, model: nn.Module) -> nn.Module:
    """Return a copy of a new model, in which `update_average` averages weights and buffers.

    Raises:
        WorkloadError: a parameter has 16 bits, too imprecise for the average's small updates.
    """
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype.itemsize < 4:
            raise WorkloadError(
                f"workload {workload.name!r}: {name!r} has 16 bits, too few for an average of "
                f"weights; keep the model in float32 (autocast computes in 16 bits), or give no ema"
            )
    return copy.deepcopy(model)


@torch.no_grad()
def update_average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Set average = decay * average + (1 - decay) * weights, after a step; copy integer tensors.

    The average covers the same number of examples at every batch size B if the decay is
    `ema ** (B / reference batch size)`.

    Source: Busbridge et al. 2023, arXiv:2307.13813, the EMA scaling rule.
    """
    averages, values, present = [], [], dict(named_tensors(model))
    for name, average in named_tensors(averaged):
        # `present` also has the buffers that the first forward pass made; `averaged` lacks them.
        value = present[name]
        if average.is_floating_point() or average.is_complex():
            averages.append(average)
            values.append(value)
        else:  # copy whole numbers, because PyTorch would round their average down
            average.copy_(value)
    get_ema_multi_avg_fn(decay)(averages, values, None)


def named_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the model's parameters, then its buffers, with their names."""
    return [*model.named_parameters(), *model.named_buffers()]


class RateSchedule:
    """The learning rates by step, from the workload's `schedule` or `scheduler`.

    Attributes:
        changes: whether the rate changes during the training.
        kept: the schedulers whose state a checkpoint stores, by name.
    """

    def __init__(self, workload: Workload, trial: Trial, made: MadeOptimizers) -> None:
        """Make the workload's schedulers, which set the rates of the first step.

        Raises:
            WorkloadError: `scheduler` returned no scheduler; or a ReduceLROnPlateau whose `mode`
                contradicts the first metric; or a scheduler although the plan changes the rate.
        """
        self._workload = workload
        self._trial = trial
        self._plan = trial.plan
        self._optimizers = made.optimizers
        self._group_rates = [group["lr"] for group in self._groups()]
        self._schedulers: tuple[LRScheduler, ...] = ()
        if workload.scheduler is not None:
            # A scheduler called after each step must have the parameter `n_steps`: a fixed number
            # of steps would be a different fraction of the training at each batch size.
            self._is_by_step = "n_steps" in horizons_of(workload.scheduler)
            self._schedulers = _make_schedulers(workload, trial, made.given)
            for optimizer in made.optimizers:
                # In a resumed run, the optimizer stepped before the interruption. Mark the
                # optimizer as stepped, or PyTorch warns that the scheduler steps first.
                optimizer._opt_called = True  # type: ignore[attr-defined]
        self._plateaus = []
        for scheduler in self._schedulers:
            if isinstance(scheduler, ReduceLROnPlateau):
                _check_mode(workload, scheduler)
                self._plateaus.append(scheduler)
        self._is_staged = any(stage.rate_factor != 1.0 for stage in trial.stages)
        if self._is_staged and self._schedulers:
            raise WorkloadError(
                f"workload {workload.name!r}: its `scheduler` sets the rate, which a plan would "
                f"change too; give it `schedule`, a function of the part of the run that is done, "
                f"or leave it out"
            )
        self.changes = workload.has_schedule or self._is_staged
        self.kept = {f"scheduler {index}": it for index, it in enumerate(self._schedulers)}

    @property
    def follows_metric(self) -> bool:
        """Whether the rate depends on the first metric, so that each epoch end needs the metric."""
        return bool(self._plateaus)

    def before(self, step: int) -> None:
        """Set the rates for step `step`, counted from 0; must be called once per step."""
        if self._schedulers:
            # Call `scheduler.step` before the next training step, not after a training step as is
            # usual in PyTorch, so that a run resumed between two steps makes only one call.
            is_due = step > 0 and (self._is_by_step or self._plan.position(step)[1] == 0)
            for scheduler in self._schedulers:
                if is_due and not isinstance(scheduler, ReduceLROnPlateau):
                    scheduler.step()
            return
        factor = self._factor(step)
        if self._is_staged:
            factor *= self._plan.stage_at(step).rate_factor
        for group, rate in zip(self._groups(), self._group_rates, strict=True):
            group["lr"] = rate * factor

    def saw(self, value: float) -> None:
        """Pass the first metric's validation value at an epoch's end to each ReduceLROnPlateau."""
        for scheduler in self._plateaus:
            scheduler.step(value)

    def _groups(self) -> Iterator[dict[str, Any]]:
        # Look up the groups each time, because loading a checkpoint replaces them.
        for optimizer in self._optimizers:
            yield from optimizer.param_groups

    def _factor(self, step: int) -> float:
        """Return the factor of the workload's `schedule` at `step`; 1 if there is no schedule."""
        if self._workload.schedule is None:
            return 1.0
        assert self._trial.horizon_steps is not None
        # Convert to float, because a checkpoint can't store a NumPy scalar as JSON.
        return float(self._workload.schedule(step / self._trial.horizon_steps))


def _make_schedulers(workload: Workload, trial: Trial, optimizer: Any) -> tuple[LRScheduler, ...]:
    assert workload.scheduler is not None
    assert trial.horizon_steps is not None
    n_epochs = round(trial.plan.epoch_at(trial.horizon_steps))
    spans = {"n_steps": trial.horizon_steps, "n_epochs": max(1, n_epochs)}
    spans = {name: spans[name] for name in horizons_of(workload.scheduler)}
    returned = workload.scheduler(optimizer, **spans)
    schedulers = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
    for scheduler in schedulers:
        if not isinstance(scheduler, LRScheduler):
            raise WorkloadError(
                f"workload {workload.name!r}: `scheduler` returned a {type(scheduler).__name__}; "
                f"expected a scheduler of torch.optim.lr_scheduler, or a list of them"
            )
    return schedulers


def _check_mode(workload: Workload, scheduler: ReduceLROnPlateau) -> None:
    metric = workload.metric_names[0]
    better = workload.better(metric)
    mode = {"higher": "max", "lower": "min"}[better]
    if scheduler.mode != mode:
        raise WorkloadError(
            f"workload {workload.name!r}: its ReduceLROnPlateau has mode={scheduler.mode!r}, and "
            f"{metric}, the metric that counts, is better {better}; give it mode={mode!r}"
        )
