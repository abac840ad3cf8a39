"""Stepper: a trial's model and optimizer, and the computation of one optimizer step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.random_state import seed_everything
from batchlab.records.trial import Trial
from batchlab.training.accumulator import backward_of_parts
from batchlab.training.batching import training_batches
from batchlab.training.checkpoint import AVERAGED, MODEL
from batchlab.training.evaluator import MetricSums, shares_of
from batchlab.training.optimizers import (
    RateSchedule,
    Stateful,
    asks_for_closure,
    averaged_model,
    made_optimizers,
    move_settings,
    update_average,
)
from batchlab.workload.definition import Batch, Workload, check_may_be_cut, uncompiled

_SCALER = "gradient scaler"  # its name in a checkpoint


class Stepper:
    """A trial's model and optimizer on their device, ready to take steps.

    Attributes:
        name: the name of the trainer, "plain" or (in a subclass) "native".
        model: the model that is trained.
        optimizers: the optimizers that train the model.
        optimizer: the first optimizer; only a workload with a `step` may have several optimizers.
        rates: the learning rate of each step.
        averaged: a copy of the model with averaged weights; None if the workload has no `ema`.
        fast: a function that computes some metrics of the model without PyTorch, or None.
    """

    name = "plain"
    fast: MetricSums | None = None

    def __init__(
        self, workload: Workload, trial: Trial, device: torch.device, *, is_compiled: bool = False
    ) -> None:
        """Seed everything, then make the model and the optimizer.

        The model is made on the CPU, so that its weights don't depend on the device. If the
        workload applies `torch.compile` to the model, the compilation is undone, unless
        `is_compiled` is True.
        """
        self._workload = workload
        self._trial = trial
        self._plan = trial.plan
        self._epoch = training_batches(workload, trial, device)
        if device.type == "cuda":
            torch.cuda.init()  # before this call, CUDA's random stream can't be seeded
        seed_everything(trial.seed)
        model = workload.model() if is_compiled else uncompiled(workload.model())
        self.model = model.to(device)
        self.model.train()
        self._parameters = list(self.model.parameters())
        self._made = made_optimizers(workload, self.model, trial.learning_rate)
        self.optimizers = self._made.optimizers
        self.optimizer = self.optimizers[0]
        for optimizer in self.optimizers:
            move_settings(optimizer, trial, reference_batch_size=workload.batch_size)
        self.rates = RateSchedule(workload, trial, self._made)
        self.averaged: nn.Module | None = None
        if workload.ema is not None:
            self.averaged = averaged_model(workload, self.model)
        self._asks_for_closure = asks_for_closure(self.optimizer)
        self._scaler = torch.amp.GradScaler(device.type, enabled=workload.precision == "fp16")
        if self._asks_for_closure and self._scaler.is_enabled():
            raise WorkloadError(
                f"workload {workload.name!r}: {type(self.optimizer).__name__} asks for the loss "
                f"several times a step, which gradients scaled for fp16 do not allow; give "
                f"precision='bf16' or 'fp32'"
            )
        if workload.step is not None:
            check_may_be_cut(workload, trial)

    @property
    def evaluated(self) -> nn.Module:
        """The model to evaluate: with averaged weights if there are any, else the trained model."""
        return self.model if self.averaged is None else self.averaged

    @property
    def kept(self) -> Mapping[str, Stateful]:
        """The objects whose state a checkpoint stores, by name."""
        kept = {MODEL: self.model, **self._made.kept, **self.rates.kept}
        if self._scaler.is_enabled():
            kept[_SCALER] = self._scaler
        return kept if self.averaged is None else {AVERAGED: self.averaged, **kept}

    def stream(self, step: int) -> Iterator[Sequence[Batch]]:
        """Yield without end the micro-batches of each step, starting at step `step`."""
        epoch, first_step = self._plan.position(step)
        while True:
            yield from self._epoch(epoch, first_step)
            epoch, first_step = epoch + 1, 0

    def steps(
        self, stream: Iterator[Sequence[Batch]], n_steps: int, *, first_step: int
    ) -> list[float]:
        """Take `n_steps` steps, wait for the device, and return each step's loss."""
        losses: list[Tensor] = []
        scheduled = self.rates.changes
        for step, micro_batches in enumerate(islice(stream, n_steps), start=first_step):
            if scheduled:
                self.rates.before(step)
            losses.append(self.step(micro_batches))
            self._update_average(step)
        return torch.stack(losses).tolist()

    def step(self, micro_batches: Sequence[Batch]) -> Tensor:
        """Take one optimizer step on the mean loss over all micro-batches and return that loss.

        The averaged weights are not updated here; `steps` updates them.
        """
        if self._workload.augment is not None:
            micro_batches = tuple(map(self._workload.augment, micro_batches))
        if self._workload.step is not None:
            return self._own_step(micro_batches)
        if self._asks_for_closure:
            # LBFGS returns the first loss of the closure, computed before any update.
            step: Callable[[Callable[[], Tensor]], Tensor] = self.optimizer.step  # type: ignore[assignment]
            return step(lambda: self._gradient(micro_batches))
        loss = self._gradient(micro_batches)
        self._scaler.step(self.optimizer)  # With fp16, this skips a step whose gradient overflowed.
        self._scaler.update()
        return loss

    def _update_average(self, step: int) -> None:
        workload = self._workload
        if self.averaged is not None and workload.ema is not None:
            size = self._plan.stage_at(step).batch_size
            decay = float(workload.ema ** (size / workload.batch_size))
            update_average(self.averaged, self.model, decay)

    def _own_step(self, micro_batches: Sequence[Batch]) -> Tensor:
        """Call the workload's `step`, and return the loss that `step` returned, detached."""
        workload = self._workload
        assert workload.step is not None
        batch = tuple(micro_batches) if workload.accumulates else micro_batches[0]
        returned = workload.step(self.model, self._made.given, batch)
        loss = returned
        if isinstance(returned, Mapping) and returned:
            loss = returned.get("loss", next(iter(returned.values())))
        if isinstance(loss, Tensor) and loss.numel() == 1:
            return loss.detach().reshape(())
        if isinstance(loss, int | float):
            return torch.tensor(float(loss))
        raise WorkloadError(
            f"workload {workload.name!r}: `step` returned a {type(returned).__name__}; expected "
            f"the batch's loss, a tensor with one number, or a dict of such with the loss first"
        )

    def _gradient(self, micro_batches: Sequence[Batch]) -> Tensor:
        """Compute the (clipped) gradient of the mean loss over micro-batches; return the loss."""
        loss = self._backward(micro_batches)
        if self._workload.clip_norm is not None:
            self._scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._workload.clip_norm)
        return loss

    def _backward(self, micro_batches: Sequence[Batch]) -> Tensor:
        for parameter in self._parameters:
            parameter.grad = None
        # Weight each micro-batch, because the last one may be smaller, or contain only padding.
        # Compute weights after `augment`, because the loss is a mean over the augmented examples.
        # If `augment` mixes two copies of a batch, all weights double, and shares are unchanged.
        shares = shares_of(self._workload, micro_batches)
        loss = partial(self._workload.loss, self.model)
        return backward_of_parts(loss, micro_batches, shares, scaled=self._scaler.scale)
