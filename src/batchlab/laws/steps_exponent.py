"""The generalised law S = S_min (1 + (B_crit/B)^alpha): its exponent with an interval."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from batchlab.laws.steps_curve import places
from batchlab.laws.steps_least_squares import LeastSquares
from batchlab.laws.steps_posterior import Grid, log_density, ratio_grid
from batchlab.laws.steps_table import NO_SCATTER, Array, StepsTable
from batchlab.records.estimate import Estimate

_SMALLEST, _LARGEST = 0.1, 10.0
_N_EXPONENTS = 41
_N_FALLS = 25


def exponent_of(table: StepsTable, log_steps: Array, law: LeastSquares) -> Estimate:
    """The exponent that the observations ask for; 1 is the law.

    Args:
        table: the observations.
        log_steps: their log steps, or several imputed tables of them, shape (c, n).
        law: the least-squares curve with exponent 1.

    Returns:
        Least squares on log steps, with the interval of its posterior under a prior flat in
        log alpha. A bound below 0.1 or above 10 can't be told.
    """
    k = len(table.batch_size)
    if k < 4:
        return Estimate.cannot_tell(
            f"an exponent beside S_min and B_crit needs at least 4 distinct batch sizes, given {k}",
            n=table.n,
        )
    square, kappa = table.within(log_steps)
    log_mean = table.means(log_steps)
    centre = log_mean.mean(axis=0)
    log_alpha, fall, fitted, slopes = _least_squares(table, centre, law)
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


def _least_squares(
    table: StepsTable, log_mean: Array, law: LeastSquares
) -> tuple[float, float, Array, Array]:
    """Log exponent, fall, fitted log steps and their slopes around the mean (k, 2).

    Levenberg-Marquardt from the law; the exponent stays between its ends.
    """
    smallest, largest = table.batch_size[0], table.batch_size[-1]
    log_ends = np.log([smallest, largest])

    def at(log_alpha: float, fall: float) -> tuple[float, Array, Array]:
        alpha = float(np.exp(log_alpha))
        place = places(table.batch_size, smallest, largest, alpha)
        rise = np.log1p(place * np.expm1(fall))
        fitted = rise + np.mean(log_mean - rise)
        near = places(table.batch_size, smallest, largest, alpha * np.exp(1e-6))
        by_alpha = (np.log1p(near * np.expm1(fall)) - rise) / 1e-6
        slopes = np.stack([by_alpha, place * np.exp(fall - rise)], axis=1)
        return float(np.sum((log_mean - fitted) ** 2)), fitted, slopes - slopes.mean(axis=0)

    steepest = float(log_ends[1] - log_ends[0])
    log_alpha, fall, damping = 0.0, law.fall, 1e-6
    square, fitted, slopes = at(log_alpha, fall)
    for _ in range(60):
        normal = slopes.T @ slopes
        step = np.linalg.solve(
            normal + np.diag(damping * normal.diagonal() + 1e-15), slopes.T @ (log_mean - fitted)
        )
        next_alpha = float(np.clip(log_alpha + step[0], *np.log([_SMALLEST, _LARGEST])))
        next_fall = float(np.clip(fall + step[1], -2 * steepest - 2, 3 * steepest + 2))
        tried = at(next_alpha, next_fall)
        moved = abs(next_alpha - log_alpha) + abs(next_fall - fall)
        if tried[0] <= square:
            log_alpha, fall, (square, fitted, slopes) = next_alpha, next_fall, tried
            damping = max(damping / 10, 1e-12)
        else:
            damping *= 10
        if moved < 1e-12 or damping > 1e12:
            break
    return log_alpha, fall, fitted, slopes
