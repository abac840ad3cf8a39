"""The loop of the textbook: DataLoader, zero_grad, forward, backward, step; nothing else.

It is given the examples of every step as a list of indices, so that it owes its order to nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from batchlab.workload.definition import Workload


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model after the loop, and the loss of each step before its update."""

    model: nn.Module
    losses: list[float]


def cut_into_steps(order: Sequence[int], batch_size: int, *, drop_last: bool) -> list[list[int]]:
    """The examples of each step of an epoch."""
    steps = []
    for start in range(0, len(order), batch_size):
        step = list(order[start : start + batch_size])
        if len(step) == batch_size or not drop_last:
            steps.append(step)
    return steps


def train_by_the_textbook(
    workload: Workload, steps: list[list[int]], *, learning_rate: float, seed: int
) -> Trained:
    """Train a new model on the given examples of `workload.train`, one optimizer step a list."""
    loader = DataLoader(
        TensorDataset(*workload.train),
        batch_sampler=steps,
        generator=torch.Generator(),  # the loader must not draw from the stream of the dropout
    )
    torch.manual_seed(seed)
    model = workload.model()
    assert workload.optimizer is not None
    optimizer = workload.optimizer(model.parameters(), learning_rate)
    model.train()
    losses = []
    for batch in loader:

        def closure(batch: list[Tensor] = batch) -> Tensor:
            optimizer.zero_grad()
            loss = workload.loss(model, batch)
            loss.backward()
            return loss

        if isinstance(optimizer, torch.optim.LBFGS):
            losses.append(optimizer.step(closure).item())
        else:
            losses.append(closure().item())
            optimizer.step()
    return Trained(model=model, losses=losses)


def weighted_gradient(
    workload: Workload, model: nn.Module, examples: list[tuple[Tensor, ...]], weights: list[float]
) -> list[Tensor]:
    """The gradient of sum(weight * loss) / sum(weight), one example at a time."""
    total = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for example, weight in zip(examples, weights, strict=True):
        if weight == 0:
            continue
        batch = tuple(part.unsqueeze(0) for part in example)
        gradients = torch.autograd.grad(workload.loss(model, batch), list(model.parameters()))
        for held, gradient in zip(total, gradients, strict=True):
            held += weight * gradient / sum(weights)
    return total
