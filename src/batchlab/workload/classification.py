"""Classification: loss, accuracy and tensors of workloads that tell classes apart.

A batch is (inputs, labels) with examples first; labels are class numbers from 0.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

Labelled = tuple[Tensor, Tensor]


def labelled_tensors(inputs: NDArray[Any], labels: NDArray[Any]) -> Labelled:
    """The arrays as tensors; the inputs share memory, the labels become int64.

    Args:
        inputs: any type, examples first.
        labels: class numbers, shape (n,).

    Returns:
        Inputs, and labels as `cross_entropy` takes them.
    """
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
