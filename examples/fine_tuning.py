"""Fine-tuning: a backbone that is trained already stays as it is, a new head learns.

    batchlab advise examples/fine_tuning.py:workload --budget 60s
    batchlab sweep examples/fine_tuning.py:workload --batch-sizes 16,64,256 \
        --learning-rates 0.001,0.003,0.01 --epochs 5

The backbone has seen the digits 0 to 4 (examples/data/backbone.py); the head learns 5 to 9.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

import batchlab
from batchlab.datasets import load_mnist

DATA = Path(__file__).parent / "data"
sys.path.append(str(DATA))
from backbone import backbone  # noqa: E402


def examples(images, labels, n):
    chosen = labels >= 5
    x = torch.from_numpy(images[chosen][:n]).reshape(-1, 1, 28, 28)
    return x, torch.from_numpy(labels[chosen][:n]).long() - 5


class FineTuned(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.backbone = backbone()
        self.backbone.load_state_dict(weights)
        self.backbone.requires_grad_(False)  # the optimizer gets what is left to train
        self.head = nn.Linear(400, 5)

    def forward(self, x):
        return self.head(self.backbone(x.float() / 255))


def workload():
    weights = load_file(DATA / "backbone.safetensors")
    mnist = load_mnist()
    return batchlab.Workload(
        name="fine-tuning",
        model=lambda: FineTuned(weights),
        train=examples(*mnist["train"], n=4000),
        validation=examples(*mnist["validation"], n=1000),
        loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        metrics={"accuracy": lambda m, batch: (m(batch[0]).argmax(1) == batch[1]).float().mean()},
        optimizer=lambda parameters, learning_rate: torch.optim.Adam(parameters, lr=learning_rate),
        batch_size=32,
        learning_rate=0.001,
        epochs=4,
    )
