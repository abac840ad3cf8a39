"""Mixed precision with a GradScaler: bfloat16 on a CPU.

    batchlab advise examples/grad_scaler.py:workload --budget 60s
    batchlab sweep examples/grad_scaler.py:workload --batch-sizes 16,64 --epochs 5

`optimizer` returns the scaler too: a run that is taken up again has its scale.
"""

import torch
from torch import nn

import batchlab


def loss(model, batch):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return nn.functional.mse_loss(model(batch[0]).float(), batch[1])


def optimizer(parameters, learning_rate):
    adam = torch.optim.Adam(parameters, lr=learning_rate)
    return {"adam": adam, "scaler": torch.amp.GradScaler("cpu")}


def step(model, optimizer, batch):
    (adam, scaler), value = optimizer.values(), loss(model, batch)
    adam.zero_grad()
    scaler.scale(value).backward()
    scaler.step(adam)
    scaler.update()
    return value


def workload():
    x = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    return batchlab.Workload(
        name="grad-scaler", loss=loss, step=step, optimizer=optimizer, learning_rate=0.003,
        model=lambda: nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1)), epochs=10,
        train=(x, x[:, :1] * x[:, 1:2]),
    )  # fmt: skip
