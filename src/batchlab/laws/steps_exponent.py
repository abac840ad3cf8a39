"""The generalized law S = S_min (1 + (B_crit/B)^alpha): its exponent with an interval."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from batchlab.laws.exponent_grid import ExponentGrid
from batchlab.laws.free_curve import LARGEST, SMALLEST, closest_curve
from batchlab.laws.steps_least_squares import LeastSquares
from batchlab.laws.steps_posterior import deviation_prior, log_density, ratio_grid
from batchlab.laws.steps_table import NO_SCATTER, Array, StepsTable
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

_N_EXPONENTS = 41


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
    curve = closest_curve(table, log_mean.mean(axis=0), law)
    deviations = curve.square / max(k - 3, 1)
    scatter = float(square.mean()) / max(table.degrees, 1)
    spread = max(deviations, scatter * float(kappa.mean()), NO_SCATTER**2) ** 0.5
    reach = float(stdtrit(max(k - 3, 1), 0.9995))
    steps = np.sinh(np.linspace(-1, 1, _N_EXPONENTS) * np.arcsinh(reach))
    error = curve.covariance(spread)[0, 0] ** 0.5
    alphas = np.clip(curve.log_exponent + error * steps, *np.log([SMALLEST, LARGEST]))
    found = ExponentGrid.around(
        curve,
        table,
        kappa,
        log_exponent=alphas,
        log_prior=np.zeros(_N_EXPONENTS),
        spread=spread,
        reach=reach,
        ratios=ratio_grid(
            kappa, prior=deviation_prior(table), deviations=deviations, scatter=scatter
        ),
    )
    density = log_density(found.grid, log_mean, square, table.degrees)
    mass = np.exp(density - density.max(axis=(1, 2), keepdims=True)).sum(axis=1)
    mass /= mass.sum(axis=1, keepdims=True)
    share = mass.mean(axis=0).reshape(found.fall.shape).sum(axis=1)
    middle = np.cumsum(share) - share / 2
    low, high = (float(np.exp(np.interp(p, middle, alphas))) for p in (0.025, 0.975))
    return Estimate.of(
        float(np.exp(curve.log_exponent)),
        interval=(
            low if low > 1.02 * SMALLEST else None,
            high if high < LARGEST / 1.02 else None,
        ),
        n=table.n,
    )
