"""Trainings written out as a textbook would, for every way to train otherwise than by plain steps.

Each loop is given the examples of every step, and owes nothing to the code that it is compared
with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tests.reference.small_workloads import cross_entropy, small_mlp
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


@dataclass(kw_only=True)
class Looped:
    """What a loop left behind.

    Attributes:
        model: as it is at the end.
        losses: of each step's batch before its update.
        average: of the weights along the way, where one was kept.
        rates: the learning rate of each step.
    """

    model: nn.Module
    losses: list[float] = field(default_factory=list)
    average: nn.Module | None = None
    rates: list[float] = field(default_factory=list)


def batches_of(data: Sequence[Tensor], steps: Sequence[Sequence[int]]) -> list[tuple[Tensor, ...]]:
    """The batch of each step."""
    return [tuple(part[torch.tensor(list(step))] for part in data) for step in steps]


def loop(
    data: Sequence[Tensor],
    steps: Sequence[Sequence[int]],
    *,
    optimizer: Callable[[Any, float], torch.optim.Optimizer],
    learning_rate: float,
    clip_norm: float | None = None,
    decay: float | None = None,
    scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
    is_scheduled: Callable[[int], bool] = lambda step: True,
    make_model: Callable[[], nn.Module] = small_mlp,
    seed: int = 0,
) -> Looped:
    """Train by the textbook.

    Args:
        data: features and labels.
        steps: the examples of each step.
        optimizer: makes one.
        learning_rate: what it is made with.
        clip_norm: to what the gradient is clipped; None: it is not.
        decay: of the average, per step, beginning with the initial weights; None: there is none.
        scheduler: makes one, which goes on after the steps that `is_scheduled` names.
        is_scheduled: of the steps taken, counted from 1.
        make_model: under `seed`.
        seed: of the initial weights.
    """
    torch.manual_seed(seed)
    model = make_model()
    found = Looped(model=model)
    chosen = optimizer(list(model.parameters()), learning_rate)
    plan = None if scheduler is None else scheduler(chosen)
    if decay is not None:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
        average.update_parameters(model)  # the first time it copies: the initial weights
        found.average = average.module
    model.train()
    for taken, batch in enumerate(batches_of(data, steps), start=1):
        found.rates.append(chosen.param_groups[0]["lr"])
        chosen.zero_grad()
        loss = cross_entropy(model, batch)
        loss.backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        chosen.step()
        if decay is not None:
            average.update_parameters(model)
        if plan is not None and is_scheduled(taken):
            plan.step()
        found.losses.append(loss.item())
    return found
