"""150 rows of a pandas table, two of its columns categories, three classes."""

import numpy as np
import pandas
import torch
import torch.nn.functional as F
from torch import nn

import batchlab


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.city, self.out = nn.Embedding(12, 4), nn.Linear(6, 3)

    def forward(self, batch):
        numbers = torch.stack([batch["area"], batch["age"]], dim=1)
        return self.out(torch.cat([self.city(batch["city"]), numbers], dim=1))


def accuracy(model, batch):
    return (model(batch).argmax(1) == batch["label"]).float().mean()


def workload():
    random, n = np.random.default_rng(0), 150
    table = pandas.DataFrame({"city": random.integers(0, 12, n), "area": random.normal(size=n)})
    table["age"] = random.normal(size=n)
    table["label"] = np.digitize(table.area + 0.8 * (table.city % 3), [0.5, 1.5])
    return batchlab.Workload(
        name="tiny", model=Net, train=table, batch_size=16, learning_rate=0.1,
        loss=lambda model, batch: F.cross_entropy(model(batch), batch["label"]),
        metrics={"accuracy": accuracy},
    )  # fmt: skip
