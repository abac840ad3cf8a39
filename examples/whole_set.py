"""A metric that needs the whole set: the area under the ROC curve, of data in a dict.

    batchlab advise examples/whole_set.py:workload --budget 60s
    batchlab sweep examples/whole_set.py:workload --batch-sizes 16,64,256 --epochs 3

The function is given the predictions and targets of all examples. torchmetrics' objects do too.
"""

import torch
from torch import nn

import batchlab


def area(scores, labels):
    """How often a positive example scores higher than a negative one; a tie counts half."""
    return (scores[labels == 1][:, None] - scores[labels == 0]).sign().add(1).div(2).mean()


def clicks(n, seed):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 16, generator=draw)
    chance = torch.sigmoid(2 * x[:, 0] * x[:, 1] + x[:, 2] - 3)  # one in eight is clicked
    return {"shown": x, "clicked": (torch.rand(n, generator=draw) < chance).float()}


def predict(model, batch):
    return model(batch["shown"])[:, 0], batch["clicked"]


def workload():
    return batchlab.Workload(
        name="clicks",
        model=lambda: nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1)),
        train=clicks(4000, seed=0),
        validation=clicks(1000, seed=1),
        loss=lambda m, batch: nn.functional.binary_cross_entropy_with_logits(*predict(m, batch)),
        metrics={"auc": batchlab.Metric(over_all=area, predict=predict, better="higher")},
        learning_rate=0.03,
    )
