"""Stepper: a trial's model and optimizer, and what one optimizer step does to them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from batchlab.errors import WorkloadError
from batchlab.random_state import seed_everything
from batchlab.records.trial import Trial
from batchlab.training.adam_settings import move_adam_settings
from batchlab.training.evaluator import weight_of
from batchlab.training.training_batches import training_batches
from batchlab.workload.definition import Batch, Workload


class Stepper:
    """A trial's model and optimizer on their device, ready to take steps."""

    def __init__(self, workload: Workload, trial: Trial, device: torch.device) -> None:
        """Seed everything, make the model (on the CPU, so that its weights don't depend on the
        device) and the optimizer."""  # noqa: D205, D209
        self._workload = workload
        self._trial = trial
        self._plan = trial.plan
        self._batches = training_batches(workload, trial, device)
        if device.type == "cuda":
            torch.cuda.init()  # only streams that are there can be seeded
        seed_everything(trial.seed)
        self.model = workload.model().to(device)
        self.model.train()
        self._parameters = list(self.model.parameters())
        make_optimizer = workload.optimizer or default_optimizer
        self.optimizer = make_optimizer(self._parameters, trial.learning_rate)
        move_adam_settings(
            self.optimizer,
            rule=trial.scaling_rule,
            batch_size=trial.batch_size,
            reference_batch_size=workload.batch_size,
        )
        self._group_rates = [group["lr"] for group in self.optimizer.param_groups]
        self._optimizer_step = step_function(self.optimizer)
        self._asks_for_closure = asks_for_closure(self.optimizer)

    def stream(self, step: int) -> Iterator[Sequence[Batch]]:
        """The micro-batches of step `step`, of the step after it, and so on without end."""
        epoch, first_step = self._plan.position(step)
        while True:
            yield from self._batches.epoch(epoch, first_step=first_step)
            epoch, first_step = epoch + 1, 0

    def steps(
        self, stream: Iterator[Sequence[Batch]], n_steps: int, *, first_step: int
    ) -> tuple[list[float], list[int]]:
        """Take `n_steps` steps and wait for the device to finish them.

        Args:
            stream: where the micro-batches come from.
            n_steps: how many steps, >= 1.
            first_step: steps taken before, for the learning-rate shape.

        Returns:
            The mean loss of each step's batch before its update, and its number of examples.
        """
        losses: list[Tensor] = []
        scheduled = self._workload.schedule is not None or self._trial.cool_down > 0
        for step, micro_batches in enumerate(islice(stream, n_steps), start=first_step):
            if scheduled:
                self._set_rates(step)
            losses.append(self.step(micro_batches))
        sizes = [self._plan.batch_size_at(first_step + taken) for taken in range(n_steps)]
        return torch.stack(losses).tolist(), sizes

    def step(self, micro_batches: Sequence[Batch]) -> Tensor:
        """One optimizer step on the mean loss over all micro-batches; returns that loss."""
        if self._workload.augment is not None:
            micro_batches = tuple(map(self._workload.augment, micro_batches))
        if self._asks_for_closure:
            # It returns what the closure gave at its first call, before any update.
            step: Callable[[Callable[[], Tensor]], Tensor] = self.optimizer.step  # type: ignore[assignment]
            return step(lambda: self._backward(micro_batches))
        loss = self._backward(micro_batches)
        self._optimizer_step()
        return loss

    def _backward(self, micro_batches: Sequence[Batch]) -> Tensor:
        """Leave the gradient of the mean loss over all micro-batches; returns that loss."""
        for parameter in self._parameters:
            parameter.grad = None
        if len(micro_batches) == 1:
            loss = self._workload.loss(self.model, micro_batches[0])
            loss.backward()
            return loss.detach()
        # Each micro-batch counts by its weight: the last one may be smaller, or hold only padding.
        weights = [weight_of(self._workload, batch) for batch in micro_batches]
        total = sum(weights)
        if total == 0:
            raise WorkloadError(
                f"workload {self._workload.name!r}: the `weight` of all {len(weights)} "
                f"micro-batches of a step is 0, so their loss has no mean; leave such examples out"
            )
        parts = []
        for batch, weight in zip(micro_batches, weights, strict=True):
            if weight == 0:
                continue
            part = self._workload.loss(self.model, batch) * (weight / total)
            part.backward()
            parts.append(part.detach())
        return torch.stack(parts).sum()

    def _set_rates(self, step: int) -> None:
        assert self._trial.horizon_steps is not None
        done = step / self._trial.horizon_steps
        if self._trial.cool_down:
            factor = min(1.0, (1.0 - done) / self._trial.cool_down)
        else:
            assert self._workload.schedule is not None
            # A plain number: a NumPy scalar in the optimizer's groups could not be kept as JSON.
            factor = float(self._workload.schedule(done))
        for group, rate in zip(self.optimizer.param_groups, self._group_rates, strict=True):
            group["lr"] = rate * factor


def asks_for_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether one step needs the loss several times (`torch.optim.LBFGS`)."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def default_optimizer(
    parameters: Sequence[nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """SGD with momentum 0.9, for a workload that names no optimizer."""
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9)


def step_function(optimizer: torch.optim.Optimizer) -> Callable[[], object]:
    """`optimizer.step` without the profiler's record around it, where nobody listens there.

    At batch size 1 that record costs a tenth of the whole step. The function inside is the very
    same; an optimizer with hooks, or with a step of its own making, keeps its own.
    """
    step = type(optimizer).step
    wrapped = getattr(step, "__wrapped__", None)
    hooks = (
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
    )
    if wrapped is None or not getattr(step, "hooked", False) or hooks or "step" in vars(optimizer):
        return optimizer.step
    return lambda: wrapped(optimizer)
