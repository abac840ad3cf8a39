"""A workload of your own: any model, data, loss and optimizer, in one function.

    batchlab advise examples/train.py:workload --budget 60s
    batchlab sweep examples/train.py:workload --batch-sizes 16,64,256,full \
        --learning-rates 0.03,0.1 --epochs 10

The keywords of the function are its settings: `--set width=64` changes one.
"""

import torch
import torch.nn.functional as F
from torch import nn

import batchlab


def make_data(n_examples, seed):
    """Points of two classes, inside and outside a circle, one in twenty labelled wrongly."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_examples, 2, generator=generator)
    inside = x.norm(dim=1) < 1.18  # half of the points
    wrong = torch.rand(n_examples, generator=generator) < 0.05
    return x, (inside ^ wrong).long()


def workload(*, width=32, momentum=0.9):
    def build_model():
        return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))

    def loss(model, batch):
        x, y = batch
        return F.cross_entropy(model(x), y)  # the mean over the batch, not the sum

    def accuracy(model, batch):
        x, y = batch
        return (model(x).argmax(1) == y).float().mean()

    return batchlab.Workload(
        name="circle",
        model=build_model,
        train=make_data(4000, seed=0),
        validation=make_data(1000, seed=1),
        test=make_data(1000, seed=2),
        loss=loss,
        metrics={"accuracy": accuracy},
        optimizer=lambda parameters, learning_rate: torch.optim.SGD(
            parameters, lr=learning_rate, momentum=momentum
        ),
        batch_size=64,
        learning_rate=0.1,
    )
