"""Where least squares ends, by PyTorch's own solvers."""

from typing import NamedTuple

import torch
from torch import Tensor


class Optimum(NamedTuple):
    """Where least squares ends, and the shape of the loss there (and everywhere)."""

    weights: Tensor
    loss: float
    curvatures: Tensor  # eigenvalues of the Hessian X^T X / n, ascending


def optimum(x: Tensor, y: Tensor) -> Optimum:
    weights = torch.linalg.lstsq(x, y.unsqueeze(1)).solution.squeeze(1)
    return Optimum(
        weights=weights,
        loss=0.5 * float((x @ weights - y).square().mean()),
        curvatures=torch.linalg.eigvalsh(x.T @ x / len(x)),
    )
