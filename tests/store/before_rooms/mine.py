"""A small workload of a user, trained with the code before the rooms were moved (see README)."""

import torch
import torch.nn.functional as F
from torch import nn

import batchlab


def make_data(n_examples, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_examples, 2, generator=generator)
    return x, (x.norm(dim=1) < 1.18).long()


def workload(*, width=8):
    return batchlab.Workload(
        name="circle",
        model=lambda: nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2)),
        train=make_data(512, seed=0),
        validation=make_data(256, seed=1),
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        metrics={
            "accuracy": lambda model, batch: (model(batch[0]).argmax(1) == batch[1]).float().mean()
        },
        batch_size=64,
        learning_rate=0.1,
    )
