"""Averaged weights: noisy steps, and an average along them that is evaluated in their place.

    batchlab advise examples/ema.py:workload --budget 60s
    batchlab sweep examples/ema.py:workload --batch-sizes 16,64 --epochs 5

The decay is the one at the reference batch size; other batch sizes average as many examples.
"""

import torch
import torch.nn.functional as F
from torch import nn

import batchlab


def accuracy(model, batch):
    return (model(batch[0]).argmax(1) == batch[1]).float().mean()


def workload(*, ema=0.98):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 10, generator=generator)
    noise = 2 * torch.randn(2000, generator=generator)  # labels that no model can know
    return batchlab.Workload(
        name="ema",
        model=lambda: nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2)),
        train=(x, (x.square().sum(1) + noise > 10).long()),
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        metrics={"accuracy": accuracy},
        ema=ema,
        batch_size=32,
        learning_rate=0.1,
        epochs=10,
    )
