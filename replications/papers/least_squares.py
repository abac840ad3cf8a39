"""Least squares: what SGD at a constant rate does to it, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LeastSquares:
    """The mean of (x w - y)^2 / 2 over n examples, and SGD on it from w = 0.

    Attributes:
        x: the inputs, shape (n, d); their second moments have full rank.
        y: the targets, shape (n,).
    """

    x: Array
    y: Array

    @cached_property
    def hessian(self) -> Array:
        """Shape (d, d), the same everywhere."""
        return self.x.T @ self.x / len(self.x)

    @cached_property
    def optimum(self) -> Array:
        """The weights with the least loss, shape (d,)."""
        return np.asarray(np.linalg.solve(self.hessian, self.x.T @ self.y / len(self.x)))

    @property
    def least_loss(self) -> float:
        """The loss there."""
        return float(np.mean(self._residuals**2)) / 2

    @property
    def _residuals(self) -> Array:
        return self.x @ self.optimum - self.y

    def excess_loss_of_descent(self, *, learning_rate: float, steps: int) -> float:
        """How far above the least loss full batches are after so many steps from w = 0."""
        curvatures, directions = np.linalg.eigh(self.hessian)
        apart = (1 - learning_rate * curvatures) ** steps * (directions.T @ self.optimum)
        return float(curvatures @ apart**2) / 2

    def stationary_excess_loss(self, *, learning_rate: float, batch_size: int) -> float:
        """How far above the least loss small batches stay, drawn with replacement, on average.

        With M = E[(w - w*)(w - w*)'] it is tr(H M) / 2. Once the start is forgotten M is the fixed
        point of one step, a linear system: M = A M A + rate^2 / B (mean of x x' (x' M x + r^2)
        - H M H) with A = 1 - rate H.
        """
        d = len(self.optimum)
        contraction = np.eye(d) - learning_rate * self.hessian
        squares = np.einsum("ni,nj->nij", self.x, self.x).reshape(-1, d * d)
        fourth = squares.T @ squares / len(squares)
        source = squares.T @ self._residuals**2 / len(squares)
        scale = learning_rate**2 / batch_size
        step = np.kron(contraction, contraction)
        step += scale * (fourth - np.kron(self.hessian, self.hessian))
        moment = np.linalg.solve(np.eye(d * d) - step, scale * source)
        return float(self.hessian.ravel() @ moment) / 2
