"""Least squares by explicit formulas, and what SGD's noise does to it, exactly.

Loss of one example: (x w - y)^2 / 2. H = X^T X / N, r = X w* - y, A = I - rate * H.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Matrix = NDArray[np.float64]


def expected_excess_loss(
    x: Matrix, y: Matrix, *, learning_rate: float, batch_size: int, steps: int
) -> float:
    """E[loss] - min loss after `steps` of SGD from w = 0, batches drawn with replacement.

    M = E[(w - w*)(w - w*)^T] and m = E[w - w*] obey, with fresh independent batches,
    M <- A M A + rate^2 / B (Q - H M H) and m <- A m, where
    Q = 1/N sum x x^T (x^T M x + 2 r x^T m + r^2). The excess is tr(H M) / 2.
    """
    n, d = x.shape
    hessian = x.T @ x / n
    optimum = np.linalg.solve(hessian, x.T @ y / n)
    residuals = x @ optimum - y
    contraction = np.eye(d) - learning_rate * hessian
    mean = -optimum
    second = np.outer(mean, mean)
    for _ in range(steps):
        drawn = np.zeros((d, d))
        for row, residual in zip(x, residuals, strict=True):
            square = row @ second @ row + 2 * residual * (row @ mean) + residual**2
            drawn += np.outer(row, row) * square / n
        noise = drawn - hessian @ second @ hessian
        second = contraction @ second @ contraction + learning_rate**2 / batch_size * noise
        mean = contraction @ mean
    return float(np.trace(hessian @ second) / 2)


def stationary_excess_loss(x: Matrix, y: Matrix, *, learning_rate: float, batch_size: int) -> float:
    """What `expected_excess_loss` tends to: the fixed point of M, one linear system.

    There m = 0, so M = A M A + rate^2 / B (1/N sum x x^T (x^T M x + r^2) - H M H).
    """
    n, d = x.shape
    hessian = x.T @ x / n
    residuals = x @ np.linalg.solve(hessian, x.T @ y / n) - y
    contraction = np.eye(d) - learning_rate * hessian
    scale = learning_rate**2 / batch_size
    fourth = np.zeros((d * d, d * d))
    source = np.zeros((d, d))
    for row, residual in zip(x, residuals, strict=True):
        square = np.outer(row, row)
        fourth += np.outer(square.ravel(), square.ravel()) / n
        source += square * residual**2 / n
    step = np.kron(contraction, contraction) + scale * (fourth - np.kron(hessian, hessian))
    assert np.abs(np.linalg.eigvals(step)).max() < 1, "this rate is not stable: no such point"
    second = np.linalg.solve(np.eye(d * d) - step, scale * source.ravel()).reshape(d, d)
    return float(np.trace(hessian @ second) / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimum:
    """Where least squares ends, and the shape of the loss there (and everywhere).

    The curvatures are the eigenvalues of the Hessian X^T X / n, ascending.
    """

    weights: Tensor
    loss: float
    curvatures: Tensor


def optimum(x: Tensor, y: Tensor) -> Optimum:
    weights = torch.linalg.lstsq(x, y.unsqueeze(1)).solution.squeeze(1)
    return Optimum(
        weights=weights,
        loss=0.5 * float((x @ weights - y).square().mean()),
        curvatures=torch.linalg.eigvalsh(x.T @ x / len(x)),
    )
