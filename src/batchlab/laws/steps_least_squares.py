"""LeastSquares: the steps-to-target curve that lies closest to the means of the batch sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batchlab.laws.steps_curve import places
from batchlab.laws.steps_table import Array


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
    """Least squares on log steps for level and fall: Gauss-Newton from the best of a coarse grid.

    Args:
        batch_size: ascending, shape (k,), k >= 2.
        log_mean: mean log steps of each, shape (k,).
        weight: observations behind each mean, shape (k,).
    """
    place = places(batch_size, batch_size[0], batch_size[-1])
    total = weight.sum()
    steepest = np.log(batch_size[-1] / batch_size[0])

    def at(fall: float) -> tuple[float, float, Array]:
        rise = np.log1p(place * np.expm1(fall))
        level = float(weight @ (log_mean - rise) / total)
        return float(weight @ (log_mean - rise - level) ** 2), level, rise

    falls = np.linspace(-0.5 * steepest - 0.5, 1.5 * steepest + 0.5, 33)
    z = log_mean - np.log1p(place * np.expm1(falls)[:, None])
    squares = (z**2) @ weight - (z @ weight) ** 2 / total
    fall = float(falls[np.argmin(squares)])
    square, level, rise = at(fall)
    slope = place * np.exp(fall - rise)
    for _ in range(60):
        slope = place * np.exp(fall - rise)
        around = slope - weight @ slope / total
        step = float(weight @ (around * (log_mean - rise - level)) / (weight @ around**2))
        tried = at(fall + step)
        while tried[0] > square and abs(step) > 1e-15:
            step /= 4
            tried = at(fall + step)
        if tried[0] <= square:
            fall, (square, level, rise) = fall + step, tried
        if abs(step) <= 1e-14 * max(1.0, abs(fall)):
            break
    return LeastSquares(level=level, fall=fall, fitted=level + rise, slope=slope, square=square)
