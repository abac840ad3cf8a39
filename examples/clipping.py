"""A recurrent network with clipped gradients: it carries a running sum through a sequence.

    batchlab advise examples/clipping.py:workload --budget 60s
    batchlab sweep examples/clipping.py:workload --batch-sizes 16,64 --epochs 5

`clip_norm` clips the norm of the whole gradient, after accumulation.
"""

import torch
import torch.nn.functional as F
from torch import nn

import batchlab


class Adder(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.cells = nn.RNN(1, width, batch_first=True)
        self.last = nn.Linear(width, 1)

    def forward(self, x):
        return self.last(self.cells(x)[0][:, -1]).squeeze(1)


def workload(*, clip_norm=0.5):
    x = torch.randn(2000, 20, 1, generator=torch.Generator().manual_seed(0))
    return batchlab.Workload(
        name="clipping",
        model=Adder,
        train=(x, x.sum(dim=(1, 2)) / 4),
        loss=lambda model, batch: F.mse_loss(model(batch[0]), batch[1]),
        optimizer=lambda parameters, learning_rate: torch.optim.SGD(parameters, lr=learning_rate),
        clip_norm=clip_norm,
        batch_size=32,
        learning_rate=0.1,
        epochs=10,
    )
