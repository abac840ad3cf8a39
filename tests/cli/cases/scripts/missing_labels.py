"""Three tasks, one label in ten is known (NaN else): the loss is the mean over the known ones."""

import torch
import torch.nn.functional as F
from torch import nn

import batchlab


def data(n, seed):
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 30, generator=random)
    y = (x[:, :3] + torch.randn(n, 3, generator=random) > 0).float()
    y[torch.rand(n, 3, generator=random) > 0.1] = float("nan")
    return x, y


def loss(model, batch):
    x, y = batch
    known = ~y.isnan()
    return F.binary_cross_entropy_with_logits(model(x)[known], y[known].to(x))


def workload():
    return batchlab.Workload(
        name="missing", model=lambda: nn.Linear(30, 3), loss=loss, train=data(2000, 0),
        validation=data(1000, 1), batch_size=32, learning_rate=0.01,
    )  # fmt: skip
