"""Networks of the papers that no built-in workload has, on MNIST's digits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab import Workload
from batchlab.datasets import load_mnist

Labelled = tuple[Tensor, Tensor]


class Pixels(nn.Module):
    """A layer without parameters that makes (byte / 255 - mean) / deviation of bytes."""

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation

    def forward(self, images: Tensor) -> Tensor:
        """Return the standardized pixels."""
        return (images.float() * (1 / 255) - self.mean) / self.deviation


# By mean and deviation of all pixels of the 60,000 training images.
INPUTS: dict[str, Callable[[], nn.Module]] = {
    "unit": Pixels,
    "standardized": partial(Pixels, 0.1307, 0.3081),
}
INITS: dict[str, Callable[[Tensor], Any] | None] = {
    "torch": None,  # PyTorch's own: weights and biases uniform within ± 1 / sqrt(inputs)
    "glorot": nn.init.xavier_uniform_,
    "he": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
}


def mlp(
    *,
    width: int,
    layers: int = 2,
    norm: Callable[[int], nn.Module] | None = None,
    init: str = "torch",
    scaling: str = "unit",
) -> nn.Sequential:
    """Make hidden layers of ReLU units, normalized by `norm`, and a score for each digit."""
    network = nn.Sequential(INPUTS[scaling]())
    for n_in, n_out in pairwise([784, *[width] * layers]):
        network.append(nn.Linear(n_in, n_out))
        if norm is not None:
            network.append(norm(n_out))
        network.append(nn.ReLU())
    network.append(nn.Linear(width, 10))
    draw = INITS[init]
    for layer in network:
        if isinstance(layer, nn.Linear) and draw is not None:
            draw(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


def simple_cnn() -> nn.Sequential:
    """Make two convolutions of 32 and 64 channels, a hidden layer of 1024, and the scores."""
    return nn.Sequential(
        Pixels(),
        nn.Unflatten(1, (1, 28, 28)),
        *(nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(7 * 7 * 64, 1024), nn.ReLU(), nn.Linear(1024, 10)),
    )


def digits(
    name: str,
    model: Callable[[], nn.Module],
    *,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    n_validation: int = 0,
    settings: dict[str, Any],
    **fields: Any,
) -> Workload:
    """Return a workload on MNIST whose optimizer has these settings."""
    return Workload(
        name=name,
        model=model,
        **_splits(n_validation),
        loss=_loss,
        metrics={"accuracy": _accuracy},
        optimizer=lambda parameters, learning_rate: optimizer(
            parameters, lr=learning_rate, fused=True, **settings
        ),
        **{"learning_rate": 0.01, **fields},
    )


@cache  # the workloads of a replication share the images
def _splits(n_validation: int) -> dict[str, Any]:
    mnist = load_mnist(n_validation=n_validation)
    splits = {
        split: (torch.from_numpy(images), torch.from_numpy(labels).long())
        for split, (images, labels) in mnist.items()
    }
    return {"validation": None, **splits}


def _loss(model: nn.Module, batch: Labelled) -> Tensor:
    scores: Tensor = model(batch[0])
    return F.cross_entropy(scores, batch[1])


def _accuracy(model: nn.Module, batch: Labelled) -> Tensor:
    scores: Tensor = model(batch[0])
    return (scores.argmax(1) == batch[1]).float().mean()
