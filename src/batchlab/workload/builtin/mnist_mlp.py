"""mnist-mlp: a fully connected network on handwritten digits."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from batchlab.workload.definition import Workload
from batchlab.workload.pieces import NamedOptimizer, Pixels, check_at_least, digits_workload

_NAME = "mnist-mlp"
_LEARNING_RATES = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001}  # PyTorch's default for Adam


def workload(
    *,
    layers: int = 2,
    width: int = 128,
    train: str = "split",
    optimizer: str = "sgd",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> Workload:
    """A fully connected network tells handwritten digits apart (MNIST)."""
    check_at_least(1, _NAME, layers=layers, width=width)
    named_optimizer = NamedOptimizer(
        name=optimizer,
        workload=_NAME,
        momentum=momentum,
        weight_decay=weight_decay,
    )

    def model() -> nn.Sequential:
        """Make `layers` hidden layers of ReLU units, and ten scores."""
        network = nn.Sequential(Pixels())
        for n_in, n_out in pairwise([784, *[width] * layers]):
            network.extend([nn.Linear(n_in, n_out), nn.ReLU()])
        return network.append(nn.Linear(width, 10))

    return digits_workload(
        model, train=train, optimizer=named_optimizer, learning_rate=_LEARNING_RATES[optimizer]
    )
