"""The curves, scatters and deviations that the observations of steps to target leave possible.

One posterior on a grid of exponents, falls, and deviations of batch sizes over those of seeds. The
law is the grid of the one exponent 1; a grid of many tells the exponent, and what holds whatever it
is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri, stdtrit

from batchlab.laws.steps_curve import (
    LARGEST,
    NO_SCATTER,
    SMALLEST,
    Array,
    ClosestCurve,
    Index,
    StepsCurves,
    StepsTable,
    closest_curve,
    closest_law,
    places,
)
from batchlab.records.estimate import Estimate, Reason

_EM_ROUNDS = 200


def at_expectation(table: StepsTable) -> tuple[Array, ClosestCurve]:
    """Log steps with open observations at their expectation, and the curve through them (EM).

    Args:
        table: k >= 2 batch sizes, at each of which some run reached the target.
    """
    log_steps = table.started()
    point = closest_law(table.batch_size, table.means(log_steps), table.count)
    if not table.open.any():
        return log_steps, point
    spread = np.zeros(table.n)
    for _ in range(_EM_ROUNDS):
        away = log_steps - point.fitted[table.group]
        freedom = max(table.n - 2, 1)
        sigma = max(float(np.sum(away**2 + spread)) / freedom, NO_SCATTER**2) ** 0.5
        before = log_steps
        log_steps, spread = _expected(table, log_steps, point.fitted, sigma)
        point = closest_law(table.batch_size, table.means(log_steps), table.count)
        if float(np.max(np.abs(log_steps - before))) < 1e-3 * sigma:
            break
    return log_steps, point


def _imputed(
    table: StepsTable, log_steps: Array, centre: Array, sigma: Array, generator: np.random.Generator
) -> Array:
    """Log steps (c, n) with the open observations drawn anew between their bounds.

    `centre` are log steps of the batch sizes, shape (c, k), `sigma` the seeds' deviation, (c,).
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


# Powers near 0 and near 1, and the weight of an atom at 0, of the prior of the share
# tau^2 / (tau^2 + mean variance of a mean): a Beta law with an atom at 0. The tail of small
# 1 - share gives t intervals where batch sizes deviate much, the atom keeps those narrow where they
# don't; its weight was set by the table in benchmarks/results/coverage.md.
DeviationPrior = tuple[float, float, float]
_REPEATED: DeviationPrior = (0.5, 0.1, 1.2)
# The exponent takes up some of what would be deviations from the law with exponent 1, so the atom
# at 0 weighs more here.
_REPEATED_WITH_EXPONENT: DeviationPrior = (0.5, 0.15, 2.0)
# Without repeats no run separates the two and the prior decides: a uniform share.
_NOT_REPEATED: DeviationPrior = (1.0, 1.0, 0.0)
_N_RATIOS = 20
_LOG_ODDS = (-4.5, 9.0)
_CHAINS = 8  # of imputed observations: enough that the spread between them is seen
_SWEEPS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """m joint draws of what the observations leave possible, at the k measured batch sizes."""

    curves: StepsCurves  # m of them
    tau: Array  # standard deviation of the batch sizes' own deviations, shape (m,)
    # log steps of the configurations as tuned: curve and own deviation, shape (m, k)
    log_steps: Array
    means: Array  # log steps from each batch size's own observations alone, shape (m, k)
    sigma: Array  # standard deviation of the seeds, shape (m,)
    # how much of its own deviation a batch size keeps, mean over draws, shape (k,)
    kept_share: Array

    def only(self, rows: Index) -> Draws:
        """The draws of these rows, all on the law."""
        curves = replace(self.curves, level=self.curves.level[rows], fall=self.curves.fall[rows])
        return Draws(
            curves=curves,
            tau=self.tau[rows],
            log_steps=self.log_steps[rows],
            means=self.means[rows],
            sigma=self.sigma[rows],
            kept_share=self.kept_share,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """How far means lie from their curve, and seeds from their means."""

    kappa: Array  # variances of the means over that of one seed, shape (k,)
    deviations: float  # mean square of the means around the curve
    seeds: float  # mean square of the seeds around their means
    is_repeated: bool  # whether some batch size was run more than once

    @classmethod
    def around(cls, table: StepsTable, square: Array, kappa: Array, deviations: float) -> Scatter:
        """That of imputed tables with these sums of squares within batch sizes, shape (c,)."""
        degrees = max(table.degrees, 1)
        return cls(
            kappa=kappa,
            deviations=deviations,
            seeds=float(square.mean()) / degrees,
            is_repeated=table.degrees > 0,
        )

    @property
    def spread(self) -> float:
        """Standard deviation of a mean around the curve."""
        of_seeds = self.seeds * float(np.mean(self.kappa))
        return math.sqrt(max(self.deviations, of_seeds, NO_SCATTER**2))

    def ratios(self, repeated: DeviationPrior) -> tuple[Array, Array]:
        """Values of (tau / sigma)^2 and the log prior of their cells.

        Where the seeds scatter almost nothing beside the deviations (seeds that all agree) the grid
        reaches up to them.

        Args:
            repeated: the prior where some batch size was run more than once.

        Source: Daniels 1999, The Canadian Journal of Statistics 27(3) (priors on the shrinkage
            share).
        """
        near_0, near_1, atom = repeated if self.is_repeated else _NOT_REPEATED
        seen = self.deviations / max(self.seeds * float(np.mean(self.kappa)), NO_SCATTER**2)
        highest = max(_LOG_ODDS[1], float(np.log(1e3 * seen + 1)) if self.is_repeated else 0.0)
        log_odds, step = np.linspace(_LOG_ODDS[0], highest, _N_RATIOS, retstep=True)
        log_prior = -near_0 * np.log1p(np.exp(-log_odds)) - near_1 * np.log1p(np.exp(log_odds))
        # All that lies below the grid, and the atom at 0, act like its first value.
        log_prior[0] = np.log((np.exp(_LOG_ODDS[0] * near_0) / near_0 + atom) / step)
        return np.mean(self.kappa) * np.exp(log_odds), log_prior


@dataclass(frozen=True, kw_only=True, slots=True)
class Posterior:
    """Cells of exponent and fall, those of tau over sigma, and what their density takes."""

    batch_size: Array  # shape (k,)
    log_exponent: Array  # shape (a,)
    exponent_weight: Array  # log of each exponent's cell and prior, shape (a,)
    fall: Array  # at each exponent, shape (a, f)
    fall_width: Array  # log of each fall's cell, shape (a, f)
    ratio_sq: Array  # (tau / sigma)^2, shape (r,)
    ratio_prior: Array  # log prior of each, shape (r,)
    kappa: Array  # variance of each batch size's mean in units of sigma^2, shape (k,)
    fitted: Array  # log steps of the curve in the middle, shape (k,)
    drop: Array  # the curves of the cells less that one, without levels, shape (a, f, k)

    @classmethod
    def around(
        cls,
        curve: ClosestCurve,
        batch_size: Array,
        scatter: Scatter,
        *,
        log_exponent: Array,
        exponent_weight: Array,
        n_falls: int,
        reach: float,
        limits: tuple[float, float],
        prior: DeviationPrior,
    ) -> Posterior:
        """The cells at these exponents, the falls spread around what fits at each.

        Args:
            curve: the one in the middle.
            batch_size: ascending, shape (k,).
            scatter: around it.
            log_exponent: ascending, shape (a,).
            exponent_weight: log of each one's cell and prior, shape (a,).
            n_falls: how many falls at each.
            reach: of the falls, in standard errors.
            limits: no scatter explains a curve beyond these falls, and a flat prior needs some.
            prior: of tau over sigma.
        """
        # Fall and exponent lie on a ridge: the falls follow it, and are spread around it.
        ridge = curve.fall + curve.ridge * (log_exponent - curve.log_exponent)
        edge = np.linspace(-1, 1, n_falls) * np.arcsinh(reach)
        error = scatter.spread / curve.stiffness
        fall = np.clip(ridge[:, None] + error * np.sinh(edge), *limits)
        ends = batch_size[0], batch_size[-1]
        place = np.array([places(batch_size, *ends, alpha) for alpha in np.exp(log_exponent)])
        # Rounding can put the first place a hair above 1, and the logarithm below its domain.
        rise = np.log1p(np.minimum(place, 1.0)[:, None, :] * np.expm1(fall)[..., None])
        ratio_sq, ratio_prior = scatter.ratios(prior)
        return cls(
            batch_size=batch_size,
            log_exponent=log_exponent,
            exponent_weight=exponent_weight,
            fall=fall,
            fall_width=np.log(np.maximum(np.gradient(fall, axis=1), 1e-300)),
            ratio_sq=ratio_sq,
            ratio_prior=ratio_prior,
            kappa=scatter.kappa,
            fitted=curve.fitted,
            # The largest batch size has place 0: there a curve is its level.
            drop=rise - (curve.fitted - curve.fitted[-1]),
        )

    def thinned(self) -> Posterior:
        """Every second fall: enough for imputing, at half the price."""
        return replace(
            self,
            fall=self.fall[:, ::2],
            fall_width=self.fall_width[:, ::2] + np.log(2),
            drop=self.drop[:, ::2],
        )

    def log_density(self, log_mean: Array, square: Array, degrees: int) -> Array:
        """Log posterior of ratio and curve, up to a constant, shape (c, r, a * f).

        Args:
            log_mean: means of c imputed tables, shape (c, k).
            square: their sums of squares within batch sizes, shape (c,).
            degrees: degrees of freedom within batch sizes.
        """
        k = len(self.kappa)
        weight = 1 / (self.kappa + self.ratio_sq[:, None])  # (r, k)
        base = log_mean - self.fitted
        away = (base[:, None, :] - self.drop.reshape(-1, k)).reshape(-1, k)
        total = weight.sum(axis=1)
        around = (away**2) @ weight.T - ((away @ weight.T) ** 2) / total
        q = np.maximum(around, 0.0).reshape(len(base), -1, len(self.ratio_sq)) + (
            square[:, None, None] + NO_SCATTER**2
        )
        log_ratio = 0.5 * np.log(weight).sum(axis=1) - 0.5 * np.log(total) + self.ratio_prior
        log_width = (self.fall_width + self.exponent_weight[:, None]).ravel()
        density = -0.5 * (degrees + k - 1) * np.log(q) + log_ratio + log_width[:, None]
        return np.asarray(np.moveaxis(density, 1, 2))

    def draw(
        self, table: StepsTable, log_steps: Array, per_chain: int, generator: np.random.Generator
    ) -> Draws:
        """`per_chain` draws from each imputed table (c, n), in the order of the tables."""
        log_mean, square = table.means(log_steps), table.within(log_steps)[0]
        density = self.log_density(log_mean, square, table.degrees)
        ratio, cell = _cells(density, per_chain, generator)
        chain = np.repeat(np.arange(len(log_mean)), per_chain)
        m, k = len(chain), len(self.kappa)
        curves = self._curves(cell, generator)
        alpha = curves.exponent if isinstance(curves.exponent, float) else curves.exponent[:, None]
        place = np.minimum(places(self.batch_size, curves.smallest, curves.largest, alpha), 1.0)
        rise = np.log1p(place * np.expm1(curves.fall)[:, None])
        away = log_mean[chain] - rise
        ratio_sq = self.ratio_sq[ratio]
        weight = 1 / (self.kappa + ratio_sq[:, None])
        total = weight.sum(axis=1)
        mean = (weight * away).sum(axis=1) / total
        q = (weight * (away - mean[:, None]) ** 2).sum(axis=1) + square[chain]
        sigma_sq = q / generator.chisquare(table.degrees + k - 1, m)
        level = mean + np.sqrt(sigma_sq / total) * generator.standard_normal(m)
        own = away - level[:, None]
        share = ratio_sq[:, None] / (ratio_sq[:, None] + self.kappa)
        noise = generator.standard_normal((m, k))
        deviation = share * own + np.sqrt(sigma_sq[:, None] * share * self.kappa) * noise
        # The means' own error uses the scatter of the seeds alone: chi-square with their degrees.
        if table.degrees:
            sd = np.sqrt(square[chain] / generator.chisquare(table.degrees, m))
        else:
            sd = np.full(m, np.nan)
        own_noise = generator.standard_normal((m, k))
        return Draws(
            curves=replace(curves, level=level),
            tau=np.sqrt(sigma_sq * ratio_sq),
            log_steps=level[:, None] + rise + deviation,
            means=log_mean[chain] + np.sqrt(self.kappa) * sd[:, None] * own_noise,
            sigma=np.sqrt(sigma_sq),
            kept_share=share.mean(axis=0),
        )

    def _curves(self, cell: Index, generator: np.random.Generator) -> StepsCurves:
        """The curves of these cells, without levels.

        Within its cell each is spread evenly, or the draws would have as many values as the grid.
        """
        exponent: float | Array = 1.0
        if len(self.log_exponent) > 1:
            row = cell // self.fall.shape[1]
            half = 0.5 * np.gradient(self.log_exponent)[row]
            exponent = np.exp(self.log_exponent[row] + half * generator.uniform(-1, 1, len(cell)))
        half = 0.5 * np.exp(self.fall_width.ravel())[cell]
        fall = self.fall.ravel()[cell] + half * generator.uniform(-1, 1, len(cell))
        return StepsCurves(
            level=np.zeros(len(cell)),
            fall=fall,
            exponent=exponent,
            smallest=float(self.batch_size[0]),
            largest=float(self.batch_size[-1]),
        )


def _cells(density: Array, per_chain: int, generator: np.random.Generator) -> tuple[Index, Index]:
    """Ratio and curve of `per_chain` cells from each table, by systematic sampling."""
    chains, _, n_curves = density.shape
    flat = density.reshape(chains, -1)
    cumulated = np.cumsum(np.exp(flat - flat.max(axis=1, keepdims=True)), axis=1)
    cumulated /= cumulated[:, -1:]
    at = (np.arange(per_chain) + generator.uniform(size=(chains, per_chain))) / per_chain
    cell = np.array([np.searchsorted(row, want) for row, want in zip(cumulated, at, strict=True)])
    cell = np.minimum(cell.ravel(), flat.shape[1] - 1)
    return cell // n_curves, cell % n_curves


def _reach(degrees: int) -> float:
    """How many standard errors a t law needs."""
    return float(stdtrit(max(degrees, 1), 0.9995))


_N_FALLS_OF_LAW = 81


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
    log_mean = table.means(start)
    curve = closest_law(table.batch_size, log_mean, table.count)
    k = len(log_mean)
    deviations = float(np.sum((log_mean - curve.fitted) ** 2)) / max(k - 2, 1)
    steepest = float(np.log(table.batch_size[-1] / table.batch_size[0]))
    posterior = Posterior.around(
        curve,
        table.batch_size,
        Scatter.around(table, *table.within(start), deviations),
        log_exponent=np.zeros(1),
        exponent_weight=np.zeros(1),
        n_falls=_N_FALLS_OF_LAW,
        reach=_reach(k - 2),
        limits=(-steepest - 2, 2 * steepest + 2),
        prior=_REPEATED,
    )
    chains = _CHAINS if table.open.any() else 1
    log_steps = np.tile(start, (chains, 1))
    per_chain = -(-n_draws // chains)
    for _ in range(_SWEEPS if table.open.any() else 0):
        drawn = posterior.thinned().draw(table, log_steps, 1, generator)
        log_steps = _imputed(table, log_steps, drawn.log_steps, drawn.sigma, generator)
    drawn = posterior.draw(table, log_steps, per_chain, generator)
    keep = np.sort(generator.permutation(chains * per_chain)[:n_draws])
    return drawn.only(keep), log_steps


_N_FALLS = 25
_FALL_LIMITS = (-20.0, 60.0)
_PRIOR_SD = 0.4  # of log exponent
_PRIOR_ENDS = 4.0  # standard deviations of the prior beyond which no exponent is looked at
_N_EXPONENTS = 33


def draw_curves(
    table: StepsTable,
    expected: Array,
    tables: Array,
    law: ClosestCurve,
    *,
    n_draws: int,
    generator: np.random.Generator,
) -> tuple[StepsCurves, StepsCurves]:
    """The curve closest to the means, its exponent weighed with the prior, and joint draws.

    Args:
        table: k >= 3 batch sizes.
        expected: log steps of every observation, open ones at their expectation, shape (n,).
        tables: the same with open ones imputed, shape (c, n).
        law: the closest curve with exponent 1.
        n_draws: how many.
        generator: of random numbers.
    """
    log_mean, k = table.means(expected), len(table.batch_size)
    scatter = Scatter.around(table, *table.within(tables), _deviations(table, log_mean, law))
    pull = scatter.spread / _PRIOR_SD
    curve = closest_curve(table.batch_size, log_mean, law, pull=pull)
    error = scatter.spread / curve.exponent_stiffness
    middle, end, reach = curve.log_exponent, _PRIOR_ENDS * _PRIOR_SD, _reach(k - 3) * error
    low = max(middle - reach, min(-end, middle - 4 * error))
    high = min(middle + reach, max(end, middle + 4 * error))
    edges = np.arcsinh((np.array([low, high]) - middle) / error)
    log_exponent = middle + error * np.sinh(np.linspace(edges[0], edges[1], _N_EXPONENTS))
    posterior = Posterior.around(
        curve,
        table.batch_size,
        scatter,
        log_exponent=log_exponent,
        exponent_weight=_log_cells(log_exponent) - 0.5 * (log_exponent / _PRIOR_SD) ** 2,
        n_falls=_N_FALLS,
        reach=_reach(k - 2),
        limits=_FALL_LIMITS,
        prior=_REPEATED_WITH_EXPONENT,
    )
    draws = posterior.draw(table, tables, -(-n_draws // len(tables)), generator)
    point = StepsCurves(
        level=curve.fitted[-1:],
        fall=np.array([curve.fall]),
        exponent=np.exp([curve.log_exponent]),
        smallest=draws.curves.smallest,
        largest=draws.curves.largest,
    )
    return point, draws.curves


def _deviations(table: StepsTable, log_mean: Array, law: ClosestCurve) -> float:
    """Mean square of the means around their own curve, as far as they leave any."""
    k = len(table.batch_size)
    if k > 3:
        return closest_curve(table.batch_size, log_mean, law).square / (k - 3)
    # Any three means lie on some curve: without repeats only the law tells how far they scatter.
    return 0.0 if table.degrees else law.square / float(table.count.mean())


def _log_cells(at: Array) -> Array:
    return np.asarray(np.log(np.maximum(np.gradient(at), 1e-300)))


_N_EXPONENTS_TOLD = 41


def exponent_of(table: StepsTable, log_steps: Array, law: ClosestCurve) -> Estimate:
    """The exponent that fits the observations best; 1 is the law.

    Args:
        table: the observations.
        log_steps: several imputed tables of their log steps, shape (c, n).
        law: the closest curve with exponent 1.

    Returns:
        Least squares on log steps, with the interval of its posterior under a prior flat in
        log alpha. A bound below 0.1 or above 10 is None; where the best fit is there, it cannot
        be told.
    """
    k = len(table.batch_size)
    if k < 4:
        return Estimate.cannot_tell(Reason.of("exponent_needs_four", n=k), n=table.n)
    square, kappa = table.within(log_steps)
    log_mean = table.means(log_steps)
    curve = closest_curve(table.batch_size, log_mean.mean(axis=0), law)
    scatter = Scatter.around(table, square, kappa, curve.square / max(k - 3, 1))
    reach = _reach(k - 3)
    steps = np.sinh(np.linspace(-1, 1, _N_EXPONENTS_TOLD) * np.arcsinh(reach))
    error = scatter.spread / curve.exponent_stiffness
    alphas = np.clip(curve.log_exponent + error * steps, *np.log([SMALLEST, LARGEST]))
    posterior = Posterior.around(
        curve,
        table.batch_size,
        scatter,
        log_exponent=alphas,
        exponent_weight=_log_cells(alphas),
        n_falls=_N_FALLS,
        reach=reach,
        limits=_FALL_LIMITS,
        prior=_REPEATED,
    )
    density = posterior.log_density(log_mean, square, table.degrees)
    mass = np.exp(density - density.max(axis=(1, 2), keepdims=True)).sum(axis=1)
    mass /= mass.sum(axis=1, keepdims=True)
    share = mass.mean(axis=0).reshape(posterior.fall.shape).sum(axis=1)
    middle = np.cumsum(share) - share / 2
    ends = (float(np.exp(np.interp(p, middle, alphas))) for p in (0.025, 0.975))
    least, most = 1.02 * SMALLEST, LARGEST / 1.02
    low, high = (end if least < end < most else None for end in ends)
    value = float(np.exp(curve.log_exponent))
    if least < value < most:
        return Estimate.of(value, interval=(low, high), n=table.n)
    why = Reason.of("exponent_beyond_limits", smallest=SMALLEST, largest=LARGEST)
    return Estimate.cannot_tell(why, low=low, high=high, n=table.n)
