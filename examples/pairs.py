"""A model that takes an even number of examples: which of each two is the larger.

    batchlab advise examples/pairs.py:workload --budget 60s
    batchlab sweep examples/pairs.py:workload --batch-sizes 16,64 --epochs 2

Odd batch sizes are left out, and so is an odd last batch of an epoch or of an evaluation.
"""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

import batchlab


class Comparer(nn.Module):
    def __init__(self):
        super().__init__()
        self.value = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x):
        return self.value(x).view(-1, 2).diff().squeeze(1)  # fails for an odd number


def loss(model, batch):
    larger = (batch[1].view(-1, 2).diff().squeeze(1) > 0).float()
    return binary_cross_entropy_with_logits(model(batch[0]), larger)


def workload():
    x = torch.randn(1202, 8, generator=torch.Generator().manual_seed(0))
    y = x[:, 0] * x[:, 1] + x[:, 2]
    return batchlab.Workload(
        name="pairs",
        model=Comparer,
        train=(x[:1001].clone(), y[:1001]),
        validation=(x[1001:].clone(), y[1001:]),
        loss=loss,
        learning_rate=0.1,
    )
