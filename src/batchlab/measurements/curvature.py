"""Curvature: the largest eigenvalues and the trace of the Hessian of the mean training loss."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from batchlab.laws.statistics import mean_interval
from batchlab.measurements.loss_surface import LossSurface, Vector
from batchlab.records.estimate import Estimate

# Below so many weights the Hessian is made whole: Lanczos needs more rows than eigenvalues.
_FEW = 16


def top_eigenvalues(
    surface: LossSurface, n: int = 1, *, tolerance: float = 0.0, seed: int = 0
) -> tuple[float, ...]:
    """The largest eigenvalues of the Hessian at the model's weights, descending.

    By Lanczos iteration with products of the Hessian and vectors; the Hessian is never made.

    Args:
        surface: the loss around the weights.
        n: how many, 1 to the number of weights.
        tolerance: relative error at which the iteration stops; 0: as exact as the products are.
        seed: of the first vector.

    Source: SciPy's ARPACK (Lehoucq et al. 1998); products after Pearlmutter 1994.
    """
    size = len(surface.weights)
    if size <= max(_FEW, n + 1):
        rows = np.stack([surface.hessian_times(row) for row in np.eye(size)])
        found = np.linalg.eigvalsh((rows + rows.T) / 2)
        return tuple(float(value) for value in found[::-1][:n])
    operator = LinearOperator((size, size), matvec=surface.hessian_times, dtype=np.float64)
    start = np.random.default_rng(seed).standard_normal(size)
    values = eigsh(operator, k=n, which="LA", v0=start, tol=tolerance, return_eigenvectors=False)
    return tuple(float(value) for value in np.sort(values)[::-1])


def hessian_trace(surface: LossSurface, *, n_probes: int = 32, seed: int = 0) -> Estimate:
    """The trace of the Hessian at the model's weights, with a 95 % interval over probes.

    Args:
        surface: the loss around the weights.
        n_probes: random vectors of 1 and -1, at least 2.
        seed: of the probes.

    Source: Hutchinson 1990.
    """
    stream = np.random.default_rng(seed)
    values = []
    for _ in range(n_probes):
        probe: Vector = stream.choice([-1.0, 1.0], len(surface.weights))
        values.append(float(probe @ surface.hessian_times(probe)))
    return mean_interval(values)
