"""Four workloads recorded after the constants of the race stood; none was chosen on them.

Other data, other optimizers, other shapes of the rate than the fifteen have: predictions of made-up
clicks, a regression with heavy tails, images that are shifted as they are trained on, and smoothed
labels under a rate that falls in a line.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.regret.workloads import N_TRAIN, Labelled, digits, split
from torch import Tensor, nn

from batchlab import Workload
from batchlab.workload.definition import Batch
from batchlab.workload.pieces import NamedOptimizer, Pixels, accuracy, cross_entropy

N_VALIDATION = 10_000
N_USERS, N_ITEMS = 120, 80
WARM_UP_FRACTION = 0.05


def clicks() -> Workload:
    """Which of 80 items a user clicks on: factors of 8 numbers for each, Adagrad."""
    stream = np.random.default_rng(31)
    users, items = (stream.standard_normal((n, 5)) for n in (N_USERS, N_ITEMS))
    n = N_TRAIN + N_VALIDATION
    pairs = np.stack([stream.integers(0, N_USERS, n), stream.integers(0, N_ITEMS, n)], axis=1)
    logits = (users[pairs[:, 0]] * items[pairs[:, 1]]).sum(axis=1) / 1.5 - 0.5
    clicked = stream.random(n) < 1 / (1 + np.exp(-logits))
    return Workload(
        name="clicks",
        model=_Factors,
        **split(pairs, clicked.astype(np.float32)),
        loss=_click_loss,
        optimizer=lambda parameters, learning_rate: torch.optim.Adagrad(
            parameters, lr=learning_rate
        ),
        batch_size=64,
        learning_rate=0.05,
        epochs=15,
    )


def heavy_tails() -> Workload:
    """20 made-up columns and a number with now and then a large error; Huber's loss, RMSprop."""
    stream = np.random.default_rng(32)
    x = stream.standard_normal((N_TRAIN + N_VALIDATION, 20)).astype(np.float32)
    y = np.tanh(x[:, 0] + x[:, 1]) + x[:, 2] * x[:, 3] / 2 + np.cos(2 * x[:, 4])
    y += 0.2 * stream.standard_t(2, len(y))
    return Workload(
        name="heavy-tails",
        model=lambda: nn.Sequential(
            nn.Linear(20, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1)
        ),
        **split(x, y.astype(np.float32)),
        loss=_hubers_loss,
        optimizer=lambda parameters, learning_rate: torch.optim.RMSprop(
            parameters, lr=learning_rate
        ),
        batch_size=32,
        learning_rate=0.0005,
        epochs=15,
    )


def shifted() -> Workload:
    """MNIST, each batch moved by up to a pixel, 1 x 64 MLP, SGD with Nesterov's momentum."""
    train, validation = digits(N_VALIDATION)
    return Workload(
        name="shifted",
        model=lambda: nn.Sequential(Pixels(), nn.Linear(196, 64), nn.ReLU(), nn.Linear(64, 10)),
        train=train,
        validation=validation,
        augment=_moved,
        loss=cross_entropy,
        metrics={"accuracy": accuracy},
        optimizer=partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=5e-4),
        batch_size=128,
        learning_rate=0.02,
        epochs=25,
    )


def smoothed() -> Workload:
    """MNIST, 1 x 64 MLP with layer normalization and dropout, smoothed labels, AdamW.

    Its rate falls in a line.
    """
    train, validation = digits(N_VALIDATION)
    return Workload(
        name="smoothed",
        model=lambda: nn.Sequential(
            Pixels(),
            nn.Linear(196, 64),
            nn.LayerNorm(64),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(64, 10),
        ),
        train=train,
        validation=validation,
        loss=_smoothed_loss,
        metrics={"accuracy": accuracy},
        optimizer=NamedOptimizer(name="adamw", workload="smoothed", weight_decay=0.01),
        schedule=warm_up_and_line,
        batch_size=64,
        learning_rate=0.001,
        epochs=15,
    )


LATER: dict[str, Callable[[], Workload]] = {
    "clicks": clicks,
    "heavy-tails": heavy_tails,
    "shifted": shifted,
    "smoothed": smoothed,
}


def warm_up_and_line(fraction: float) -> float:
    """What the rate is multiplied with: up in a line over the first 5 %, then down in one to 0."""
    if fraction < WARM_UP_FRACTION:
        return fraction / WARM_UP_FRACTION
    return (1 - fraction) / (1 - WARM_UP_FRACTION)


class _Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users = nn.Embedding(N_USERS, 8)
        self.items = nn.Embedding(N_ITEMS, 8)
        self.liked = nn.Embedding(N_ITEMS, 1)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)
        nn.init.zeros_(self.liked.weight)

    def forward(self, pairs: Tensor) -> Tensor:
        """Logits of a click, shape (n,)."""
        user, item = pairs[:, 0], pairs[:, 1]
        logits: Tensor = (self.users(user) * self.items(item)).sum(1) + self.liked(item).squeeze(1)
        return logits


def _click_loss(model: nn.Module, batch: Labelled) -> Tensor:
    pairs, labels = batch
    return F.binary_cross_entropy_with_logits(model(pairs), labels)


def _hubers_loss(model: nn.Module, batch: Labelled) -> Tensor:
    x, y = batch
    return F.smooth_l1_loss(model(x).squeeze(1), y)


def _smoothed_loss(model: nn.Module, batch: Labelled) -> Tensor:
    images, labels = batch
    return F.cross_entropy(model(images), labels, label_smoothing=0.1)


def _moved(batch: Batch) -> Batch:
    """The images of a batch, all moved by the same up to one pixel each way."""
    images, labels = batch
    down, right = torch.randint(-1, 2, (2,)).tolist()
    squares = images.view(-1, 14, 14)
    return squares.roll((down, right), dims=(1, 2)).flatten(1), labels
