"""A GAN: two optimizers, a step of its own, and a metric in place of a loss.

    batchlab advise examples/gan.py:workload --budget 60s
    batchlab sweep examples/gan.py:workload --batch-sizes 16,64 --epochs 5

The error is how far the made points lie from the unit circle, which holds the real ones.
"""

import torch
from torch.nn import Linear, ModuleDict, ReLU, Sequential
from torch.nn.functional import normalize, softplus

import batchlab


def optimizer(named_parameters, learning_rate):
    names = ("maker", "critic")
    parts = {part: [p for name, p in named_parameters if part in name] for part in names}
    return {name: torch.optim.Adam(part, lr=learning_rate) for name, part in parts.items()}


def step(model, optimizer, batch):
    critic, made = model["critic"], model["maker"](torch.randn_like(batch[0]))
    model.zero_grad()
    (softplus(-critic(batch[0])) + softplus(critic(made.detach()))).mean().backward()
    optimizer["critic"].step()
    loss = softplus(-critic(made)).mean()
    loss.backward()
    optimizer["maker"].step()
    return loss


def workload():
    return batchlab.Workload(
        name="gan", train=(normalize(torch.randn(2000, 2, generator=torch.Generator())),),
        model=lambda: ModuleDict({name: Sequential(Linear(2, 32), ReLU(), Linear(32, n_out))
                                  for name, n_out in (("maker", 2), ("critic", 1))}),
        metrics={"error": lambda model, x: (model["maker"](x[0]).norm(dim=1) - 1).abs().mean()},
        step=step, optimizer=optimizer, batch_size=64, learning_rate=0.001, epochs=10,
    )  # fmt: skip
