"""Four workloads unlike the others, held out: recorded only once the advisor's constants stand.

Other networks, other losses, other metrics and other reference batch sizes than those that the
constants were chosen on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.regret.workloads import N_TRAIN, Labelled, digits, split
from torch import Tensor, nn

from batchlab import Metric, Workload
from batchlab.workload.builtin.moby_dick import workload as moby_dick
from batchlab.workload.pieces import NamedOptimizer, Pixels, accuracy, cross_entropy

N_VALIDATION = 10_000
RARE_FRACTION = 0.08


def gru() -> Workload:
    """Moby-Dick, the next of 8 characters, a GRU of width 48, Adam, reference batch size 32."""
    text = moby_dick(context=8)
    n_characters = 1 + int(text.train[0].max())
    return replace(
        text,
        name="gru",
        model=lambda: _Gru(n_characters=n_characters, width=48),
        train=(text.train[0][:N_TRAIN].clone(),),
        validation=(text.validation[0][: N_VALIDATION // 8].clone(),),
        test=None,
        metrics={},
        optimizer=NamedOptimizer(name="adam", workload="gru"),
        batch_size=32,
        learning_rate=0.002,
        epochs=15,
    )


def autoencoder() -> Workload:
    """Digits squeezed through 16 numbers, squared error, SGD with Nesterov's momentum.

    The only one whose planned end comes before its curve is flat.
    """
    (images, _), (validation, _) = digits(N_VALIDATION)
    return Workload(
        name="autoencoder",
        model=lambda: nn.Sequential(
            nn.Linear(196, 64),
            nn.Tanh(),
            nn.Linear(64, 16),
            nn.Linear(16, 64),
            nn.Tanh(),
            nn.Linear(64, 196),
        ),
        train=(images.float() / 255,),
        validation=(validation.float() / 255,),
        loss=_reconstruction_error,
        optimizer=partial(torch.optim.SGD, momentum=0.9, nesterov=True),
        batch_size=64,
        learning_rate=2.0,
        epochs=30,
    )


def rare_class() -> Workload:
    """12 made-up columns, one example in twelve is of the class in question; dropout, AdamW.

    What counts is the mean of the two classes' accuracies.
    """
    stream = np.random.default_rng(11)
    x = stream.standard_normal((N_TRAIN + N_VALIDATION, 12)).astype(np.float32)
    score = x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + np.abs(x[:, 3] - x[:, 4]) - x[:, 5] ** 2 / 2
    score += 0.5 * stream.standard_normal(len(score))
    is_rare = score > np.quantile(score, 1 - RARE_FRACTION)
    return Workload(
        name="rare-class",
        model=lambda: nn.Sequential(
            nn.Linear(12, 64),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(64, 2),
        ),
        **split(x, is_rare.astype(np.int64)),
        loss=_weighted_cross_entropy,
        metrics={
            "balanced accuracy": Metric(sum=_hits, finalise=_mean_of_both, better="higher"),
        },
        optimizer=NamedOptimizer(name="adamw", workload="rare-class", weight_decay=0.05),
        batch_size=128,
        learning_rate=0.001,
        epochs=15,
    )


def residual() -> Workload:
    """MNIST, three residual blocks of width 48 with layer normalization, SGD, weight decay."""
    train, validation = digits(N_VALIDATION)
    return Workload(
        name="residual",
        model=lambda: nn.Sequential(
            Pixels(),
            nn.Linear(14 * 14, 48),
            *(_Residual(48) for _ in range(3)),
            nn.LayerNorm(48),
            nn.Linear(48, 10),
        ),
        train=train,
        validation=validation,
        loss=cross_entropy,
        metrics={"accuracy": accuracy},
        optimizer=NamedOptimizer(name="sgd", workload="residual", momentum=0.0, weight_decay=0.001),
        batch_size=32,
        learning_rate=0.05,
        epochs=15,
    )


HELD_OUT: dict[str, Callable[[], Workload]] = {
    "gru": gru,
    "autoencoder": autoencoder,
    "rare-class": rare_class,
    "residual": residual,
}


class _Gru(nn.Module):
    def __init__(self, *, n_characters: int, width: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(n_characters, width)
        self.cells = nn.GRU(width, width, batch_first=True)
        self.scores = nn.Linear(width, n_characters)

    def forward(self, windows: Tensor) -> Tensor:
        """Scores of the characters after the first of each window."""
        states, _ = self.cells(self.characters(windows[:, :-1].long()))
        scores: Tensor = self.scores(states)
        return scores


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as `x`."""
        changed: Tensor = x + self.block(x)
        return changed


def _reconstruction_error(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
    """Mean squared error of a pixel, a scalar."""
    (images,) = batch
    return F.mse_loss(model(images), images)


def _weighted_cross_entropy(model: nn.Module, batch: Labelled) -> Tensor:
    """Cross entropy in which both classes weigh the same, a mean over the batch's examples."""
    x, labels = batch
    weights = torch.where(labels == 1, 0.5 / RARE_FRACTION, 0.5 / (1 - RARE_FRACTION))
    return (F.cross_entropy(model(x), labels, reduction="none") * weights).mean()


def _hits(model: nn.Module, batch: Labelled) -> Tensor:
    """Hits and examples of each class, shape (2, 2)."""
    x, labels = batch
    is_hit = model(x).argmax(1) == labels
    rows = [torch.stack([is_hit[labels == c].sum(), (labels == c).sum()]) for c in (0, 1)]
    return torch.stack(rows)


def _mean_of_both(hits: Tensor, count: float) -> float:
    return float((hits[:, 0] / hits[:, 1]).mean())
