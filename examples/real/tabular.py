"""A network on a table of a million rows: 30 numbers and 4 categories predict one number.

    batchlab advise examples/real/tabular.py:workload --set precision=bf16 --device cuda \
        --budget 10m
    batchlab advise examples/real/tabular.py:workload --set rows=20000 --budget 2m

The rows are made here; noise that nobody can predict leaves a squared error of 1.
"""

import torch
import torch.nn.functional as F
from torch import nn

import batchlab

CATEGORIES = (12, 50, 7, 300)


def table(rows, seed):
    """Return columns of numbers and of categories, and the target."""
    random = torch.Generator().manual_seed(seed)
    rule = torch.Generator().manual_seed(0)  # the same for training and validation
    numbers = torch.randn(rows, 30, generator=random)
    first, second = torch.randn(30, 16, generator=rule), torch.randn(16, generator=rule)
    target = torch.tanh(numbers @ first / 5) @ second + torch.randn(rows, generator=random)
    categories = []
    for n in CATEGORIES:
        categories.append(torch.randint(n, (rows,), generator=random))
        target += torch.randn(n, generator=rule)[categories[-1]]
    return {"numbers": numbers, "categories": torch.stack(categories, 1), "target": target}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(n, 8) for n in CATEGORIES)
        self.layers = nn.Sequential(
            nn.Linear(30 + 8 * len(CATEGORIES), 256), nn.ReLU(),
            nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 1),
        )  # fmt: skip

    def forward(self, batch):
        columns = [batch["numbers"]]
        for i, embedding in enumerate(self.embeddings):
            columns.append(embedding(batch["categories"][:, i]))
        return self.layers(torch.cat(columns, dim=1))[:, 0]


def workload(*, rows=1_000_000):
    return batchlab.Workload(
        name="tabular",
        model=Network,
        train=table(rows, seed=1),
        validation=table(rows // 10, seed=2),
        loss=lambda model, batch: F.mse_loss(model(batch), batch["target"]),
        optimizer=lambda parameters, learning_rate: torch.optim.Adam(parameters, lr=learning_rate),
        batch_size=256,
        learning_rate=0.001,
        epochs=5,
    )
