"""The generalised law S = S_min (1 + (B_crit/B)^alpha): its exponent with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import stdtrit

from batchlab.laws.steps_curve import places
from batchlab.laws.steps_least_squares import TOLERANCE, LeastSquares
from batchlab.laws.steps_posterior import Grid, log_density, ratio_grid
from batchlab.laws.steps_table import NO_SCATTER, Array, StepsTable
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

_SMALLEST, _LARGEST = 0.1, 10.0
_N_EXPONENTS = 41
_N_FALLS = 25


def exponent_of(table: StepsTable, log_steps: Array, law: LeastSquares) -> Estimate:
    """The exponent that fits the observations best; 1 is the law.

    Args:
        table: the observations.
        log_steps: their log steps, or several imputed tables of them, shape (c, n).
        law: the least-squares curve with exponent 1.

    Returns:
        Least squares on log steps, with the interval of its posterior under a prior flat in
        log alpha. A bound below 0.1 or above 10 is None.
    """
    k = len(table.batch_size)
    if k < 4:
        return Estimate.cannot_tell(
            Reason.of("exponent_needs_four", n=k),
            n=table.n,
        )
    square, kappa = table.within(log_steps)
    log_mean = table.means(log_steps)
    centre = log_mean.mean(axis=0)
    curve = closest_curve(table, centre, law)
    log_alpha, fall, fitted, slopes = curve.log_exponent, curve.fall, curve.fitted, curve.slopes
    normal = slopes.T @ slopes + 1e-6 * np.eye(2)
    deviations = float(np.sum((centre - fitted) ** 2)) / max(k - 3, 1)
    scatter = float(square.mean()) / max(table.degrees, 1)
    pooled = scatter * float(kappa.mean())
    spread = max(deviations, pooled, NO_SCATTER**2) ** 0.5
    covariance = spread**2 * np.linalg.inv(normal)
    reach = np.arcsinh(stdtrit(max(k - 3, 1), 0.9995))
    steps = np.sinh(np.linspace(-1, 1, _N_EXPONENTS) * reach)
    ends = np.log([_SMALLEST, _LARGEST])
    alphas = np.clip(log_alpha + covariance[0, 0] ** 0.5 * steps, *ends)
    # Fall and exponent lie on a ridge: the falls follow it, and are spread around it.
    ridge = fall + covariance[0, 1] / covariance[0, 0] * (alphas - log_alpha)
    across = spread / normal[1, 1] ** 0.5 * np.sinh(np.linspace(-1, 1, _N_FALLS) * reach)
    falls = np.clip(ridge[:, None] + across, -20, 60)
    smallest, largest = table.batch_size[0], table.batch_size[-1]
    place = np.array([places(table.batch_size, smallest, largest, a) for a in np.exp(alphas)])
    # Rounding can put the first place a hair above 1, and the logarithm below its domain.
    place = np.minimum(place, 1.0)
    curves = np.log1p(place[:, None, :] * np.expm1(falls)[..., None])
    exact = fitted - fitted[-1]  # the largest batch size has place 0: there the curve is its level
    width = np.log(np.maximum(np.gradient(falls, axis=1), 1e-300))
    ratio_sq, log_prior = ratio_grid(
        kappa, repeated=table.degrees > 0, deviations=deviations, scatter=scatter
    )
    grid = Grid(
        fall=falls.ravel(),
        log_width=(width + np.log(np.maximum(np.gradient(alphas), 1e-300))[:, None]).ravel(),
        ratio_sq=ratio_sq,
        log_prior=log_prior,
        kappa=kappa,
        fitted=fitted,
        drop=(curves - exact).reshape(-1, k),
    )
    density = log_density(grid, log_mean, square, table.degrees)
    mass = np.exp(density - density.max(axis=(1, 2), keepdims=True)).sum(axis=1)
    mass /= mass.sum(axis=1, keepdims=True)
    share = mass.mean(axis=0).reshape(_N_EXPONENTS, _N_FALLS).sum(axis=1)
    middle = np.cumsum(share) - share / 2
    low, high = (float(np.exp(np.interp(p, middle, alphas))) for p in (0.025, 0.975))
    return Estimate.of(
        float(np.exp(log_alpha)),
        interval=(
            low if low > 1.02 * _SMALLEST else None,
            high if high < _LARGEST / 1.02 else None,
        ),
        n=table.n,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class FreeCurve:
    """The curve of the generalised law that lies closest to the means of the batch sizes.

    Attributes:
        log_exponent: log of its exponent.
        fall: log of the steps at the smallest over those at the largest batch size.
        fitted: log steps at each batch size, shape (k,).
        slopes: of `fitted` around its mean by log exponent and by fall, shape (k, 2).
    """

    log_exponent: float
    fall: float
    fitted: Array
    slopes: Array


def closest_curve(table: StepsTable, log_mean: Array, law: LeastSquares) -> FreeCurve:
    """Least squares on log steps for exponent, fall and level.

    Args:
        table: the observations.
        log_mean: mean log steps by batch size, shape (k,); each counts alike.
        law: the least-squares curve with exponent 1, at which the search starts.
    """
    smallest, largest = table.batch_size[0], table.batch_size[-1]
    steepest = float(np.log(largest / smallest))

    def rise(at: Array, alpha_factor: float = 1.0) -> Array:
        place = places(table.batch_size, smallest, largest, np.exp(at[0]) * alpha_factor)
        return np.asarray(np.log1p(place * np.expm1(at[1])))

    def away(at: Array) -> Array:
        z = log_mean - rise(at)
        return np.asarray(z - z.mean())

    def slopes(at: Array) -> Array:
        place = places(table.batch_size, smallest, largest, np.exp(at[0]))
        here = rise(at)
        by_alpha = (rise(at, np.exp(1e-6)) - here) / 1e-6
        each = np.stack([by_alpha, place * np.exp(at[1] - here)], axis=1)
        return np.asarray(each - each.mean(axis=0))

    low = np.log(_SMALLEST), min(law.fall, -2 * steepest - 2)
    high = np.log(_LARGEST), max(law.fall, 3 * steepest + 2)
    found = optimize.least_squares(
        away,
        (0.0, law.fall),
        lambda at: -slopes(at),
        bounds=(low, high),
        xtol=TOLERANCE,
        ftol=TOLERANCE,
        gtol=TOLERANCE,
    )
    fitted = log_mean - found.fun
    return FreeCurve(
        log_exponent=float(found.x[0]),
        fall=float(found.x[1]),
        fitted=fitted,
        slopes=slopes(found.x),
    )
