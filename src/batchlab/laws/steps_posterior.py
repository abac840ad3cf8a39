"""What the observations leave possible: law, scatter of the seeds, deviations of batch sizes.

The model: log S = log S(B) + u_B + e. The scatter e of the seeds has the standard deviation sigma,
the deviation u_B of a batch size as a whole (its tuned learning rate is never exactly the best one)
the standard deviation tau. Level and sigma are integrated out in closed form; the curve's fall and
tau / sigma lie on a grid, so nothing is iterated and a fit takes milliseconds.

Priors: flat in the level and in the fall (near Jeffreys' choice, since the fall is close to a
location parameter of what is measured), 1/sigma, and a Beta law of the share of tau^2 in the
variance of a batch size's mean, with an atom at 0. With them the intervals cover as stated in
docs/laws.md; that table, not the prior, is the reason to believe them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri, stdtrit

from batchlab.laws.steps_curve import places
from batchlab.laws.steps_table import Array, StepsTable

_N_RATIOS = 20
_N_FALLS = 81
# Prior of the share tau^2 / (tau^2 + mean variance of a mean): a Beta law with an atom at 0. The
# tail of small 1 - share gives t intervals where batch sizes deviate much, the atom keeps those
# narrow where they don't; its weight was set by the coverage table of docs/laws.md.
_REPEATED = (0.5, 0.1, 1.2)
# Without repeats no run tells the two apart and the prior would be believed: a uniform share.
_NOT_REPEATED = (1.0, 1.0, 0.0)
_LOG_ODDS = (-4.5, 9.0)
_CHAINS = 8  # of imputed observations: enough that the spread between them is seen
_SWEEPS = 6
# Scatter below this is arithmetic, not measurement: noise-free points end up with it.
NO_SCATTER = 1e-11


@dataclass(frozen=True, kw_only=True, slots=True)
class LeastSquares:
    """The curve that lies closest to the means of the batch sizes, on a log scale.

    Attributes:
        level: log steps at the largest batch size.
        fall: log of the steps at the smallest over those at the largest.
        exponent: of 1/B; 1 is the law.
        fitted: log steps at each batch size, shape (k,).
        slope: what `fitted` gains by one more unit of fall, shape (k,).
        square: weighted sum of squares of the deviations of the means.
    """

    level: float
    fall: float
    exponent: float
    fitted: Array
    slope: Array
    square: float


def least_squares(
    batch_size: Array, log_mean: Array, weight: Array, *, exponent: float = 1.0
) -> LeastSquares:
    """Least squares on log steps for level and fall: Gauss-Newton from the best of a coarse grid.

    Args:
        batch_size: ascending, shape (k,), k >= 2.
        log_mean: mean log steps of each, shape (k,).
        weight: observations behind each mean, shape (k,).
        exponent: of 1/B, > 0.
    """
    place = places(batch_size, batch_size[0], batch_size[-1], exponent)
    total = weight.sum()
    steepest = exponent * np.log(batch_size[-1] / batch_size[0])

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
    return LeastSquares(
        level=level, fall=fall, exponent=exponent, fitted=level + rise, slope=slope, square=square
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """m joint draws of what the observations leave possible, at the k measured batch sizes.

    Attributes:
        level: log steps at the largest batch size, shape (m,).
        fall: of the curve, shape (m,).
        tau: standard deviation of the batch sizes' own deviations, shape (m,).
        law: log steps of the curve, shape (m, k).
        log_steps: log steps of the configurations as tuned, the law and their own deviation (m, k).
        means: log steps from each batch size's own observations alone, shape (m, k).
        sigma: standard deviation of the seeds, shape (m,).
        kept_share: how much of its own deviation a batch size keeps, mean over draws, shape (k,).
    """

    level: Array
    fall: Array
    tau: Array
    law: Array
    log_steps: Array
    means: Array
    sigma: Array
    kept_share: Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The grid of falls and of tau over sigma for one table.

    Attributes:
        fall: shape (h,).
        log_width: log of each fall's cell, shape (h,).
        ratio_sq: (tau / sigma)^2, shape (r,).
        log_prior: of each ratio, shape (r,).
        kappa: variance of each batch size's mean in units of sigma^2, shape (k,).
        point: the least-squares curve that deviations are taken from.
        place: of each batch size, shape (k,).
        drop: the curves of the grid less the least-squares curve, without levels, shape (h, k).
    """

    fall: Array
    log_width: Array
    ratio_sq: Array
    log_prior: Array
    kappa: Array
    point: LeastSquares
    place: Array
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
    base = log_mean - grid.point.fitted
    away = (base[:, None, :] - grid.drop).reshape(-1, k)
    total = weight.sum(axis=1)
    around = (away**2) @ weight.T - ((away @ weight.T) ** 2) / total
    q = np.maximum(around, 0.0).reshape(len(base), -1, len(grid.ratio_sq)) + (
        square[:, None, None] + NO_SCATTER**2
    )
    log_ratio = 0.5 * np.log(weight).sum(axis=1) - 0.5 * np.log(total) + grid.log_prior
    density = -0.5 * (degrees + k - 1) * np.log(q) + log_ratio + grid.log_width[:, None]
    return np.asarray(np.moveaxis(density, 1, 2))


def ratio_grid(
    kappa: Array, *, repeated: bool, deviations: float, scatter: float
) -> tuple[Array, Array]:
    """Values of (tau / sigma)^2 and the log prior of their cells.

    Args:
        kappa: variances of the batch sizes' means over sigma^2, shape (k,).
        repeated: whether some batch size was run more than once.
        deviations: mean square of the means around the curve.
        scatter: mean square of the seeds around their means. Where it is almost nothing beside the
            deviations (seeds that all agree) the grid reaches up to them.

    Source: Daniels 1999, The Canadian Journal of Statistics 27(3) (priors on the shrinkage share).
    """
    near_0, near_1, atom = _REPEATED if repeated else _NOT_REPEATED
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
    # Beyond these no scatter explains a curve; without an end a flat prior would have none either.
    fall = np.clip(point.fall + error * np.sinh(edge), -steepest - 2, 2 * steepest + 2)
    width = np.gradient(fall)
    ratio_sq, log_prior = ratio_grid(
        kappa, repeated=table.degrees > 0, deviations=deviations, scatter=square / degrees
    )
    place = places(table.batch_size, table.batch_size[0], table.batch_size[-1])
    exact = np.log1p(place * np.expm1(point.fall))
    return Grid(
        fall=fall,
        log_width=np.log(np.maximum(width, 1e-300)),
        ratio_sq=ratio_sq,
        log_prior=log_prior,
        kappa=kappa,
        point=point,
        place=place,
        drop=np.log1p(place * np.expm1(fall)[:, None]) - exact,
    )


def within(table: StepsTable, log_steps: Array) -> tuple[Array, Array]:
    """Sum of squares within batch sizes, (c,), and variances of their means over sigma^2, (k,).

    Where seeds agree better than their evaluations resolve, the resolution is the scatter; and
    then their common rounding does not average out, however many they are.
    """
    square = np.atleast_1d(table.scatter_sum(log_steps))
    kappa = 1 / table.count
    if table.degrees and table.rounding_sq.any():
        square = np.maximum(square, table.degrees * table.rounding_sq.mean())
        resolution = np.bincount(table.group, table.rounding_sq) / table.count
        kappa = np.maximum(kappa, resolution / (float(square.mean()) / table.degrees))
    return square, kappa


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
    square, kappa = within(table, start)
    grid = grid_of(table, start, kappa, float(square[0]))
    chains = _CHAINS if table.open.any() else 1
    log_steps = np.tile(start, (chains, 1))
    per_chain = -(-n_draws // chains)
    for _ in range(_SWEEPS if table.open.any() else 0):
        drawn = _draw(table, grid.thinned(), log_steps, 1, generator)
        log_steps = impute(table, log_steps, drawn.log_steps, drawn.sigma, generator)
    drawn = _draw(table, grid, log_steps, per_chain, generator)
    keep = np.sort(generator.permutation(chains * per_chain)[:n_draws])
    return (
        Draws(
            level=drawn.level[keep],
            fall=drawn.fall[keep],
            tau=drawn.tau[keep],
            law=drawn.law[keep],
            log_steps=drawn.log_steps[keep],
            means=drawn.means[keep],
            sigma=drawn.sigma[keep],
            kept_share=drawn.kept_share,
        ),
        log_steps,
    )


def _draw(
    table: StepsTable, grid: Grid, log_steps: Array, per_chain: int, generator: np.random.Generator
) -> Draws:
    """`per_chain` draws from each imputed table, in the order of the tables."""
    log_mean = table.means(log_steps)
    square, kappa = within(table, log_steps)[0], grid.kappa
    density = log_density(grid, log_mean, square, table.degrees)
    ratio, fall = _cells(density, per_chain, generator)
    chain = np.repeat(np.arange(len(log_mean)), per_chain)
    m = len(chain)
    # Within its cell a fall is spread evenly, or the draws would have as many values as the grid.
    half = 0.5 * np.exp(grid.log_width)[fall]
    falls = grid.fall[fall] + half * generator.uniform(-1, 1, m)
    ratio_sq = grid.ratio_sq[ratio]
    rise = np.log1p(grid.place * np.expm1(falls)[:, None])
    exact = np.log1p(grid.place * np.expm1(grid.point.fall))
    away = (log_mean - grid.point.fitted)[chain] - (rise - exact)
    weight = 1 / (kappa + ratio_sq[:, None])
    total = weight.sum(axis=1)
    mean = (weight * away).sum(axis=1) / total
    q = (weight * (away - mean[:, None]) ** 2).sum(axis=1) + square[chain]
    freedom = table.degrees + len(kappa) - 1
    sigma_sq = q / generator.chisquare(freedom, m)
    shift = mean + np.sqrt(sigma_sq / total) * generator.standard_normal(m)
    own = away - shift[:, None]
    share = ratio_sq[:, None] / (ratio_sq[:, None] + kappa)
    noise = generator.standard_normal((m, len(kappa)))
    deviation = share * own + np.sqrt(sigma_sq[:, None] * share * kappa) * noise
    level = grid.point.level + shift
    law = level[:, None] + rise
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
        law=law,
        log_steps=law + deviation,
        means=log_mean[chain] + np.sqrt(kappa) * sd[:, None] * own_noise,
        sigma=np.sqrt(sigma_sq),
        kept_share=share.mean(axis=0),
    )


def _cells(
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
    # So far out that nothing is left of the tail, its exponential shape is all there is.
    far = ~np.isfinite(z) | (above - below < 1e-300)
    z = np.where(far, last + np.log(generator.uniform(size=mean.shape)) / np.maximum(-last, 1), z)
    z = np.clip(z, first, last)
    changed = log_steps.copy()
    changed[:, where] = mean + sd * np.where(flip, -z, z)
    return changed


def expected(
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
