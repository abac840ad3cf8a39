"""The laws, scatters and deviations that the observations of steps to target leave possible."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import log_ndtr, ndtr, ndtri, stdtrit

from batchlab.laws.steps_curve import (
    NO_SCATTER,
    TOLERANCE,
    Array,
    LeastSquares,
    StepsTable,
    least_squares,
    places,
)
from batchlab.records.estimate import Estimate, Reason

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


# Powers near 0 and near 1, and the weight of an atom at 0.
DeviationPrior = tuple[float, float, float]

_N_RATIOS = 20
_N_FALLS = 81
# Prior of the share tau^2 / (tau^2 + mean variance of a mean): a Beta law with an atom at 0. The
# tail of small 1 - share gives t intervals where batch sizes deviate much, the atom keeps those
# narrow where they don't; its weight was set by the table in benchmarks/results/coverage.md.
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


_EXPONENT_GRID_N_FALLS = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class ExponentGrid:
    """Exponents, the falls at each, and the grid of densities over both.

    Attributes:
        log_exponent: ascending, shape (a,).
        fall: of each exponent, shape (a, f).
        grid: over exponents and falls, flat, with the ratios of tau to sigma.
    """

    log_exponent: Array
    fall: Array
    grid: Grid

    @classmethod
    def around(
        cls,
        curve: FreeCurve,
        table: StepsTable,
        kappa: Array,
        *,
        log_exponent: Array,
        log_prior: Array,
        spread: float,
        reach: float,
        ratios: tuple[Array, Array],
    ) -> ExponentGrid:
        """The grid at these exponents, the falls spread around what fits at each.

        Args:
            curve: the one in the middle.
            table: the observations.
            kappa: variances of the batch sizes' means over that of one seed, shape (k,).
            log_exponent: ascending, shape (a,).
            log_prior: density of each, shape (a,).
            spread: standard deviation of a mean around the curve.
            reach: of the falls, in standard errors.
            ratios: values of (tau / sigma)^2 and the log prior of their cells.
        """
        # Fall and exponent lie on a ridge: the falls follow it, and are spread around it.
        covariance, across = curve.covariance(spread), curve.fall_sd(spread)
        ridge = curve.fall + covariance[0, 1] / covariance[0, 0] * (
            log_exponent - curve.log_exponent
        )
        edge = np.sinh(np.linspace(-1, 1, _EXPONENT_GRID_N_FALLS) * np.arcsinh(reach))
        fall = np.clip(ridge[:, None] + across * edge, -20, 60)
        smallest, largest = table.batch_size[0], table.batch_size[-1]
        place = np.array(
            [places(table.batch_size, smallest, largest, a) for a in np.exp(log_exponent)]
        )
        # Rounding can put the first place a hair above 1, and the logarithm below its domain.
        place = np.minimum(place, 1.0)
        curves = np.log1p(place[:, None, :] * np.expm1(fall)[..., None])
        # The largest batch size has place 0: there the curve is its level.
        exact = curve.fitted - curve.fitted[-1]
        width = np.log(np.maximum(np.gradient(fall, axis=1), 1e-300))
        across_exponents = np.log(np.maximum(np.gradient(log_exponent), 1e-300)) + log_prior
        grid = Grid(
            fall=fall.ravel(),
            log_width=(width + across_exponents[:, None]).ravel(),
            ratio_sq=ratios[0],
            log_prior=ratios[1],
            kappa=kappa,
            fitted=curve.fitted,
            drop=(curves - exact).reshape(-1, len(kappa)),
        )
        return cls(log_exponent=log_exponent, fall=fall, grid=grid)


_PRIOR_SD = 0.4
_PRIOR_ENDS = 4.0  # standard deviations of the prior beyond which no exponent is looked at
_N_EXPONENTS = 33
# The exponent takes up some of what would be deviations from the law with exponent 1, so the atom
# at 0 weighs more here.
_FREE_LINES_REPEATED: DeviationPrior = (0.5, 0.15, 2.0)


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
    draws = _free_lines_draw(table, found, tables, square, n_draws=n_draws, generator=generator)
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
    prior = _FREE_LINES_REPEATED if table.degrees else NOT_REPEATED
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


def _free_lines_draw(
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


_STEPS_EXPONENT_N_EXPONENTS = 41


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
    steps = np.sinh(np.linspace(-1, 1, _STEPS_EXPONENT_N_EXPONENTS) * np.arcsinh(reach))
    error = curve.covariance(spread)[0, 0] ** 0.5
    alphas = np.clip(curve.log_exponent + error * steps, *np.log([SMALLEST, LARGEST]))
    found = ExponentGrid.around(
        curve,
        table,
        kappa,
        log_exponent=alphas,
        log_prior=np.zeros(_STEPS_EXPONENT_N_EXPONENTS),
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
