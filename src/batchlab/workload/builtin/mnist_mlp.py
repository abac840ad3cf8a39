"""mnist-mlp: a fully connected network on handwritten digits."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from batchlab.workload.definition import Workload
from batchlab.workload.pieces import (
    INPUTS,
    NamedOptimizer,
    Pixels,
    check_at_least,
    chosen,
    digits_workload,
)

_NAME = "mnist-mlp"
_LEARNING_RATES = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001}  # PyTorch's default for Adam


def workload(
    *,
    layers: int = 2,
    width: int = 128,
    batch_norm: bool = False,
    init: str = "torch",
    input: str = "unit",
    train: str = "split",
    optimizer: str = "sgd",
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Workload:
    """A fully connected network tells handwritten digits apart (MNIST)."""
    check_at_least(1, _NAME, layers=layers, width=width)
    initialize = chosen(init, _INITS, setting="init", workload=_NAME)
    scaling = chosen(input, INPUTS, setting="input", workload=_NAME)
    named_optimizer = NamedOptimizer(
        name=optimizer,
        workload=_NAME,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )

    def model() -> nn.Sequential:
        """Make `layers` hidden layers (linear, optional batch norm, ReLU) and ten scores."""
        network = nn.Sequential(Pixels(*scaling))
        for n_in, n_out in pairwise([784, *[width] * layers]):
            network.append(nn.Linear(n_in, n_out))
            if batch_norm:
                network.append(nn.BatchNorm1d(n_out))
            network.append(nn.ReLU())
        network.append(nn.Linear(width, 10))
        for module in network:
            if isinstance(module, nn.Linear):
                initialize(module)
        return network

    return digits_workload(
        model, train=train, optimizer=named_optimizer, learning_rate=_LEARNING_RATES[optimizer]
    )


def _init_torch(layer: nn.Linear) -> None:
    """Keep PyTorch's initialization: weights and biases uniform within ± 1 / sqrt(inputs)."""


def _init_glorot(layer: nn.Linear) -> None:
    """Draw weights within ± sqrt(6 / (inputs + outputs)): Glorot and Bengio 2010, eq. 16."""
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)


def _init_he(layer: nn.Linear) -> None:
    """Draw weights with standard deviation sqrt(2 / inputs): He et al. 2015, eq. 10."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)


_INITS = {"torch": _init_torch, "glorot": _init_glorot, "he": _init_he}
