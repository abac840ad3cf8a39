"""A physics-informed network: the heat equation, its derivatives in the loss.

    batchlab advise examples/pinn.py:workload --budget 60s
    batchlab sweep examples/pinn.py:workload --batch-sizes 16,64 --epochs 5

Evaluations run without gradients; this loss turns them on for itself.
"""

import torch
from torch import nn

import batchlab


def slope(u, x):
    return torch.autograd.grad(u.sum(), x, create_graph=True)[0]


@torch.enable_grad()
def loss(model, batch):
    x, t = (part.detach().clone().requires_grad_() for part in batch)
    u = model(torch.cat([x, t], dim=1))
    inside = slope(u, t) - 0.1 * slope(slope(u, x), x)
    start = model(torch.cat([x, 0 * t], dim=1)) - torch.sin(torch.pi * x)
    ends = model(torch.cat([x.round(), t], dim=1))
    return (inside**2 + start**2 + ends**2).mean()


def workload():
    generator = torch.Generator().manual_seed(0)
    return batchlab.Workload(
        name="pinn",
        model=lambda: nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 1)),
        train=(torch.rand(1000, 1, generator=generator), torch.rand(1000, 1, generator=generator)),
        loss=loss,
        optimizer=lambda parameters, learning_rate: torch.optim.Adam(parameters, lr=learning_rate),
        batch_size=32,
        learning_rate=0.003,
        epochs=10,
    )
