"""Eleven small trainings of the record of regret, each with its reference.

All have 16,384 training examples, so that batch sizes up to 8192 exist, and 10,000 for validation
(10,000 predictions, where an example holds several): how two trainings end is told apart by tenths
of a per cent. Digits have 14 x 14 pixels, each the mean of four: a grid of some 500 trainings then
takes minutes. None has a test set: nothing is decided by test data, and nothing here is reported on
it. The epochs are those at which the validation curve of the reference is about flat.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from batchlab import Workload
from batchlab.datasets.embedded import load_mnist
from batchlab.workload.builtin.moby_dick import workload as moby_dick
from batchlab.workload.pieces import NamedOptimizer, Pixels, accuracy, cross_entropy

N_TRAIN, N_VALIDATION = 16_384, 10_000
WARM_UP_FRACTION = 0.05

Labelled = tuple[Tensor, Tensor]
Columns = NDArray[Any]


def mlp_narrow() -> Workload:
    """MNIST, one hidden layer of 32 units, SGD with momentum 0.9."""
    return _digits("mlp-narrow", lambda: mlp(32), epochs=30)


def mlp_wide() -> Workload:
    """MNIST, two hidden layers of 128 units, SGD with momentum 0.9."""
    return _digits("mlp-wide", lambda: mlp(128, 128), epochs=20)


def mlp_adam() -> Workload:
    """MNIST, one hidden layer of 64 units, Adam."""
    adam = _digits("mlp-adam", lambda: mlp(64), epochs=25)
    optimizer = NamedOptimizer(name="adam", workload="mlp-adam")
    return replace(adam, optimizer=optimizer, learning_rate=0.001)


def softmax() -> Workload:
    """MNIST, softmax regression, plain SGD."""
    plain = NamedOptimizer(name="sgd", workload="softmax", momentum=0.0)
    return replace(_digits("softmax", mlp, epochs=40), optimizer=plain)


def cnn() -> Workload:
    """MNIST, two convolutions of 8 and 16 channels, SGD with momentum 0.9."""
    return _digits("cnn", _cnn, epochs=20)


def batchnorm() -> Workload:
    """MNIST, two hidden layers of 48 units with batch normalization, SGD with momentum 0.9."""
    return _digits("batchnorm", _normalised, epochs=15)


def with_cosine(workload: Workload) -> Workload:
    """Return the workload with `warm_up_and_cosine`."""
    return replace(workload, name=f"{workload.name}-cosine", schedule=warm_up_and_cosine)


def warm_up_and_cosine(fraction: float) -> float:
    """What the rate is multiplied with: up in a line over the first 5 %, down in a cosine to 0."""
    if fraction < WARM_UP_FRACTION:
        return fraction / WARM_UP_FRACTION
    return (1 + math.cos(math.pi * (fraction - WARM_UP_FRACTION) / (1 - WARM_UP_FRACTION))) / 2


def noisy_labels() -> Workload:
    """As `mlp_narrow` with 64 units; a fifth of all labels, validation's too, is a random digit.

    The highest accuracy that can be reached is 0.82: of the random labels a tenth is right.
    """
    noisy = _digits("noisy-labels", lambda: mlp(64), epochs=20)
    return replace(
        noisy,
        train=_with_random_labels(noisy.train, seed=20),
        validation=_with_random_labels(noisy.validation, seed=21),
    )


def transformer(n_windows: int = N_VALIDATION // 8) -> Workload:
    """Moby-Dick, the next of 8 characters, one block of width 32, AdamW.

    Args:
        n_windows: for validation; each holds 8 predictions.
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
        epochs=20,
    )


def tabular() -> Workload:
    """Regression on 16 made-up columns with interactions and noise, MLP, SGD with momentum 0.9."""
    stream = np.random.default_rng(7)
    x = stream.standard_normal((N_TRAIN + N_VALIDATION, 16)).astype(np.float32)
    x *= np.geomspace(1.0, 0.3, 16, dtype=np.float32)
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + np.abs(x[:, 3]) + x[:, 4:].sum(axis=1) / 3
    y = (y - y.mean()) / y.std() + 0.3 * stream.standard_normal(len(y))
    return Workload(
        name="tabular",
        model=lambda: nn.Sequential(
            nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
        ),
        **split(x, y.astype(np.float32)),
        loss=squared_error,
        optimizer=NamedOptimizer(name="sgd", workload="tabular"),
        batch_size=64,
        learning_rate=0.01,
        epochs=30,
    )


def split(x: Columns, y: Columns, n_train: int = N_TRAIN) -> dict[str, Labelled]:
    """The first `n_train` rows of made-up columns as `train`, the others as `validation`."""
    columns, targets = torch.from_numpy(x), torch.from_numpy(y)
    return {
        "train": (columns[:n_train].clone(), targets[:n_train].clone()),
        "validation": (columns[n_train:].clone(), targets[n_train:].clone()),
    }


@cache
def digits(n_validation: int) -> tuple[Labelled, Labelled]:
    """The first training images and the first validation images, as bytes, with their labels."""
    mnist = load_mnist()
    parts = ((mnist["train"], N_TRAIN), (mnist["validation"], n_validation))
    train, validation = (
        (_halved(torch.from_numpy(images[:n])), torch.from_numpy(labels[:n].copy()).long())
        for (images, labels), n in parts
    )
    return train, validation


def _digits(name: str, model: Callable[[], nn.Module], *, epochs: int) -> Workload:
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
        epochs=epochs,
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


def _normalised() -> nn.Module:
    layers: list[nn.Module] = [Pixels()]
    for n_in, width in ((14 * 14, 48), (48, 48)):
        layers += [nn.Linear(n_in, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(48, 10))


def _halved(images: Tensor) -> Tensor:
    """Images of 14 x 14 pixels, each the mean of four."""
    pixels = images.view(-1, 1, 28, 28).float()
    return F.avg_pool2d(pixels, 2).round().to(torch.uint8).flatten(1)


def _with_random_labels(data: Labelled, *, seed: int) -> Labelled:
    """The data with a fifth of its labels replaced by a random digit."""
    images, labels = data
    stream = np.random.default_rng(seed)
    drawn = torch.from_numpy(stream.integers(0, 10, len(labels)))
    is_random = torch.from_numpy(stream.random(len(labels)) < 0.2)
    return images, torch.where(is_random, drawn, labels)


def squared_error(model: nn.Module, batch: Labelled) -> Tensor:
    """Mean squared error, a scalar."""
    x, y = batch
    predictions: Tensor = model(x).squeeze(1)
    return F.mse_loss(predictions, y)


# The cheapest first.
WHOLE_WORKLOADS: dict[str, Callable[[], Workload]] = {
    "mlp-narrow": mlp_narrow,
    "tabular": tabular,
    "noisy-labels": noisy_labels,
    "mlp-adam": mlp_adam,
    "batchnorm": batchnorm,
    "mlp-narrow-cosine": lambda: with_cosine(mlp_narrow()),
    "mlp-adam-cosine": lambda: with_cosine(mlp_adam()),
    "softmax": softmax,
    "mlp-wide": mlp_wide,
    "transformer": transformer,
    "cnn": cnn,
}
