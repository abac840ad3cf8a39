"""Sharpness: how much the training loss can grow in a small box around the weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from batchlab.errors import UsageError
from batchlab.measurements.loss_surface import LossSurface, Vector

EPSILONS = (1e-3, 5e-4)
SUBSPACE = 100
# As in the paper: the maximum is sought inexactly.
_ITERATIONS = 10
# The gradient at a trained point is nearly 0: the search begins a little beside it too.
_BESIDE = 0.1


def sharpness(
    surface: LossSurface, *, epsilon: float, dimensions: int | None = None, seed: int = 0
) -> float:
    """100 (max f - f) / (1 + f) over a box around the weights, in percent.

    The box is |z_i| <= epsilon (|x_i| + 1) in the space of all weights x. In a random subspace it
    is |z_j| <= epsilon (|(A^+ x)_j| + 1) for x + A z, with standard normal columns of A. The
    maximum is sought by ten iterations of L-BFGS-B, from the weights and from a random point of a
    tenth of the box; the larger counts.

    Args:
        surface: the loss f around the weights.
        epsilon: above 0; the paper has 1e-3 and 5e-4.
        dimensions: of the subspace, the paper has 100; None: all weights.
        seed: of the subspace and of the second start.

    Returns:
        At least 0. Compare it between solutions of one workload, not between workloads: the paper
        leaves the distribution of A and the start open.

    Raises:
        UsageError: epsilon is not above 0.

    Source: Keskar et al. 2017, arXiv:1609.04836, section 2.2.2.
    """
    if not epsilon > 0:
        raise UsageError(f"epsilon={epsilon}: expected a number above 0, such as 0.001")
    stream = np.random.default_rng(seed)
    x = surface.weights
    moved: Callable[[Vector], Vector] = _as_it_is
    back: Callable[[Vector], Vector] = _as_it_is
    inside: Vector = x
    if dimensions is not None:
        columns = stream.standard_normal((len(x), dimensions))
        inside = np.asarray(np.linalg.lstsq(columns, x, rcond=None)[0], dtype=np.float64)
        moved, back = columns.__matmul__, columns.T.__matmul__
    box = epsilon * (np.abs(inside) + 1)
    at_weights = surface.loss(x)
    starts = (np.zeros(len(box)), _BESIDE * box * stream.uniform(-1, 1, len(box)))
    highest = max(_highest(surface, x, box, moved, back, start) for start in starts)
    return 100 * (max(highest, at_weights) - at_weights) / (1 + at_weights)


def _as_it_is(vector: Vector) -> Vector:
    return vector


def _highest(
    surface: LossSurface,
    x: Vector,
    box: Vector,
    moved: Callable[[Vector], Vector],
    back: Callable[[Vector], Vector],
    start: Vector,
) -> float:
    """The highest loss that the search from `start` finds."""

    def downhill(z: Vector) -> tuple[float, Vector]:
        loss, gradient = surface.gradient(x + moved(z))
        return -loss, -back(gradient)

    found = minimize(
        downhill,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(-box, box, strict=True)),
        options={"maxiter": _ITERATIONS},
    )
    return -float(found.fun)
