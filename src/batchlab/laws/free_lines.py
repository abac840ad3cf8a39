"""FreeLines: curves S_min (1 + (B_crit/B)^alpha), each with an exponent of its own, and draws.

B_crit is the batch size at which the steps are twice their least, whatever the exponent. Few grids
tell the exponent well, and B_crit depends on it more than on the scatter of the seeds; so the draws
take in every exponent that the observations leave possible.

The prior of the log exponent is normal around 0 with a standard deviation of 0.4: 95 % between 0.46
and 2.2. It is wide against the exponents of the eight recorded grids (1.04 to 1.34 on the six that
reject the law, docs/laws.md) and matters where few batch sizes tell little. With it the intervals
cover as stated there; that table, not the prior, is the reason to believe them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from batchlab.laws.exponent_grid import ExponentGrid
from batchlab.laws.free_curve import FreeCurve, closest_curve
from batchlab.laws.steps_curve import places
from batchlab.laws.steps_least_squares import LeastSquares
from batchlab.laws.steps_posterior import (
    NOT_REPEATED,
    DeviationPrior,
    cells,
    log_density,
    ratio_grid,
)
from batchlab.laws.steps_table import NO_SCATTER, Array, StepsTable

_PRIOR_SD = 0.4
_PRIOR_ENDS = 4.0  # standard deviations of the prior beyond which no exponent is looked at
_N_EXPONENTS = 33
# The exponent takes up some of what would be deviations from the law with exponent 1, so the atom
# at 0 weighs more here.
_REPEATED: DeviationPrior = (0.5, 0.15, 2.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class FreeLines:
    """Curves by their ends and exponents.

    Attributes:
        level: log steps at the largest measured batch size, shape (m,).
        fall: log of the steps at the smallest over those at the largest, shape (m,).
        exponent: alpha, shape (m,).
        smallest: the smallest measured batch size.
        largest: the largest.
    """

    level: Array
    fall: Array
    exponent: Array
    smallest: float
    largest: float

    @property
    def s_min(self) -> Array:
        """Steps in the limit of large batches; not above 0 where steps do not level off."""
        return np.asarray(np.exp(self.level) * (1 - self._rise * self.largest**-self.exponent))

    @property
    def b_crit(self) -> Array:
        """Where steps are twice S_min; infinite without levelling off, 0 where steps don't fall."""
        rise = self._rise
        rest = 1 - rise * self.largest**-self.exponent
        power = np.divide(rise, rest, out=np.full_like(rise, np.inf), where=rest > 0)
        power = np.where(rise > 0, power, 0.0)
        with np.errstate(over="ignore"):
            return np.asarray(power ** (1 / self.exponent))

    @property
    def _rise(self) -> Array:
        """What the steps over those at the largest batch size gain by one unit of B^-alpha."""
        ends = self.smallest**-self.exponent - self.largest**-self.exponent
        return np.asarray(np.expm1(self.fall) / ends)


def free_lines(
    table: StepsTable,
    expected: Array,
    tables: Array,
    law: LeastSquares,
    *,
    n_draws: int,
    generator: np.random.Generator,
) -> tuple[FreeLines, FreeLines]:
    """The curve closest to the means, its exponent weighed with the prior, and joint draws.

    Args:
        table: k >= 3 batch sizes.
        expected: log steps of every observation, open ones at their expectation, shape (n,).
        tables: the same with open ones imputed, shape (c, n).
        law: the least-squares curve with exponent 1.
        n_draws: how many.
        generator: of random numbers.
    """
    square, kappa = table.within(tables)
    log_mean = table.means(expected)
    scatter = float(square.mean()) / max(table.degrees, 1)
    deviations = _deviations(table, log_mean, law)
    spread = max(deviations, scatter * float(kappa.mean()), NO_SCATTER**2) ** 0.5
    curve = closest_curve(table, log_mean, law, pull=spread / _PRIOR_SD)
    found = _grid(table, kappa, curve, spread=spread, deviations=deviations, scatter=scatter)
    draws = _draw(table, found, tables, square, n_draws=n_draws, generator=generator)
    smallest, largest = float(table.batch_size[0]), float(table.batch_size[-1])
    point = FreeLines(
        level=curve.fitted[-1:],
        fall=np.array([curve.fall]),
        exponent=np.exp([curve.log_exponent]),
        smallest=smallest,
        largest=largest,
    )
    return point, draws


def _deviations(table: StepsTable, log_mean: Array, law: LeastSquares) -> float:
    """Mean square of the means around their own curve, as far as they leave any."""
    k = len(table.batch_size)
    if k > 3:
        return closest_curve(table, log_mean, law).square / (k - 3)
    # Any three means lie on some curve: without repeats only the law tells how far they scatter.
    return 0.0 if table.degrees else law.square / float(table.count.mean())


def _grid(
    table: StepsTable,
    kappa: Array,
    curve: FreeCurve,
    *,
    spread: float,
    deviations: float,
    scatter: float,
) -> ExponentGrid:
    k = len(kappa)
    error = float(curve.covariance(spread)[0, 0] ** 0.5)
    reach = float(stdtrit(max(k - 3, 1), 0.9995)) * error
    middle, end = curve.log_exponent, _PRIOR_ENDS * _PRIOR_SD
    low = max(middle - reach, min(-end, middle - 4 * error))
    high = min(middle + reach, max(end, middle + 4 * error))
    edges = np.arcsinh((np.array([low, high]) - middle) / error)
    log_exponent = middle + error * np.sinh(np.linspace(edges[0], edges[1], _N_EXPONENTS))
    prior = _REPEATED if table.degrees else NOT_REPEATED
    return ExponentGrid.around(
        curve,
        table,
        kappa,
        log_exponent=log_exponent,
        log_prior=-0.5 * (log_exponent / _PRIOR_SD) ** 2,
        spread=spread,
        reach=float(stdtrit(max(k - 2, 1), 0.9995)),
        ratios=ratio_grid(kappa, prior=prior, deviations=deviations, scatter=scatter),
    )


def _draw(
    table: StepsTable,
    found: ExponentGrid,
    tables: Array,
    square: Array,
    *,
    n_draws: int,
    generator: np.random.Generator,
) -> FreeLines:
    """Draws from the grid, each spread over its cell, and a level for each in closed form."""
    log_mean, kappa, grid = table.means(tables), found.grid.kappa, found.grid
    density = log_density(grid, log_mean, square, table.degrees)
    per_chain = -(-n_draws // len(log_mean))
    ratio, cell = cells(density, per_chain, generator)
    m = len(cell)
    row, smallest, largest = cell // found.fall.shape[1], table.batch_size[0], table.batch_size[-1]
    half = 0.5 * np.gradient(found.log_exponent)[row]
    exponent = np.exp(found.log_exponent[row] + half * generator.uniform(-1, 1, m))
    half = 0.5 * np.gradient(found.fall, axis=1).ravel()[cell]
    fall = grid.fall[cell] + half * generator.uniform(-1, 1, m)
    place = np.minimum(places(table.batch_size, smallest, largest, exponent[:, None]), 1.0)
    chain = np.repeat(np.arange(len(log_mean)), per_chain)
    away = log_mean[chain] - np.log1p(place * np.expm1(fall)[:, None])
    weight = 1 / (kappa + grid.ratio_sq[ratio][:, None])
    total = weight.sum(axis=1)
    mean = (weight * away).sum(axis=1) / total
    q = (weight * (away - mean[:, None]) ** 2).sum(axis=1) + square[chain]
    sigma_sq = q / generator.chisquare(table.degrees + len(kappa) - 1, m)
    level = mean + np.sqrt(sigma_sq / total) * generator.standard_normal(m)
    return FreeLines(
        level=level, fall=fall, exponent=exponent, smallest=float(smallest), largest=float(largest)
    )
