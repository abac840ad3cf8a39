"""LeastSquares: the steps-to-target curve that lies closest to the means of the batch sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from batchlab.laws.steps_curve import places
from batchlab.laws.steps_table import Array

# Where a search stops: 1e-15 takes a third longer and gives the same digits.
TOLERANCE = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class LeastSquares:
    """The curve that lies closest to the means of the batch sizes, on a log scale.

    Attributes:
        level: log steps at the largest batch size.
        fall: log of the steps at the smallest over those at the largest.
        fitted: log steps at each batch size, shape (k,).
        slope: what `fitted` gains by one more unit of fall, shape (k,).
        square: weighted sum of squares of the deviations of the means.
    """

    level: float
    fall: float
    fitted: Array
    slope: Array
    square: float


def least_squares(batch_size: Array, log_mean: Array, weight: Array) -> LeastSquares:
    """Least squares on log steps for level and fall, from the best of a coarse grid of falls.

    Args:
        batch_size: ascending, shape (k,), k >= 2.
        log_mean: mean log steps of each, shape (k,).
        weight: observations behind each mean, shape (k,).
    """
    place = places(batch_size, batch_size[0], batch_size[-1])
    share, root = weight / weight.sum(), np.sqrt(weight)

    def away(fall: Array) -> Array:
        z = log_mean - np.log1p(place * np.expm1(fall))
        return np.asarray(root * (z - (z @ share)[..., None]))

    def slope(fall: Array) -> Array:
        return np.asarray(place * np.exp(fall) / (1 + place * np.expm1(fall)))

    def falls_with(fall: Array) -> Array:
        return np.asarray(-root * (slope(fall) - slope(fall) @ share))[:, None]

    steepest = np.log(batch_size[-1] / batch_size[0])
    falls = np.linspace(-0.5 * steepest - 0.5, 1.5 * steepest + 0.5, 33)[:, None]
    start = falls[np.argmin(np.sum(away(falls) ** 2, axis=1))]
    found = optimize.least_squares(
        away,
        start,
        falls_with,
        method="lm",
        xtol=TOLERANCE,
        ftol=TOLERANCE,
        gtol=TOLERANCE,
    )
    rise = np.log1p(place * np.expm1(found.x))
    level = float((log_mean - rise) @ share)
    return LeastSquares(
        level=level,
        fall=float(found.x[0]),
        fitted=level + rise,
        slope=slope(found.x),
        square=2 * float(found.cost),
    )
