"""Data that come one after the other: an IterableDataset, whose length is stated.

    batchlab advise examples/stream.py:workload --budget 60s
    batchlab sweep examples/stream.py:workload --batch-sizes 16,64,256 --epochs 3

Each epoch is read in the data set's own order; `set_epoch` tells it which one it is.
"""

import torch
from torch import nn
from torch.utils.data import IterableDataset

import batchlab


class Waves(IterableDataset):
    def __init__(self, n, seed):
        self.n, self.seed, self.epoch = n, seed, 0

    def __len__(self):  # how many examples an epoch gives
        return self.n

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        draw = torch.Generator().manual_seed(1000 * self.seed + self.epoch)
        for _ in range(self.n):
            frequency = 1 + 3 * torch.rand((), generator=draw)
            yield torch.sin(frequency * torch.linspace(0, 6, 32)), frequency


workload = batchlab.Workload(
    name="waves",
    model=lambda: nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0)),
    train=Waves(4000, seed=0),
    validation=Waves(500, seed=1),
    loss=lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]),
    learning_rate=0.01,
)
