"""mnist-cnn: a small convolutional network on handwritten digits."""

from __future__ import annotations

from functools import partial

from torch import nn

from batchlab.workload.definition import Workload
from batchlab.workload.pieces import (
    INPUTS,
    NamedOptimizer,
    Pixels,
    check_whole,
    chosen,
    digits_workload,
)

_NAME = "mnist-cnn"
_HALVED = {"stride": 2, "max": 1}  # each convolution's stride, by what makes its images smaller


def workload(
    *,
    channels: int = 8,
    hidden: int = 0,
    halved: str = "stride",
    input: str = "unit",
    train: str = "split",
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Workload:
    """A small convolutional network tells handwritten digits apart (MNIST)."""
    check_whole(channels, setting="channels", workload=_NAME, low=1)
    check_whole(hidden, setting="hidden", workload=_NAME, low=0)
    chosen(halved, _HALVED, setting="halved", workload=_NAME)
    chosen(input, INPUTS, setting="input", workload=_NAME)
    sgd = NamedOptimizer(
        name="sgd",
        workload=_NAME,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    return digits_workload(
        partial(_model, channels=channels, hidden=hidden, halved=halved, input=input),
        train=train,
        optimizer=sgd,
        learning_rate=0.01,
    )


def _model(*, channels: int, hidden: int, halved: str, input: str) -> nn.Sequential:
    """Two convolutions that halve the image, then a score for each digit, by a hidden layer or not.

    The second has twice as many channels as the first.
    """
    model = nn.Sequential(Pixels(input, workload=_NAME), nn.Unflatten(1, (1, 28, 28)))
    for n_in, n_out in ((1, channels), (channels, 2 * channels)):
        stride = _HALVED[halved]
        model.extend([nn.Conv2d(n_in, n_out, 5, stride=stride, padding=2), nn.ReLU()])
        if halved == "max":
            model.append(nn.MaxPool2d(2))
    model.append(nn.Flatten())
    n_features = 7 * 7 * 2 * channels
    if hidden:
        model.extend([nn.Linear(n_features, hidden), nn.ReLU()])
    model.append(nn.Linear(hidden or n_features, 10))
    return model
