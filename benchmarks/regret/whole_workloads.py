"""The workloads of the record of whole trainings: each with the epochs that a training takes.

The eight of the first record, one with batch normalization, and two under a learning-rate shape.
All have 10,000 examples for validation (10,000 predictions, where an example holds several): how
two trainings end is told apart by tenths of a per cent. The epochs are those at which the
validation curve of the reference is about flat.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import nn
from workloads import (
    cnn,
    digits,
    mlp_adam,
    mlp_narrow,
    mlp_wide,
    noisy_labels,
    softmax,
    tabular,
    transformer,
    with_random_labels,
)

from batchlab import Workload
from batchlab.workload.pieces import Pixels

N_VALIDATION = 10_000
WARM_UP_FRACTION = 0.05


def batchnorm() -> Workload:
    """MNIST, two hidden layers of 48 units with batch normalization, SGD with momentum 0.9."""
    return replace(mlp_narrow(), name="batchnorm", model=_normalised)


def warm_up_and_cosine(fraction: float) -> float:
    """What the rate is multiplied with: up in a line over the first 5 %, down in a cosine to 0."""
    if fraction < WARM_UP_FRACTION:
        return fraction / WARM_UP_FRACTION
    return (1 + math.cos(math.pi * (fraction - WARM_UP_FRACTION) / (1 - WARM_UP_FRACTION))) / 2


def _of_digits(workload: Workload, epochs: int) -> Workload:
    _, validation = digits(N_VALIDATION)
    return replace(workload, validation=validation, epochs=epochs, target=None)


def _noisy(epochs: int) -> Workload:
    whole = _of_digits(noisy_labels(), epochs)
    return replace(
        whole, validation=with_random_labels(whole.validation, np.random.default_rng(21))
    )


def _with_cosine(workload: Workload) -> Workload:
    return replace(workload, name=f"{workload.name}-cosine", schedule=warm_up_and_cosine)


def _normalised() -> nn.Module:
    layers: list[nn.Module] = [Pixels()]
    for n_in, width in ((14 * 14, 48), (48, 48)):
        layers += [nn.Linear(n_in, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(48, 10))


# In the order in which they are recorded, the cheapest first.
WHOLE_WORKLOADS: dict[str, Callable[[], Workload]] = {
    "mlp-narrow": lambda: _of_digits(mlp_narrow(), 30),
    "tabular": lambda: replace(tabular(N_VALIDATION), epochs=30, target=None),
    "noisy-labels": lambda: _noisy(20),
    "mlp-adam": lambda: _of_digits(mlp_adam(), 25),
    "batchnorm": lambda: _of_digits(batchnorm(), 15),
    "mlp-narrow-cosine": lambda: _with_cosine(_of_digits(mlp_narrow(), 30)),
    "mlp-adam-cosine": lambda: _with_cosine(_of_digits(mlp_adam(), 25)),
    "softmax": lambda: _of_digits(softmax(), 40),
    "mlp-wide": lambda: _of_digits(mlp_wide(), 20),
    "transformer": lambda: replace(transformer(N_VALIDATION // 8), epochs=20, target=None),
    "cnn": lambda: _of_digits(cnn(), 20),
}

# From where batch sizes are taken by doubling, and to where: the dear ones have fewer.
WHOLE_BATCH_SIZES: dict[str, tuple[int, int]] = {
    "cnn": (32, 4096),
    "transformer": (32, 2048),
    "mlp-wide": (32, 4096),
}
