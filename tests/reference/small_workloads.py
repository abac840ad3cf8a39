"""Workloads so small that a whole run takes milliseconds, and one that has everything in it."""

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from tests.reference.made_up import made_up_trial
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import Dataset, TensorDataset

from batchlab.records.trial import Trial
from batchlab.workload.definition import Workload

FEATURES, CLASSES = 6, 3
momentum_sgd = partial(torch.optim.SGD, momentum=0.9)


def points(n: int, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """`n` points in three overlapping clouds, and the cloud of each."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (n,), generator=generator)
    x = torch.randn(n, FEATURES, generator=generator, dtype=dtype)
    x[torch.arange(n), labels] += 2.0
    return x, labels


def small_mlp(*, dropout: float = 0.0, dtype: torch.dtype = torch.float32) -> nn.Module:
    return nn.Sequential(
        nn.Linear(FEATURES, 8, dtype=dtype),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(8, CLASSES, dtype=dtype),
    )


def warm_up(optimizer: Any) -> Any:
    """A scheduler of two parts, which goes on by epochs."""
    warm = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2)
    parts = [warm, lr_scheduler.StepLR(optimizer, 1)]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[2])


def plateau(optimizer: Any) -> Any:
    """A scheduler that follows the metric that counts."""
    return lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=0, threshold=0.5
    )


def scaled_sgd(parameters: Any, learning_rate: float) -> dict[str, Any]:
    """A GradScaler too, whose first gradients are infinite, so that it leaves out some steps."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=2)
    return {"scaler": scaler, "sgd": momentum_sgd(parameters, learning_rate)}


def scaled_step(model: nn.Module, optimizer: Any, batch: Any) -> Tensor:
    """Train on a hundred times the loss, or the first gradients would be finite."""
    loss = 100 * cross_entropy(model, batch)
    optimizer["sgd"].zero_grad()
    optimizer["scaler"].scale(loss).backward()
    optimizer["scaler"].step(optimizer["sgd"])
    optimizer["scaler"].update()
    return loss


def cross_entropy(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def accuracy(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    return (model(batch[0]).argmax(1) == batch[1]).double().mean()


def small_workload(*, n=40, dropout=0.0, dtype=torch.float32, **fields: Any) -> Workload:
    """A classifier of points with two layers; 20 points each for validation and test."""
    usual = {
        "name": "small",
        "model": lambda: small_mlp(dropout=dropout, dtype=dtype),
        "train": points(n, dtype=dtype),
        "validation": points(20, seed=1, dtype=dtype),
        "test": points(20, seed=2, dtype=dtype),
        "loss": cross_entropy,
        "metrics": {"accuracy": accuracy},
        "optimizer": momentum_sgd,
        "learning_rate": 0.01,
    }
    return Workload(**(usual | fields))


def token_workload(n: int) -> Workload:
    """Sequences of 1 to 5 tokens padded to 5; a label of -1 is padding. The last one is empty."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 5, FEATURES, dtype=torch.float64, generator=generator)
    labels = torch.randint(CLASSES, (n, 5), generator=generator)
    lengths = torch.randint(1, 6, (n,), generator=generator)
    lengths[-1] = 0
    labels[torch.arange(5) >= lengths[:, None]] = -1

    def loss(model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        logits = model(batch[0]).flatten(0, 1)
        return functional.cross_entropy(logits, batch[1].flatten(), ignore_index=-1)

    return small_workload(
        dtype=torch.float64,
        train=(x, labels),
        loss=loss,
        weight=lambda batch: float((batch[1] != -1).sum()),
    )


class Unpacked:
    """In place of what is packed for a child: the workload itself, in this process."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload

    def unpack(self) -> Workload:
        return self._workload


def small_trial(workload: Workload, **fields: Any) -> Trial:
    n = len(workload.train[0]) if isinstance(workload.train, tuple) else len(workload.train)
    return made_up_trial(**{"n_train": n, "learning_rate": 0.05, **fields})


class Everything(nn.Module):
    """Dropout, BatchNorm, tied weights, and a buffer that is in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, FEATURES)
        self.second = nn.Linear(FEATURES, FEATURES)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(FEATURES)
        self.dropout = nn.Dropout(0.3)
        self.last = nn.Linear(FEATURES, CLASSES)
        self.centre: Tensor
        self.register_buffer("centre", torch.zeros(FEATURES), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.centre.mul_(0.9).add_(0.1 * x.detach().mean(0))
        hidden = self.norm(torch.relu(self.first(x - self.centre)))
        return self.last(self.dropout(torch.relu(self.second(hidden))))


def jitter(batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Noise from each of the three global random streams; it writes into the batch it is given."""
    x, labels = batch
    x += 0.1 * torch.randn(x.shape, device=x.device)
    x *= 1 + 0.1 * random.random()
    x += 0.1 * float(np.random.standard_normal())
    return x, labels


def cosine(fraction: float) -> float:
    """The user's own shape, with NumPy, as many write it."""
    return 0.5 * (1 + np.cos(np.pi * fraction))


def everything_workload(*, n: int = 40) -> Workload:
    """All that a resumed run could lose: five random streams, buffers, moments, a rate's shape."""
    return small_workload(
        n=n,
        name="everything",
        model=Everything,
        optimizer=torch.optim.Adam,
        schedule=cosine,
        augment=jitter,
    )


class CroppedPoints(Dataset[tuple[Tensor, Tensor]]):
    """Points that are changed at random, from three random streams, each time they are fetched."""

    def __init__(self, n: int) -> None:
        self.x, self.labels = points(n)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        shift = torch.rand(()) + random.random() + float(np.random.random())
        return self.x[index] + shift, self.labels[index]


def plus_one(examples: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """A `collate` of the user's own: another container, other numbers, and a random draw."""
    return {
        "x": torch.stack([x for x, _ in examples]) + 1 + torch.rand(()),
        "y": torch.stack([y for _, y in examples]),
    }


def cropped_workload(*, n: int = 40, workers: int = 0) -> Workload:
    """A Dataset with random crops and a `collate` of its own."""
    return Workload(
        name="cropped",
        model=small_mlp,
        train=CroppedPoints(n),
        validation=TensorDataset(*points(20)),
        loss=lambda model, batch: functional.cross_entropy(model(batch["x"]), batch["y"]),
        optimizer=momentum_sgd,
        learning_rate=0.01,
        collate=plus_one,
        workers=workers,
    )
