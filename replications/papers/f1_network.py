"""F1: the network of hoffer2017, whose batch normalization may be that of ghost batches."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from batchlab import Workload
from replications.papers.networks import digits, mlp

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
    norm = (
        nn.BatchNorm1d
        if ghost_batch_size is None
        else partial(GhostBatchNorm, size=ghost_batch_size)
    )
    return digits(
        "hoffer2017-f1",
        partial(mlp, width=width, layers=_N_LAYERS, norm=norm),
        settings={"momentum": momentum, "weight_decay": weight_decay},
        clip_norm=clip_norm,
        schedule=in_steps,
    )
