"""The loop of the textbook: DataLoader, zero_grad, forward, backward, step; what else is asked for.

It is given the examples of every step as a list of indices, so that it owes its order to nobody.
"""

from dataclasses import dataclass

import torch
from tests.reference.engine_run import taken
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper
from batchlab.workload.data import epoch_order
from batchlab.workload.definition import Workload


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model after the loop, and the loss of each step before its update."""

    model: nn.Module
    losses: list[float]
    rates: list[float]
    average: nn.Module | None


def steps_of(trial: Trial, *, epochs: int) -> list[list[int]]:
    """The examples of each step of a trial; a full batch takes them as they lie."""
    steps: list[list[int]] = []
    for epoch in range(epochs):
        order = epoch_order(trial.n_train, seed=trial.seed, epoch=epoch, sampling=trial.sampling)
        if trial.batch_mode == "full" and trial.sampling == "reshuffle":
            order = torch.arange(trial.n_train)
        steps += BatchSampler(order.tolist(), trial.batch_size, trial.drop_last)
    return steps


def train_by_the_textbook(
    workload: Workload,
    steps: list[list[int]],
    *,
    learning_rate=0.05,
    seed=0,
    clip_norm=None,
    decay=None,
    scheduler=None,
    is_scheduled=lambda taken: True,
) -> Trained:
    """Train a new model on the given examples of `workload.train`, one optimizer step a list.

    `decay` is that of the average, of every step or of each, beginning with the initial weights;
    the `scheduler` goes on after the steps that `is_scheduled` names, counted from 1.
    """
    loader = DataLoader(
        TensorDataset(*workload.train),
        batch_sampler=steps,
        generator=torch.Generator(),  # the loader must not draw from the stream of the dropout
    )
    torch.manual_seed(seed)
    model = workload.model()
    optimizer = workload.optimizer(list(model.parameters()), learning_rate)
    schedule = None if scheduler is None else scheduler(optimizer)
    average = None
    if decay is not None:
        average = AveragedModel(model)
        average.update_parameters(model)  # the first time it copies: the initial weights
    model.train()
    losses, rates = [], []
    for n_taken, batch in enumerate(loader, start=1):

        def closure(batch: list[Tensor] = batch) -> Tensor:
            optimizer.zero_grad()
            loss = workload.loss(model, batch)
            loss.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            return loss

        rates.append(optimizer.param_groups[0]["lr"])
        losses.append(optimizer.step(closure).item())  # the closure's first loss
        if average is not None:
            kept = decay if isinstance(decay, float) else decay[n_taken - 1]
            average.multi_avg_fn = get_ema_multi_avg_fn(kept)
            average.update_parameters(model)
        if schedule is not None and is_scheduled(n_taken):
            schedule.step()
    return Trained(
        model=model, losses=losses, rates=rates, average=None if average is None else average.module
    )


def beside_the_textbook(workload, trial, *, epochs, **given) -> tuple[Stepper, Trained]:
    """A stepper and its twin after some epochs, whose losses and weights are the same bits."""
    stepper, losses = taken(workload, trial, trial.plan.steps_in(epochs))
    rate, seed = trial.learning_rate, trial.seed
    steps = steps_of(trial, epochs=epochs)
    twin = train_by_the_textbook(workload, steps, learning_rate=rate, seed=seed, **given)
    assert losses == twin.losses
    assert all(map(torch.equal, stepper.model.parameters(), twin.model.parameters()))
    return stepper, twin
