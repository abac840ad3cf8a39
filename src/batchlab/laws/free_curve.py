"""FreeCurve: the curve S_min (1 + (B_crit/B)^alpha) that lies closest to the means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from batchlab.laws.steps_curve import places
from batchlab.laws.steps_least_squares import TOLERANCE, LeastSquares
from batchlab.laws.steps_table import Array, StepsTable

SMALLEST, LARGEST = 0.1, 10.0  # the exponents that are looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class FreeCurve:
    """The curve of the generalized law that lies closest to the means of the batch sizes.

    Attributes:
        log_exponent: log of its exponent.
        fall: log of the steps at the smallest over those at the largest batch size.
        fitted: log steps at each batch size, shape (k,).
        normal: the matrix of the least squares in log exponent and fall, shape (2, 2).
        square: sum of squares of the deviations of the means.
    """

    log_exponent: float
    fall: float
    fitted: Array
    normal: Array
    square: float

    def covariance(self, spread: float) -> Array:
        """Of log exponent and fall, where the means lie so far from the curve, shape (2, 2)."""
        return np.asarray(spread**2 * np.linalg.inv(self.normal))

    def fall_sd(self, spread: float) -> float:
        """Standard deviation of the fall at one exponent."""
        return float(spread / self.normal[1, 1] ** 0.5)


def closest_curve(
    table: StepsTable, log_mean: Array, law: LeastSquares, *, pull: float = 0.0
) -> FreeCurve:
    """Least squares on log steps for exponent, fall and level.

    Args:
        table: the observations.
        log_mean: mean log steps by batch size, shape (k,); each counts alike.
        law: the least-squares curve with exponent 1, at which the search starts.
        pull: towards exponent 1: what one unit of log exponent counts as a deviation; 0: nothing.
    """
    smallest, largest = table.batch_size[0], table.batch_size[-1]
    steepest = float(np.log(largest / smallest))

    def rise(at: Array, alpha_factor: float = 1.0) -> Array:
        place = places(table.batch_size, smallest, largest, np.exp(at[0]) * alpha_factor)
        return np.asarray(np.log1p(place * np.expm1(at[1])))

    def away(at: Array) -> Array:
        z = log_mean - rise(at)
        return np.append(z - z.mean(), pull * at[0])

    def slopes(at: Array) -> Array:
        place = places(table.batch_size, smallest, largest, np.exp(at[0]))
        here = rise(at)
        by_alpha = (rise(at, np.exp(1e-6)) - here) / 1e-6
        each = np.stack([by_alpha, place * np.exp(at[1] - here)], axis=1)
        return np.vstack([each.mean(axis=0) - each, [pull, 0.0]])

    low = np.log(SMALLEST), min(law.fall, -2 * steepest - 2)
    high = np.log(LARGEST), max(law.fall, 3 * steepest + 2)
    found = optimize.least_squares(
        away,
        (0.0, law.fall),
        slopes,
        bounds=(low, high),
        xtol=TOLERANCE,
        ftol=TOLERANCE,
        gtol=TOLERANCE,
    )
    away_from_it, here = found.fun[:-1], slopes(found.x)
    return FreeCurve(
        log_exponent=float(found.x[0]),
        fall=float(found.x[1]),
        fitted=log_mean - away_from_it,
        normal=here.T @ here + 1e-6 * np.eye(2),
        square=float(np.sum(away_from_it**2)),
    )
