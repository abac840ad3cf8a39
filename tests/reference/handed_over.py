"""A workload as somebody writes it first, and what refuses what was handed over wrongly."""

from typing import Any

import pytest
import torch
from torch import nn

import batchlab
from batchlab.errors import WorkloadError


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


def refused(**given: Any) -> str:
    with pytest.raises(WorkloadError) as caught:
        workload(**given)
    return str(caught.value)
