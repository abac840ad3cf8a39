"""least-squares: linear regression on made-up data whose optimum is known exactly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from batchlab.workload.definition import Workload
from batchlab.workload.pieces import NamedOptimizer, check_at_least

_NAME = "least-squares"

Regression = tuple[Tensor, Tensor]


def workload(
    *,
    n: int = 1000,
    dimension: int = 10,
    noise: float = 1.0,
    condition_number: float = 10.0,
    momentum: float = 0.0,
    seed: int = 0,
) -> Workload:
    """Linear regression on made-up data in float64; the optimum is known in closed form.

    The loss is half the mean squared residual. The training set's Hessian is diagonal with
    eigenvalues evenly spaced in the logarithm from 1 / condition_number to 1, so a constant
    rate below 2 is stable for full batches. The model starts at zero for every trial seed.
    """
    check_at_least(1, _NAME, dimension=dimension, condition_number=condition_number)
    check_at_least(dimension, _NAME, n=n)
    sgd = NamedOptimizer(name="sgd", workload=_NAME, momentum=momentum)
    curvatures = np.geomspace(1 / condition_number, 1, dimension)
    # One random stream per split, so that drawing another split never changes the training set.
    streams = np.random.default_rng(seed).spawn(3)
    design = _orthogonal_columns(streams[0], n, dimension) * np.sqrt(curvatures)
    train = _regression(design, noise=noise, stream=streams[0])
    held_out = []
    for stream in streams[1:]:
        design = stream.standard_normal((n, dimension)) * np.sqrt(curvatures)
        held_out.append(_regression(design, noise=noise, stream=stream))
    validation, test = held_out

    def model() -> nn.Linear:
        """Make a linear layer with weights of 0 and no bias."""
        layer = nn.Linear(dimension, 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(layer.weight)
        return layer

    return Workload(
        name=_NAME,
        model=model,
        train=train,
        validation=validation,
        test=test,
        loss=_loss,
        optimizer=sgd,
        batch_size=16,
        learning_rate=0.05,
    )


def _loss(model: nn.Module, batch: Regression) -> Tensor:
    """Return half the mean squared residual, a scalar."""
    x, y = batch
    predictions: Tensor = model(x).squeeze(1)
    return 0.5 * (predictions - y).square().mean()


def _orthogonal_columns(stream: np.random.Generator, n: int, dimension: int) -> NDArray[np.float64]:
    """Draw columns with mean square 1, orthogonal to each other, shape (n, dimension).

    Modified Gram-Schmidt is applied twice, without BLAS: its sums depend on the threads, but the
    same settings must give the same bytes in a parent and in its single-threaded children.
    """
    columns = stream.standard_normal((dimension, n))
    for _ in range(2):
        for i in range(dimension):
            columns[i] /= np.sqrt(np.mean(columns[i] ** 2))
            overlaps = np.mean(columns[i + 1 :] * columns[i], axis=1, keepdims=True)
            columns[i + 1 :] -= overlaps * columns[i]
    return columns.T


def _regression(x: NDArray[np.float64], *, noise: float, stream: np.random.Generator) -> Regression:
    """Return inputs and targets; a target is the sum of its inputs (weights of 1) plus noise."""
    y = x.sum(axis=1) + noise * stream.standard_normal(len(x))
    return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y)
