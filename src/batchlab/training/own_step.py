"""OwnStep: one optimizer step as the user wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.records.trial import Trial
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.own_training import step_takes_whole_batches


class OwnStep:
    """Calls the workload's `step` with what it asks for, and takes the loss from what it returns.

    It is called with the micro-batches of a step.
    """

    def __init__(self, workload: Workload, trial: Trial, model: nn.Module, optimizer: Any) -> None:
        """Nothing is stepped yet.

        Args:
            workload: it has a `step`.
            trial: how its batches are cut.
            model: what is trained.
            optimizer: what the workload's `optimizer` returned.

        Raises:
            WorkloadError: the trial cuts its batches, and the step does not take micro-batches.
        """
        assert workload.step is not None
        if trial.micro_batch_size < trial.batch_size and not workload.takes_micro_batches:
            raise WorkloadError(
                step_takes_whole_batches(workload.name, trial.batch_size, trial.micro_batch_size)
            )
        self._workload = workload
        self._model = model
        self._optimizer = optimizer
        self._step = workload.step
        self._accumulates = workload.accumulates

    def __call__(self, micro_batches: Sequence[Batch]) -> Tensor:
        """One step; returns the loss that it told, without its graph."""
        batch = tuple(micro_batches) if self._accumulates else micro_batches[0]
        return self._loss_in(self._step(self._model, self._optimizer, batch))

    def _loss_in(self, returned: Any) -> Tensor:
        loss = returned
        if isinstance(returned, Mapping) and returned:
            loss = returned["loss"] if "loss" in returned else next(iter(returned.values()))
        if isinstance(loss, Tensor) and loss.numel() == 1:
            return loss.detach().reshape(())
        if isinstance(loss, int | float):
            return torch.tensor(float(loss))
        raise WorkloadError(
            f"workload {self._workload.name!r}: `step` returned {_told(returned)}; expected the "
            f"batch's loss, a tensor with one number, or a dict of such with the loss first"
        )


def _told(returned: Any) -> str:
    if returned is None:
        return "nothing"
    if isinstance(returned, Tensor):
        return f"a tensor of shape {tuple(returned.shape)}"
    if isinstance(returned, Mapping):
        first = next(iter(returned.values()), None)
        return "an empty dict" if not returned else f"a dict that begins with {_told(first)}"
    return f"a {type(returned).__name__}"
