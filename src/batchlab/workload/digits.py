"""Digits: what the built-in workloads that tell classes apart share."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from batchlab.workload.settings import chosen

Labelled = tuple[Tensor, Tensor]


def labelled_tensors(inputs: NDArray[Any], labels: NDArray[Any]) -> Labelled:
    """The arrays as tensors; the inputs share memory, the labels become int64."""
    return torch.from_numpy(inputs), torch.from_numpy(labels).long()


def cross_entropy(model: nn.Module, batch: Labelled) -> Tensor:
    """Mean cross entropy of the batch in nats, a scalar."""
    inputs, labels = batch
    scores: Tensor = model(inputs)
    return F.cross_entropy(scores, labels)


def accuracy(model: nn.Module, batch: Labelled) -> Tensor:
    """Fraction of the batch whose highest score is that of its label, a scalar in [0, 1]."""
    inputs, labels = batch
    scores: Tensor = model(inputs)
    return (scores.argmax(1) == labels).float().mean()


# name -> (mean, standard deviation) that are taken out, of pixels between 0 and 1. Standardized
# by MNIST's own: those of all pixels of its 60,000 training images.
INPUTS = MappingProxyType({"unit": (0.0, 1.0), "standardized": (0.1307, 0.3081)})


class Pixels(nn.Module):
    """Bytes to numbers: (byte / 255 - mean) / standard deviation. It has no parameters.

    Args:
        input: "unit" (between 0 and 1) or "standardized" (MNIST's mean 0 and deviation 1).
        workload: the workload's name, for messages.

    Raises:
        WorkloadError: another `input`.
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, input: str, *, workload: str) -> None:
        super().__init__()
        mean, deviation = chosen(input, INPUTS, setting="input", workload=workload)
        self._is_centred = mean != 0
        # Buffers follow the model to a device or a type (`.double()`); constants of the code
        # are no state of the training, so checkpoints leave them out.
        self.register_buffer("mean", torch.tensor(255 * mean), persistent=False)
        self.register_buffer("factor", torch.tensor(1 / (255 * deviation)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """The images as floating point."""
        # One new tensor, changed in place: at B = 1024 two of them cost 30 times as long when
        # the allocator hands the first back to the system. `copy`: never change the data itself.
        numbers = images.to(self.factor.dtype, copy=True)
        if self._is_centred:
            numbers.sub_(self.mean)
        return numbers.mul_(self.factor)
