"""Sharpness-aware minimization (Foret et al. 2021): a step with two backward passes.

    batchlab advise examples/sam.py:workload --budget 60s
    batchlab sweep examples/sam.py:workload --batch-sizes 16,64 --epochs 5

The loss stays beside the step: it is what is evaluated.
"""

import torch
from torch import nn

import batchlab


def loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def step(model, optimizer, batch, radius=0.05):
    parts, first = list(model.parameters()), loss(model, batch)
    optimizer.zero_grad()
    first.backward()
    norm = torch.cat([part.grad.flatten() for part in parts]).norm() + 1e-12
    climb = [radius / norm * part.grad for part in parts]
    for part, up in zip(parts, climb, strict=True):
        part.data += up
    optimizer.zero_grad()
    loss(model, batch).backward()  # at the top of the climb
    for part, up in zip(parts, climb, strict=True):
        part.data -= up
    optimizer.step()
    return first


def workload():
    x = torch.randn(2000, 10, generator=torch.Generator().manual_seed(0))
    return batchlab.Workload(
        name="sam", step=step, loss=loss, train=(x, (x.square().sum(1) > 10).long()),
        model=lambda: nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 2)), epochs=10,
    )  # fmt: skip
