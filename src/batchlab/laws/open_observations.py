"""Open observations: bounds and wide intervals, at their expectation or drawn at random."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from batchlab.laws.steps_least_squares import LeastSquares, least_squares
from batchlab.laws.steps_table import NO_SCATTER, Array, StepsTable

_EM_ROUNDS = 200


def at_expectation(table: StepsTable) -> tuple[Array, LeastSquares]:
    """Log steps with open observations at their expectation, and the curve through them (EM).

    Args:
        table: k >= 2 batch sizes, at each of which some run reached the target.
    """
    log_steps = table.started()
    point = least_squares(table.batch_size, table.means(log_steps), table.count)
    if not table.open.any():
        return log_steps, point
    spread = np.zeros(table.n)
    for _ in range(_EM_ROUNDS):
        away = log_steps - point.fitted[table.group]
        freedom = max(table.n - 2, 1)
        sigma = max(float(np.sum(away**2 + spread)) / freedom, NO_SCATTER**2) ** 0.5
        before = log_steps
        log_steps, spread = _expected(table, log_steps, point.fitted, sigma)
        point = least_squares(table.batch_size, table.means(log_steps), table.count)
        if float(np.max(np.abs(log_steps - before))) < 1e-3 * sigma:
            break
    return log_steps, point


def impute(
    table: StepsTable, log_steps: Array, centre: Array, sigma: Array, generator: np.random.Generator
) -> Array:
    """Log steps with the open observations drawn anew between their bounds.

    Args:
        table: n observations at k batch sizes.
        log_steps: c tables, shape (c, n).
        centre: log steps of the k batch sizes, shape (c, k).
        sigma: standard deviation of the seeds, shape (c,).
        generator: of random numbers.
    """
    where = table.open
    mean, sd = centre[:, table.group[where]], sigma[:, None]
    low, high = (table.low[where] - mean) / sd, (table.high[where] - mean) / sd
    flip = low > 0  # the upper tail is drawn as the lower one: there it keeps its digits
    first, last = np.where(flip, -high, low), np.where(flip, -low, high)
    below, above = ndtr(first), ndtr(last)
    z = ndtri(below + (above - below) * generator.uniform(size=mean.shape))
    # So far out the tail underflows; there it is exponential.
    far = ~np.isfinite(z) | (above - below < 1e-300)
    z = np.where(far, last + np.log(generator.uniform(size=mean.shape)) / np.maximum(-last, 1), z)
    z = np.clip(z, first, last)
    changed = log_steps.copy()
    changed[:, where] = mean + sd * np.where(flip, -z, z)
    return changed


def _expected(
    table: StepsTable, log_steps: Array, centre: Array, sigma: float
) -> tuple[Array, Array]:
    """Log steps with the open observations at their expectation, and their variances, (n,).

    The mean and variance of a normal law cut at the bounds, `centre` (k,) its mean.
    """
    where = table.open
    mean = centre[table.group[where]]
    low, high = (table.low[where] - mean) / sigma, (table.high[where] - mean) / sigma
    flip = low > 0
    first, last = np.where(flip, -high, low), np.where(flip, -low, high)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        log_above, log_below = log_ndtr(last), log_ndtr(first)
        log_mass = log_above + np.log1p(-np.exp(np.minimum(log_below - log_above, -1e-15)))
        at_last = np.exp(-0.5 * last**2 - 0.5 * np.log(2 * np.pi) - log_mass)
        at_first = np.exp(-0.5 * first**2 - 0.5 * np.log(2 * np.pi) - log_mass)
        z = at_first - at_last
        ends = np.where(np.isfinite(first), first, 0) * at_first
        ends = ends - np.where(np.isfinite(last), last, 0) * at_last
        variance = 1 + ends - z**2
    z = np.clip(np.where(np.isfinite(z), z, last), first, last)
    completed, spread = log_steps.copy(), np.zeros(len(log_steps))
    completed[where] = mean + sigma * np.where(flip, -z, z)
    spread[where] = sigma**2 * np.clip(np.where(np.isfinite(variance), variance, 0), 0, 1)
    return completed, spread
