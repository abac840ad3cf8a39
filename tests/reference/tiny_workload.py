"""Tiny workloads; fields can be replaced."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import batchlab


def tiny(**fields: Any) -> batchlab.Workload:
    """A workload whose functions were made in a call, as those of a notebook are."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(140, 4, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    base: dict[str, Any] = {
        "name": "tiny",
        "model": lambda: nn.Linear(4, 3),
        "train": (x[:100], y[:100]),
        "validation": (x[100:120], y[100:120]),
        "test": (x[120:], y[120:]),
        "loss": lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        "metrics": {
            "accuracy": lambda model, batch: (model(batch[0]).argmax(1) == batch[1]).float().mean()
        },
        "batch_size": 20,
        "learning_rate": 0.1,
    }
    return batchlab.Workload(**(base | fields))


class Net(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 2)


def loss(model: nn.Module, batch: Any) -> Any:
    return F.cross_entropy(model(batch[0]), batch[1])


def workload(**given: Any) -> batchlab.Workload:
    """A workload as somebody writes it first."""
    fields = {
        "name": "mine",
        "model": Net,
        "train": (torch.zeros(20, 3), torch.zeros(20, dtype=torch.int64)),
        "loss": loss,
        "learning_rate": 0.1,
    }
    return batchlab.Workload(**(fields | given))
