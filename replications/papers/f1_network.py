"""F1: the network of hoffer2017, whose batch normalization may be that of ghost batches."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab import Workload
from batchlab.datasets import load_mnist

_N_LAYERS = 5


class GhostBatchNorm(nn.BatchNorm1d):
    """Normalize parts of a batch, each on its own: Hoffer et al. 2017, algorithm 1.

    Running statistics see one part after another. Evaluation is as usual.
    """

    def __init__(self, n_features: int, size: int) -> None:
        super().__init__(n_features)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized batch; a last part of one example joins the part before it."""
        if not self.training or len(x) <= self.size:
            return super().forward(x)
        begins = list(range(self.size, len(x), self.size))
        if len(x) - begins[-1] == 1:
            del begins[-1]
        return torch.cat([nn.BatchNorm1d.forward(self, p) for p in torch.tensor_split(x, begins)])


class _Pixels(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float() * (1 / 255)


Labelled = tuple[Tensor, Tensor]


def _loss(model: nn.Module, batch: Labelled) -> Tensor:
    scores: Tensor = model(batch[0])
    return F.cross_entropy(scores, batch[1])


def _accuracy(model: nn.Module, batch: Labelled) -> Tensor:
    scores: Tensor = model(batch[0])
    return (scores.argmax(1) == batch[1]).float().mean()


def in_steps(fraction: float) -> float:
    """Cut the rate to a tenth at 20, 40 and 60 % of the run."""
    return 0.1 ** min(3, math.floor(fraction * 5 + 1e-9))


def f1_workload(
    *,
    width: int,
    ghost_batch_size: int | None,
    momentum: float,
    weight_decay: float,
    clip_norm: float,
) -> Workload:
    """Return F1 on all training digits of MNIST; without ghost batches if their size is None."""
    mnist = load_mnist(n_validation=0)

    def tensors(split: tuple[Any, Any]) -> Labelled:
        return torch.from_numpy(split[0]), torch.from_numpy(split[1]).long()

    def model() -> nn.Sequential:
        network = nn.Sequential(_Pixels())
        for n_in, n_out in pairwise([784, *[width] * _N_LAYERS]):
            network.append(nn.Linear(n_in, n_out))
            if ghost_batch_size is None:
                network.append(nn.BatchNorm1d(n_out))
            else:
                network.append(GhostBatchNorm(n_out, ghost_batch_size))
            network.append(nn.ReLU())
        return network.append(nn.Linear(width, 10))

    return Workload(
        name="hoffer2017-f1",
        model=model,
        train=tensors(mnist.train),
        validation=None,
        test=tensors(mnist.test),
        loss=_loss,
        metrics={"accuracy": _accuracy},
        optimizer=lambda parameters, learning_rate: torch.optim.SGD(
            parameters, lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=True
        ),
        clip_norm=clip_norm,
        schedule=in_steps,
        learning_rate=0.01,
    )
