"""Four workloads as practitioners have them, recorded once the belief's constants stood.

A transformer under AdamW with a warm-up and a cosine, a small ResNet with augmentation and weight
decay, a regression on a table with early stopping, and a contrastive loss, whose negatives come
from the batch. No constant was chosen on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.regret.workloads import digits, split, squared_error, transformer, with_cosine
from torch import Tensor, nn

from batchlab import Metric, Workload
from batchlab.workload.definition import Batch
from batchlab.workload.pieces import NamedOptimizer, Pixels, accuracy, cross_entropy

N_TRAIN, N_VALIDATION = 4_096, 4_000
N_OTHERS = 3
TEMPERATURE = 0.1

Pairs = tuple[Tensor, Tensor, Tensor, Tensor]
"""Images, others of the same digits, the digits, and `N_OTHERS` images of other digits each."""


def transformer_cosine() -> Workload:
    """Moby-Dick, the next of 8 characters, one block of width 32, AdamW, warm-up and cosine."""
    plain = with_cosine(transformer(N_VALIDATION // 8))
    return replace(
        plain,
        train=(plain.train[0][: 2 * N_TRAIN].clone(),),
        optimizer=NamedOptimizer(name="adamw", workload="transformer-cosine", weight_decay=0.1),
        epochs=16,
    )


def resnet() -> Workload:
    """MNIST, two residual blocks of 8 channels with batch normalization, images shifted and erased.

    SGD with momentum 0.9 and weight decay 5e-4.
    """
    (images, labels), validation = digits(N_VALIDATION // 2)
    return Workload(
        name="resnet",
        model=lambda: nn.Sequential(
            Pixels(),
            nn.Unflatten(1, (1, 14, 14)),
            nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            _ConvolutionBlock(8),
            _ConvolutionBlock(8),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 10),
        ),
        train=(images[:N_TRAIN].clone(), labels[:N_TRAIN].clone()),
        validation=validation,
        augment=_shifted_and_erased,
        loss=cross_entropy,
        metrics={"accuracy": accuracy},
        optimizer=NamedOptimizer(name="sgd", workload="resnet", weight_decay=5e-4),
        batch_size=64,
        learning_rate=0.02,
        epochs=15,
    )


def early_stopping() -> Workload:
    """12 made-up columns, few and noisy examples, an MLP that overfits them, Adam.

    A training ends after six epochs without a better validation error.
    """
    stream = np.random.default_rng(41)
    x = stream.standard_normal((N_TRAIN + N_VALIDATION, 12)).astype(np.float32)
    y = np.sin(x[:, 0] * 2) + x[:, 1] * x[:, 2] + np.maximum(x[:, 3], x[:, 4]) - x[:, 5] ** 2 / 3
    y += 0.7 * stream.standard_normal(len(y))
    return Workload(
        name="early-stopping",
        model=lambda: nn.Sequential(
            nn.Linear(12, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 1)
        ),
        **split(x, y.astype(np.float32), N_TRAIN),
        loss=squared_error,
        optimizer=NamedOptimizer(name="adam", workload="early-stopping"),
        batch_size=32,
        learning_rate=0.0005,
        epochs=60,
        patience_epochs=6,
    )


def contrastive() -> Workload:
    """Two digits of a kind are drawn together, the batch's other kinds apart (InfoNCE), Adam.

    What counts does not depend on the batch: how often an image lies nearer to its partner than to
    three of other digits.
    """
    train, validation = (_pairs(*data, seed=42) for data in digits(N_VALIDATION))
    return Workload(
        name="contrastive",
        model=lambda: nn.Sequential(Pixels(), nn.Linear(196, 64), nn.ReLU(), nn.Linear(64, 16)),
        train=_of(train, N_TRAIN),
        validation=_of(validation, N_VALIDATION),
        loss=_info_nce,
        metrics={"accuracy": Metric(sum=_nearest, finalise=_share, better="higher")},
        optimizer=NamedOptimizer(name="adam", workload="contrastive"),
        batch_size=128,
        learning_rate=0.001,
        epochs=20,
    )


FRESH: dict[str, Callable[[], Workload]] = {
    "early-stopping": early_stopping,
    "contrastive": contrastive,
    "transformer-cosine": transformer_cosine,
    "resnet": resnet,
}


class _ConvolutionBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as `x`."""
        return F.relu(x + self.block(x))


def _shifted_and_erased(batch: Batch) -> Batch:
    """Return the images, each shifted by up to a pixel each way, a square of 4 x 4 set to zero."""
    images, labels = batch
    n, side = len(images), torch.arange(14)
    rows, columns = (side + torch.randint(-1, 2, (n, 1)) for _ in range(2))
    moved = images.view(n, 14, 14)[
        torch.arange(n)[:, None, None], rows[:, :, None] % 14, columns[:, None, :] % 14
    ]
    top, left = (side - torch.randint(0, 11, (n, 1)) for _ in range(2))
    is_erased = ((0 <= top) & (top < 4))[:, :, None] & ((0 <= left) & (left < 4))[:, None, :]
    return moved.masked_fill(is_erased, 0).flatten(1), labels


def _pairs(images: Tensor, labels: Tensor, *, seed: int) -> Pairs:
    """Draw a partner of the same digit and others of other digits for each image."""
    stream = np.random.default_rng(seed)
    digit = labels.numpy()
    same = [np.flatnonzero(digit == kind) for kind in range(10)]
    other = [np.flatnonzero(digit != kind) for kind in range(10)]
    partner = np.array([stream.choice(same[kind]) for kind in digit])
    others = np.stack([stream.choice(other[kind], N_OTHERS) for kind in digit])
    return images, images[torch.from_numpy(partner)], labels, images[torch.from_numpy(others)]


def _of(pairs: Pairs, n: int) -> Pairs:
    images, partners, labels, others = (each[:n].clone() for each in pairs)
    return images, partners, labels, others


def _embedded(model: nn.Module, images: Tensor) -> Tensor:
    return F.normalize(model(images), dim=1)


def _info_nce(model: nn.Module, batch: Pairs) -> Tensor:
    """Return the loss of van den Oord et al. (2018); images of the same digit are no negatives."""
    images, partners, labels, _ = batch
    similarities = _embedded(model, images) @ _embedded(model, partners).T / TEMPERATURE
    alike = labels[:, None] == labels[None, :]
    alike.fill_diagonal_(fill_value=False)
    return F.cross_entropy(
        similarities.masked_fill(alike, -torch.inf), torch.arange(len(labels), device=labels.device)
    )


def _nearest(model: nn.Module, batch: Pairs) -> Tensor:
    """Return for each image whether its partner is nearer than all of its others."""
    images, partners, _, others = batch
    mine = _embedded(model, images)
    to_partner = (mine * _embedded(model, partners)).sum(1)
    apart = _embedded(model, others.flatten(0, 1)).view(len(images), N_OTHERS, -1)
    return (to_partner > (mine[:, None] * apart).sum(2).amax(1)).sum()


def _share(hits: Tensor, count: float) -> float:
    return float(hits) / count
