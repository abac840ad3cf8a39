"""mnist-cnn: a small convolutional network on handwritten digits."""

from __future__ import annotations

from torch import nn

from batchlab.workload.definition import Workload
from batchlab.workload.pieces import NamedOptimizer, Pixels, check_at_least, digits_workload

_NAME = "mnist-cnn"


def workload(
    *,
    channels: int = 8,
    train: str = "split",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> Workload:
    """A small convolutional network tells handwritten digits apart (MNIST)."""
    check_at_least(1, _NAME, channels=channels)

    def model() -> nn.Sequential:
        """Make two convolutions that halve the image, and ten scores."""
        layers = nn.Sequential(Pixels(), nn.Unflatten(1, (1, 28, 28)))
        for n_in, n_out in ((1, channels), (channels, 2 * channels)):
            layers.extend([nn.Conv2d(n_in, n_out, 5, stride=2, padding=2), nn.ReLU()])
        return layers.extend([nn.Flatten(), nn.Linear(7 * 7 * 2 * channels, 10)])

    sgd = NamedOptimizer(name="sgd", workload=_NAME, momentum=momentum, weight_decay=weight_decay)
    return digits_workload(model, train=train, optimizer=sgd, learning_rate=0.01)
