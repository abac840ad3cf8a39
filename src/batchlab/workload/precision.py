"""Precision: the number format in which PyTorch computes a workload's loss and metrics."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from batchlab.errors import WorkloadError
from batchlab.workload.definition import Batch, Precision, Workload

_TYPES: Final[dict[Precision, torch.dtype]] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def in_precision(precision: Precision, model: nn.Module) -> AbstractContextManager[Any]:
    """Return a context in which `torch.autocast` applies a precision on the model's device.

    With "fp32" the context does nothing, so that the user's own `torch.autocast` stays in effect.
    """
    if precision == "fp32":
        return nullcontext()
    parameter = next(model.parameters(), None)
    device = "cpu" if parameter is None else parameter.device.type
    return torch.autocast(device, dtype=_TYPES[precision])


@dataclass(frozen=True, slots=True)
class _LossInPrecision:
    """A workload's loss that is computed in the workload's precision."""

    loss: Callable[[nn.Module, Batch], Tensor]
    precision: Precision

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        with in_precision(self.precision, model):
            return self.loss(model, batch)


def with_precision(workload: Workload) -> Workload:
    """Return the workload with a loss that is computed in the workload's precision."""
    if workload.precision == "fp32":
        return workload
    return replace(workload, loss=_LossInPrecision(workload.loss, workload.precision))


def check_precision(workload: Workload, device: torch.device) -> None:
    """Check that a device can compute in the workload's precision.

    Raises:
        WorkloadError: the device is a GPU without bfloat16.
    """
    if workload.precision != "bf16" or device.type != "cuda":
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise WorkloadError(
            f"workload {workload.name!r}: precision is 'bf16', and "
            f"{torch.cuda.get_device_name(device)} has no bfloat16; give precision='fp16' or 'fp32'"
        )
