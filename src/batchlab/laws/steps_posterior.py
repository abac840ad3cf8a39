"""Draws: the laws, scatters and deviations that the observations leave possible.

The model: log S = log S(B) + u_B + e. The scatter e of the seeds has the standard deviation sigma,
the deviation u_B of a batch size as a whole (its tuned learning rate is never exactly the best one)
the standard deviation tau. Level and sigma are integrated out in closed form, the curve's fall and
tau / sigma on a grid, so nothing is iterated and a fit takes milliseconds.

Priors: flat in the level and in the fall (near Jeffreys' choice, since the fall is close to a
location parameter of what is measured), 1/sigma, and a Beta law of the share of tau^2 in the
variance of a batch size's mean, with an atom at 0. With them the intervals cover as stated in
docs/laws.md; that table, not the prior, is the reason to believe them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from batchlab.laws.open_observations import impute
from batchlab.laws.steps_curve import places
from batchlab.laws.steps_least_squares import least_squares
from batchlab.laws.steps_table import NO_SCATTER, Array, StepsTable

# Powers near 0 and near 1, and the weight of an atom at 0.
DeviationPrior = tuple[float, float, float]

_N_RATIOS = 20
_N_FALLS = 81
# Prior of the share tau^2 / (tau^2 + mean variance of a mean): a Beta law with an atom at 0. The
# tail of small 1 - share gives t intervals where batch sizes deviate much, the atom keeps those
# narrow where they don't; its weight was set by the coverage table of docs/laws.md.
_REPEATED: DeviationPrior = (0.5, 0.1, 1.2)
# Without repeats no run separates the two and the prior decides: a uniform share.
NOT_REPEATED: DeviationPrior = (1.0, 1.0, 0.0)
_LOG_ODDS = (-4.5, 9.0)
_CHAINS = 8  # of imputed observations: enough that the spread between them is seen
_SWEEPS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """m joint draws of what the observations leave possible, at the k measured batch sizes.

    Attributes:
        level: log steps at the largest batch size, shape (m,).
        fall: of the curve, shape (m,).
        tau: standard deviation of the batch sizes' own deviations, shape (m,).
        log_steps: log steps of the configurations as tuned, the law and their own deviation (m, k).
        means: log steps from each batch size's own observations alone, shape (m, k).
        sigma: standard deviation of the seeds, shape (m,).
        kept_share: how much of its own deviation a batch size keeps, mean over draws, shape (k,).
    """

    level: Array
    fall: Array
    tau: Array
    log_steps: Array
    means: Array
    sigma: Array
    kept_share: Array

    def only(self, rows: NDArray[np.intp]) -> Draws:
        """The draws of these rows."""
        return Draws(
            level=self.level[rows],
            fall=self.fall[rows],
            tau=self.tau[rows],
            log_steps=self.log_steps[rows],
            means=self.means[rows],
            sigma=self.sigma[rows],
            kept_share=self.kept_share,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The grid of falls and of tau over sigma for one table.

    Attributes:
        fall: shape (h,).
        log_width: log of each fall's cell, shape (h,).
        ratio_sq: (tau / sigma)^2, shape (r,).
        log_prior: of each ratio, shape (r,).
        kappa: variance of each batch size's mean in units of sigma^2, shape (k,).
        fitted: log steps of the least-squares curve, shape (k,).
        drop: the curves of the grid less that one, without levels, shape (h, k).
    """

    fall: Array
    log_width: Array
    ratio_sq: Array
    log_prior: Array
    kappa: Array
    fitted: Array
    drop: Array

    def thinned(self) -> Grid:
        """Every second fall: enough for imputing, at half the price."""
        return replace(
            self,
            fall=self.fall[::2],
            log_width=self.log_width[::2] + np.log(2),
            drop=self.drop[::2],
        )


def log_density(grid: Grid, log_mean: Array, square: Array, degrees: int) -> Array:
    """Log posterior of fall and ratio, up to a constant, shape (c, r, h).

    Args:
        grid: the falls and ratios.
        log_mean: means of c imputed tables, shape (c, k).
        square: their sums of squares within batch sizes, shape (c,).
        degrees: degrees of freedom within batch sizes.
    """
    k = len(grid.kappa)
    weight = 1 / (grid.kappa + grid.ratio_sq[:, None])  # (r, k)
    base = log_mean - grid.fitted
    away = (base[:, None, :] - grid.drop).reshape(-1, k)
    total = weight.sum(axis=1)
    around = (away**2) @ weight.T - ((away @ weight.T) ** 2) / total
    q = np.maximum(around, 0.0).reshape(len(base), -1, len(grid.ratio_sq)) + (
        square[:, None, None] + NO_SCATTER**2
    )
    log_ratio = 0.5 * np.log(weight).sum(axis=1) - 0.5 * np.log(total) + grid.log_prior
    density = -0.5 * (degrees + k - 1) * np.log(q) + log_ratio + grid.log_width[:, None]
    return np.asarray(np.moveaxis(density, 1, 2))


def deviation_prior(table: StepsTable) -> DeviationPrior:
    """The prior of a table under the law: whether some batch size was run more than once."""
    return _REPEATED if table.degrees else NOT_REPEATED


def ratio_grid(
    kappa: Array, *, prior: DeviationPrior, deviations: float, scatter: float
) -> tuple[Array, Array]:
    """Values of (tau / sigma)^2 and the log prior of their cells.

    Args:
        kappa: variances of the batch sizes' means over sigma^2, shape (k,).
        prior: of the share of tau^2 in the variance of a mean.
        deviations: mean square of the means around the curve.
        scatter: mean square of the seeds around their means. Where it is almost nothing beside the
            deviations (seeds that all agree) the grid reaches up to them.

    Source: Daniels 1999, The Canadian Journal of Statistics 27(3) (priors on the shrinkage share).
    """
    near_0, near_1, atom = prior
    repeated = prior != NOT_REPEATED
    seen = deviations / max(scatter * float(np.mean(kappa)), NO_SCATTER**2)
    highest = max(_LOG_ODDS[1], float(np.log(1e3 * seen + 1)) if repeated else 0.0)
    log_odds, step = np.linspace(_LOG_ODDS[0], highest, _N_RATIOS, retstep=True)
    log_prior = -near_0 * np.log1p(np.exp(-log_odds)) - near_1 * np.log1p(np.exp(log_odds))
    # All that lies below the grid, and the atom at 0, act like its first value.
    log_prior[0] = np.log((np.exp(_LOG_ODDS[0] * near_0) / near_0 + atom) / step)
    return np.mean(kappa) * np.exp(log_odds), log_prior


def grid_of(table: StepsTable, log_steps: Array, kappa: Array, square: float) -> Grid:
    """The grid around the least-squares curve of `log_steps` (n,), as wide as a t law needs."""
    log_mean = table.means(log_steps)
    point = least_squares(table.batch_size, log_mean, table.count)
    k = len(log_mean)
    degrees = max(table.degrees, 1)
    deviations = float(np.sum((log_mean - point.fitted) ** 2)) / max(k - 2, 1)
    spread = max(deviations, square / degrees * float(np.mean(kappa)), NO_SCATTER**2) ** 0.5
    around = point.slope - point.slope.mean()
    error = spread / max(float(np.sum(around**2)) ** 0.5, 1e-3)
    reach = float(stdtrit(max(k - 2, 1), 0.9995))
    steepest = float(np.log(table.batch_size[-1] / table.batch_size[0]))
    edge = np.linspace(-1, 1, _N_FALLS) * np.arcsinh(reach)
    # No scatter explains a curve beyond these ends, and a flat prior needs some.
    fall = np.clip(point.fall + error * np.sinh(edge), -steepest - 2, 2 * steepest + 2)
    width = np.gradient(fall)
    ratio_sq, log_prior = ratio_grid(
        kappa, prior=deviation_prior(table), deviations=deviations, scatter=square / degrees
    )
    place = places(table.batch_size, table.batch_size[0], table.batch_size[-1])
    # The largest batch size has place 0: there a curve is its level.
    exact = point.fitted - point.fitted[-1]
    return Grid(
        fall=fall,
        log_width=np.log(np.maximum(width, 1e-300)),
        ratio_sq=ratio_sq,
        log_prior=log_prior,
        kappa=kappa,
        fitted=point.fitted,
        drop=np.log1p(place * np.expm1(fall)[:, None]) - exact,
    )


def draw_law(
    table: StepsTable, start: Array, *, n_draws: int, generator: np.random.Generator
) -> tuple[Draws, Array]:
    """Joint draws under the law; open observations are imputed on the way.

    Args:
        table: k >= 3 batch sizes.
        start: log steps of every observation, open ones at their expectation, shape (n,).
        n_draws: how many.
        generator: of random numbers.

    Returns:
        The draws, and the imputed tables that they come from, shape (c, n).
    """
    square, kappa = table.within(start)
    grid = grid_of(table, start, kappa, float(square[0]))
    chains = _CHAINS if table.open.any() else 1
    log_steps = np.tile(start, (chains, 1))
    per_chain = -(-n_draws // chains)
    for _ in range(_SWEEPS if table.open.any() else 0):
        drawn = _draw(table, grid.thinned(), log_steps, 1, generator)
        log_steps = impute(table, log_steps, drawn.log_steps, drawn.sigma, generator)
    drawn = _draw(table, grid, log_steps, per_chain, generator)
    keep = np.sort(generator.permutation(chains * per_chain)[:n_draws])
    return drawn.only(keep), log_steps


def _draw(
    table: StepsTable, grid: Grid, log_steps: Array, per_chain: int, generator: np.random.Generator
) -> Draws:
    """`per_chain` draws from each imputed table, in the order of the tables."""
    log_mean = table.means(log_steps)
    square, kappa = table.within(log_steps)[0], grid.kappa
    density = log_density(grid, log_mean, square, table.degrees)
    ratio, fall = cells(density, per_chain, generator)
    chain = np.repeat(np.arange(len(log_mean)), per_chain)
    m = len(chain)
    # Within its cell a fall is spread evenly, or the draws would have as many values as the grid.
    half = 0.5 * np.exp(grid.log_width)[fall]
    falls = grid.fall[fall] + half * generator.uniform(-1, 1, m)
    ratio_sq = grid.ratio_sq[ratio]
    place = places(table.batch_size, table.batch_size[0], table.batch_size[-1])
    rise = np.log1p(place * np.expm1(falls)[:, None])
    away = log_mean[chain] - rise
    weight = 1 / (kappa + ratio_sq[:, None])
    total = weight.sum(axis=1)
    mean = (weight * away).sum(axis=1) / total
    q = (weight * (away - mean[:, None]) ** 2).sum(axis=1) + square[chain]
    freedom = table.degrees + len(kappa) - 1
    sigma_sq = q / generator.chisquare(freedom, m)
    level = mean + np.sqrt(sigma_sq / total) * generator.standard_normal(m)
    own = away - level[:, None]
    share = ratio_sq[:, None] / (ratio_sq[:, None] + kappa)
    noise = generator.standard_normal((m, len(kappa)))
    deviation = share * own + np.sqrt(sigma_sq[:, None] * share * kappa) * noise
    # The means' own error uses the scatter of the seeds alone: chi-square with their degrees.
    if table.degrees:
        sd = np.sqrt(square[chain] / generator.chisquare(table.degrees, m))
    else:
        sd = np.full(m, np.nan)
    own_noise = generator.standard_normal((m, len(kappa)))
    return Draws(
        level=level,
        fall=falls,
        tau=np.sqrt(sigma_sq * ratio_sq),
        log_steps=level[:, None] + rise + deviation,
        means=log_mean[chain] + np.sqrt(kappa) * sd[:, None] * own_noise,
        sigma=np.sqrt(sigma_sq),
        kept_share=share.mean(axis=0),
    )


def cells(
    density: Array, per_chain: int, generator: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Ratio and fall of `per_chain` cells from each table, by systematic sampling."""
    chains, _, n_falls = density.shape
    flat = density.reshape(chains, -1)
    cumulated = np.cumsum(np.exp(flat - flat.max(axis=1, keepdims=True)), axis=1)
    cumulated /= cumulated[:, -1:]
    at = (np.arange(per_chain) + generator.uniform(size=(chains, per_chain))) / per_chain
    cell = np.array([np.searchsorted(row, want) for row, want in zip(cumulated, at, strict=True)])
    cell = np.minimum(cell.ravel(), flat.shape[1] - 1)
    return cell // n_falls, cell % n_falls
