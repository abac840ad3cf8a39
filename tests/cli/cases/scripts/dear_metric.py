"""Training is small; the metric needs the predictions of all validation data, 5000 words wide."""

import torch
import torch.nn.functional as F
from torch import nn

import batchlab


def data(n, seed):
    x = torch.randint(0, 200, (n, 4), generator=torch.Generator().manual_seed(seed))
    return x, x.sum(1) % 97


def reciprocal_rank(predicted, target):
    rank = (predicted > predicted.gather(1, target.unsqueeze(1))).sum(1) + 1
    return (1 / rank).mean()


def workload():
    words = 5000
    return batchlab.Workload(
        name="dear", train=data(4000, 0), validation=data(8000, 1), batch_size=32,
        model=lambda: nn.Sequential(nn.Embedding(200, 8), nn.Flatten(), nn.Linear(32, words)),
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        metrics={"mrr": batchlab.Metric(over_all=reciprocal_rank, better="higher")},
        learning_rate=0.01,
    )  # fmt: skip
