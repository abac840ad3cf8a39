"""A workload as somebody writes it first; fields can be replaced."""

from typing import Any

import torch
from torch import nn

import batchlab


class Net(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 2)


def loss(model: nn.Module, batch: Any) -> Any:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def workload(**given: Any) -> batchlab.Workload:
    fields = {
        "name": "mine",
        "model": Net,
        "train": (torch.zeros(20, 3), torch.zeros(20, dtype=torch.int64)),
        "loss": loss,
        "learning_rate": 0.1,
    }
    return batchlab.Workload(**(fields | given))
