"""The workloads of the record of regret: eight small trainings, each with its reference and target.

All have 16,384 training examples, so that batch sizes up to 8192 exist, and 2,000 for validation,
so that an evaluation costs less than the steps before it. Digits have 14 x 14 pixels, each the mean
of four: a grid of some 500 trainings then takes minutes. None has a test set: nothing is decided by
test data, and nothing here is reported on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab import Workload
from batchlab.datasets.embedded import load_mnist
from batchlab.records.trial import Target
from batchlab.workload.builtin.moby_dick import workload as moby_dick
from batchlab.workload.pieces import NamedOptimizer, Pixels, accuracy, cross_entropy

N_TRAIN, N_VALIDATION = 16_384, 2_000

Labelled = tuple[Tensor, Tensor]


def mlp_narrow() -> Workload:
    """MNIST, one hidden layer of 32 units, SGD with momentum 0.9."""
    return _digits("mlp-narrow", lambda: mlp(32), target=0.92)


def mlp_wide() -> Workload:
    """MNIST, two hidden layers of 128 units, SGD with momentum 0.9."""
    return _digits("mlp-wide", lambda: mlp(128, 128), target=0.93)


def mlp_adam() -> Workload:
    """MNIST, one hidden layer of 64 units, Adam."""
    adam = _digits("mlp-adam", lambda: mlp(64), target=0.93)
    optimizer = NamedOptimizer(name="adam", workload="mlp-adam")
    return replace(adam, optimizer=optimizer, learning_rate=0.001)


def softmax() -> Workload:
    """MNIST, softmax regression, plain SGD."""
    plain = NamedOptimizer(name="sgd", workload="softmax", momentum=0.0)
    return replace(_digits("softmax", mlp, target=0.875), optimizer=plain)


def cnn() -> Workload:
    """MNIST, two convolutions of 8 and 16 channels, SGD with momentum 0.9."""
    return _digits("cnn", _cnn, target=0.91)


def noisy_labels() -> Workload:
    """As `mlp_narrow` with 64 units; a fifth of all labels, validation's too, is a random digit.

    The highest accuracy that can be reached is 0.82: of the random labels a tenth is right.
    """
    noisy = _digits("noisy-labels", lambda: mlp(64), target=0.77)
    stream = np.random.default_rng(20)
    return replace(
        noisy,
        train=with_random_labels(noisy.train, stream),
        validation=with_random_labels(noisy.validation, stream),
    )


def transformer(n_windows: int = N_VALIDATION // 4) -> Workload:
    """Moby-Dick, the next of 8 characters, one block of width 32, AdamW.

    Args:
        n_windows: for validation; 500 hold 4,000 predictions.
    """
    whole = moby_dick(context=8, width=32, layers=1, heads=2)
    return replace(
        whole,
        name="transformer",
        train=(whole.train[0][:N_TRAIN].clone(),),
        validation=(whole.validation[0][:n_windows].clone(),),
        test=None,
        metrics={},
        batch_size=64,
        learning_rate=0.001,
        target=Target(metric="loss", value=2.5, better="lower"),
    )


def tabular(n_validation: int = N_VALIDATION) -> Workload:
    """Regression on 16 made-up columns with interactions and noise, MLP, SGD with momentum 0.9."""
    stream = np.random.default_rng(7)
    x = stream.standard_normal((N_TRAIN + n_validation, 16)).astype(np.float32)
    x *= np.geomspace(1.0, 0.3, 16, dtype=np.float32)
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3]) + x[:, 4:].sum(axis=1) / 3
    y = (y - y.mean()) / y.std() + 0.3 * stream.standard_normal(len(y))
    columns, targets = torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))
    return Workload(
        name="tabular",
        model=lambda: nn.Sequential(
            nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
        ),
        train=(columns[:N_TRAIN].clone(), targets[:N_TRAIN].clone()),
        validation=(columns[N_TRAIN:].clone(), targets[N_TRAIN:].clone()),
        loss=squared_error,
        optimizer=NamedOptimizer(name="sgd", workload="tabular"),
        batch_size=64,
        learning_rate=0.01,
        target=Target(metric="loss", value=0.16, better="lower"),
    )


# In the order in which they are recorded.
WORKLOADS: dict[str, Callable[[], Workload]] = {
    "mlp-narrow": mlp_narrow,
    "mlp-adam": mlp_adam,
    "softmax": softmax,
    "tabular": tabular,
    "noisy-labels": noisy_labels,
    "cnn": cnn,
    "transformer": transformer,
    "mlp-wide": mlp_wide,
}

# A level of the metric that is easier than the target and one that is harder: the runs go on to the
# harder one, so that a decision can be repeated at all three.
EASIER_AND_HARDER: dict[str, tuple[float, float]] = {
    "mlp-narrow": (0.90, 0.93),
    "mlp-adam": (0.91, 0.94),
    "softmax": (0.86, 0.885),
    "tabular": (0.2, 0.14),
    "noisy-labels": (0.75, 0.78),
    "cnn": (0.88, 0.925),
    "transformer": (2.6, 2.45),
    "mlp-wide": (0.91, 0.94),
}

# From where batch sizes are taken by doubling, and to where: the dear ones have fewer.
BATCH_SIZES: dict[str, tuple[int, int]] = {
    "cnn": (16, 4096),
    "transformer": (8, 2048),
    "mlp-wide": (8, 4096),
}


@cache
def digits(n_validation: int) -> tuple[Labelled, Labelled]:
    """The first training images and the first validation images, as bytes, with their labels."""
    mnist = load_mnist()
    assert mnist.validation is not None
    parts = ((mnist.train, N_TRAIN), (mnist.validation, n_validation))
    train, validation = (
        (_halved(torch.from_numpy(images[:n])), torch.from_numpy(labels[:n].copy()).long())
        for (images, labels), n in parts
    )
    return train, validation


def _digits(name: str, model: Callable[[], nn.Module], *, target: float) -> Workload:
    train, validation = digits(N_VALIDATION)
    return Workload(
        name=name,
        model=model,
        train=train,
        validation=validation,
        loss=cross_entropy,
        metrics={"accuracy": accuracy},
        optimizer=NamedOptimizer(name="sgd", workload=name),
        batch_size=64,
        learning_rate=0.01,
        target=Target(metric="accuracy", value=target, better="higher"),
    )


def mlp(*widths: int) -> nn.Module:
    """A network with ReLU on 14 x 14 pixels, with hidden layers of these widths."""
    layers: list[nn.Module] = [Pixels()]
    n_in = 14 * 14
    for width in widths:
        layers += [nn.Linear(n_in, width), nn.ReLU()]
        n_in = width
    return nn.Sequential(*layers, nn.Linear(n_in, 10))


def _cnn() -> nn.Module:
    return nn.Sequential(
        Pixels(),
        nn.Unflatten(1, (1, 14, 14)),
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
    )


def _halved(images: Tensor) -> Tensor:
    """Images of 14 x 14 pixels, each the mean of four."""
    pixels = images.view(-1, 1, 28, 28).float()
    return F.avg_pool2d(pixels, 2).round().to(torch.uint8).flatten(1)


def with_random_labels(data: Labelled, stream: np.random.Generator) -> Labelled:
    """The data with a fifth of its labels replaced by a random digit."""
    images, labels = data
    drawn = torch.from_numpy(stream.integers(0, 10, len(labels)))
    is_random = torch.from_numpy(stream.random(len(labels)) < 0.2)
    return images, torch.where(is_random, drawn, labels)


def squared_error(model: nn.Module, batch: Labelled) -> Tensor:
    """Mean squared error, a scalar."""
    x, y = batch
    predictions: Tensor = model(x).squeeze(1)
    return F.mse_loss(predictions, y)
