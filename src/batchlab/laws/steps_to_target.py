"""StepsToTargetFit: the law S(B) = S_min (1 + B_crit/B) and what the observations say beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from batchlab.errors import FitError
from batchlab.laws.lack_of_fit import LackOfFit, lack_of_fit
from batchlab.laws.monotone import interpolated, monotone_log_steps
from batchlab.laws.steps_curve import Array, StepsLine
from batchlab.laws.steps_exponent import exponent_of
from batchlab.laws.steps_posterior import (
    NO_SCATTER,
    Draws,
    LeastSquares,
    draw_law,
    expected,
    impute,
    least_squares,
    within,
)
from batchlab.laws.steps_table import Index, StepsObservation, StepsTable
from batchlab.records.estimate import Estimate

__all__ = ["StepsObservation", "StepsToTargetFit", "fit_group_means", "fit_steps_to_target"]

_EXPONENT_LOW, _EXPONENT_HIGH = 0.9, 1.1
_SIZES_FOR_A_LAW = 3
_EM_ROUNDS = 200
# The generator of a batch size that was not measured: its own deviation is the same in every call.
_UNMEASURED = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsToTargetFit:
    """Steps to target by batch size: the law, whether it holds, and joint draws for decisions.

    Attributes:
        observations: what was seen, in the order given.
        s_min: steps in the limit of large batches.
        e_min: samples in the limit of small batches.
        b_crit: E_min / S_min in examples; one-sided where it lies outside the measured range,
            withheld where the law does not hold.
        exponent: alpha of the generalised law S_min (1 + (B_crit/B)^alpha).
        lack_of_fit: the test of the law against the scatter of the seeds.
        law_holds: whether curve and draws follow the law. It does not where the test rejects and
            the exponent's interval both leaves [0.9, 1.1] and does not hold 1, and where there are
            fewer than three batch sizes.
        residuals: log steps less the fitted curve's, one an observation; None where the target was
            not reached.
        seed_sd: standard deviation of log steps between seeds, None without repeats.
        between_sd: standard deviation of a batch size as a whole from the curve, 0 where the
            seeds' own scatter explains all of it, None without repeats or without a law.
        batch_sizes: the distinct batch sizes, ascending.
    """

    observations: tuple[StepsObservation, ...]
    s_min: Estimate
    e_min: Estimate
    b_crit: Estimate
    exponent: Estimate
    lack_of_fit: LackOfFit
    law_holds: bool
    residuals: tuple[float | None, ...]
    seed_sd: float | None
    between_sd: float | None
    batch_sizes: tuple[int, ...]
    _log_means: Array = field(repr=False, compare=False)
    _point: LeastSquares | None = field(repr=False, compare=False)
    _draws: Draws | None = field(repr=False, compare=False)
    _seed: int = field(repr=False, compare=False)

    @property
    def no_draws_reason(self) -> str | None:
        """Why nothing can be said about scatter, None where `log_steps_draws` answers."""
        if self._draws is not None:
            return None
        return (
            f"{len(self.observations)} runs at {len(self.batch_sizes)} batch sizes: no batch size "
            f"was run twice and there are too few for a law, so the scatter is not known; give a "
            f"second seed"
        )

    def line(self) -> StepsLine | None:
        """The least-squares curve, None where the law does not hold."""
        if not self.law_holds or self._point is None:
            return None
        return StepsLine(
            level=np.array([self._point.level]),
            fall=np.array([self._point.fall]),
            smallest=float(self.batch_sizes[0]),
            largest=float(self.batch_sizes[-1]),
        )

    def line_draws(self) -> StepsLine | None:
        """The curves that the observations leave possible, None where the law does not hold."""
        if not self.law_holds or self._draws is None:
            return None
        return StepsLine(
            level=self._draws.level,
            fall=self._draws.fall,
            smallest=float(self.batch_sizes[0]),
            largest=float(self.batch_sizes[-1]),
        )

    def log_steps(self, batch_sizes: Sequence[float]) -> Array:
        """Log of the expected (median) steps of the configurations as tuned, shape (k,).

        At a measured batch size the law and that size's own runs are weighed against each other;
        elsewhere the law. Where it does not hold: monotone interpolation of the measured means.

        Raises:
            FitError: a batch size outside the measured range, without a law.
        """
        at = self._checked(batch_sizes)
        line = self.line()
        if line is None:
            return np.asarray(self._interpolated(self._log_means[None, :], at)[0])
        found = np.asarray(line.log_steps(at)[0])
        assert self._draws is not None
        own = self._draws.kept_share * (self._log_means - line.log_steps(self.batch_sizes)[0])
        where, measured = self._places(at)
        found[measured] += own[where[measured]]
        return found

    def log_steps_draws(self, batch_sizes: Sequence[float]) -> Array:
        """Joint draws of the log steps of the configurations as tuned, shape (n_resamples, k).

        The same rule as `log_steps`. What the rows share is kept: differences between columns are
        to be taken within rows. A batch size that was not measured brings a deviation of its own.

        Raises:
            FitError: a batch size outside the measured range, without a law; or no scatter is
                known (`no_draws_reason`).
        """
        at = self._checked(batch_sizes)
        if self._draws is None:
            raise FitError(self.no_draws_reason or "")
        lines = self.line_draws()
        if lines is None:
            return self._interpolated(self._draws.means, at)
        found = lines.log_steps(at)
        where, measured = self._places(at)
        found[:, measured] = self._draws.log_steps[:, where[measured]]
        for column in np.flatnonzero(~measured):
            generator = np.random.default_rng([self._seed, _UNMEASURED, round(at[column] * 1000)])
            found[:, column] += self._draws.tau * generator.standard_normal(len(found))
        return found

    def steps(self, batch_size: float) -> Estimate:
        """Steps to target at one batch size, with the interval of its draws."""
        n = len(self.observations)
        try:
            value = float(np.exp(self.log_steps([batch_size])[0]))
            if self._draws is None:
                return Estimate.of(value, interval=(None, None), n=n)
            low, high = np.exp(np.quantile(self.log_steps_draws([batch_size])[:, 0], _BOTH))
        except FitError as error:
            return Estimate.cannot_tell(str(error), n=n)
        return Estimate.of(value, interval=(float(low), float(high)), n=n)

    def _checked(self, batch_sizes: Sequence[float]) -> Array:
        at = np.asarray(batch_sizes, dtype=float)
        outside = (at < self.batch_sizes[0]) | (at > self.batch_sizes[-1])
        if not self.law_holds and outside.any():
            raise FitError(
                f"steps at batch size {at[outside][0]:g}: measured from {self.batch_sizes[0]} to "
                f"{self.batch_sizes[-1]}, and without a law nothing is known beyond; measure there"
            )
        return at

    def _places(self, at: Array) -> tuple[Index, NDArray[np.bool_]]:
        """Place of each among the measured batch sizes, and whether it is one of them."""
        sizes = np.array(self.batch_sizes, dtype=float)
        where = np.clip(np.searchsorted(sizes, at), 0, len(sizes) - 1)
        return where, np.asarray(sizes[where] == at)

    def _interpolated(self, log_means: Array, at: Array) -> Array:
        log_sizes = np.log(self.batch_sizes)
        if len(log_sizes) == 1:
            return np.repeat(log_means, len(at), axis=1)
        return interpolated(monotone_log_steps(log_means, log_sizes), log_sizes, np.log(at))


_BOTH = (0.025, 0.975)
_ONE_SIDED = 0.05


def fit_steps_to_target(
    observations: Sequence[StepsObservation], *, n_resamples: int = 999, seed: int = 0
) -> StepsToTargetFit:
    """Fit S(B) = S_min (1 + B_crit/B) to when runs reached their target.

    The point is least squares on log steps. An interval counts as its geometric middle where it is
    narrow against the scatter of the seeds; a wider one, and a run that never reached the target,
    enter at their expectation under the fit (EM with the moments of a cut normal law). The 95 %
    intervals are of `n_resamples` joint draws: the seeds' scatter is pooled over the batch sizes,
    the batch sizes' own deviations come on top, both with the uncertainty of few degrees of
    freedom, and open observations are imputed anew (see `steps_posterior`).

    Args:
        observations: at least three distinct batch sizes at which some run reached the target.
        n_resamples: draws, >= 100.
        seed: of the draws; the same seed gives the same fit.

    Raises:
        FitError: fewer than three such batch sizes; the message names those there are.
    Source: McCandlish et al. 2018, arXiv:1812.06162, section 2.3; Zhang et al. 2024,
        arXiv:2410.21676 (least squares on log steps).
    """
    table = StepsTable.of(_some(observations))
    reached = table.batch_size[~table.never_reached()]
    if len(reached) < _SIZES_FOR_A_LAW:
        sizes = ", ".join(f"{size:g}" for size in reached) or "none"
        raise FitError(
            f"the target was reached at {len(reached)} distinct batch sizes ({sizes}); the law has "
            f"two parameters and needs at least {_SIZES_FOR_A_LAW}; measure more batch sizes"
        )
    generator = np.random.default_rng([seed, 1])
    completed, point = _completed(table)
    draws, tables = draw_law(table, completed, n_draws=n_resamples, generator=generator)
    test = _lack_of_fit(table)
    exponent = exponent_of(table, tables, point)
    holds = not (test.rejected and _leaves(exponent))
    square = float(within(table, completed)[0][0])
    fit = StepsToTargetFit(
        observations=tuple(observations),
        **_parameters(table, point, draws, holds=holds, exponent=exponent, test=test),
        exponent=exponent,
        lack_of_fit=test,
        law_holds=holds,
        residuals=_residuals(table, observations, point.fitted),
        seed_sd=(square / table.degrees) ** 0.5 if table.degrees else None,
        between_sd=_between_sd(table, point, square),
        batch_sizes=tuple(int(size) for size in table.batch_size),
        _log_means=table.means(completed),
        _point=point,
        _draws=draws,
        _seed=seed,
    )
    return fit


def fit_group_means(
    observations: Sequence[StepsObservation], *, n_resamples: int = 999, seed: int = 0
) -> StepsToTargetFit:
    """What one or two batch sizes say without a law: their means and the seeds' pooled scatter.

    Args:
        observations: at least one run that reached the target; batch sizes at which none did are
            left out.
        n_resamples: draws, >= 100.
        seed: of the draws.

    Returns:
        A fit whose law can't be told. Without a batch size that was run twice it has no draws.

    Raises:
        FitError: no run reached the target.
    """
    all_sizes = StepsTable.of(_some(observations))
    never = set(all_sizes.batch_size[all_sizes.never_reached()].tolist())
    kept = tuple(seen for seen in observations if seen.batch_size not in never)
    if not kept:
        raise FitError(
            f"none of {len(observations)} runs reached the target; give more steps or an easier "
            f"target"
        )
    table = StepsTable.of(kept)
    generator = np.random.default_rng([seed, 2])
    completed, draws = _draw_means(table, n_draws=n_resamples, generator=generator)
    k = len(table.batch_size)
    reason = f"{k} distinct batch sizes reached the target; the law needs {_SIZES_FOR_A_LAW}"
    unknown = Estimate.cannot_tell(reason, n=table.n)
    means = table.means(completed)
    square = float(within(table, completed)[0][0])
    return StepsToTargetFit(
        observations=kept,
        s_min=unknown,
        e_min=unknown,
        b_crit=unknown,
        exponent=unknown,
        lack_of_fit=LackOfFit.cannot_tell(reason),
        law_holds=False,
        residuals=_residuals(table, kept, means),
        seed_sd=(square / table.degrees) ** 0.5 if table.degrees else None,
        between_sd=None,
        batch_sizes=tuple(int(size) for size in table.batch_size),
        _log_means=means,
        _point=None,
        _draws=draws,
        _seed=seed,
    )


def _some(observations: Sequence[StepsObservation]) -> Sequence[StepsObservation]:
    if not observations:
        raise FitError("no runs were given; a fit needs at least one that reached its target")
    return observations


def _completed(table: StepsTable) -> tuple[Array, LeastSquares]:
    """Log steps with open observations at their expectation, and the curve through them (EM)."""
    # A bound starts as a number a little above: EM needs a curve to begin with.
    log_steps = np.where(np.isfinite(table.high), table.log_steps, table.low + 0.1)
    point = least_squares(table.batch_size, table.means(log_steps), table.count)
    if not table.open.any():
        return log_steps, point
    spread = np.zeros(table.n)
    for _ in range(_EM_ROUNDS):
        away = log_steps - point.fitted[table.group]
        freedom = max(table.n - 2, 1)
        sigma = max(float(np.sum(away**2 + spread)) / freedom, NO_SCATTER**2) ** 0.5
        before = log_steps
        log_steps, spread = expected(table, log_steps, point.fitted, sigma)
        point = least_squares(table.batch_size, table.means(log_steps), table.count)
        if float(np.max(np.abs(log_steps - before))) < 1e-3 * sigma:
            break
    return log_steps, point


def _lack_of_fit(table: StepsTable) -> LackOfFit:
    """The F test over the batch sizes without open observations: the others have no exact mean."""
    open_sizes = np.bincount(table.group, table.open, minlength=len(table.batch_size)) > 0
    use = ~open_sizes[table.group]
    if not use.any():
        return LackOfFit.cannot_tell("no batch size was left at which every run reached the target")
    sizes, group = np.unique(table.batch_size[table.group[use]], return_inverse=True)
    sub = StepsTable(
        batch_size=sizes,
        group=group,
        count=np.bincount(group).astype(float),
        log_steps=table.log_steps[use],
        open=table.open[use],
        low=table.low[use],
        high=table.high[use],
        rounding_sq=table.rounding_sq[use],
    )
    between = 0.0
    square, kappa = within(sub, sub.log_steps)
    if len(sizes) >= _SIZES_FOR_A_LAW:
        between = least_squares(sizes, sub.means(sub.log_steps), 1 / kappa).square
    return lack_of_fit(
        between=between,
        between_degrees=len(sizes) - 2,
        within=float(square[0]) + NO_SCATTER**2,
        within_degrees=sub.degrees,
    )


def _leaves(exponent: Estimate) -> bool:
    """Whether an exponent's interval leaves [0.9, 1.1] and rules out 1.

    Ruling out 1 is asked as well: with few batch sizes every interval is wider than that range,
    and one that holds 1 says nothing against the law.
    """
    if exponent.estimate is None:
        return False
    low = -np.inf if exponent.low is None else exponent.low
    high = np.inf if exponent.high is None else exponent.high
    inside = low >= _EXPONENT_LOW and high <= _EXPONENT_HIGH
    return not inside and not low <= 1 <= high


def _between_sd(table: StepsTable, point: LeastSquares, square: float) -> float | None:
    """Square root of the mean square of the batch sizes beyond what the seeds explain."""
    k = len(table.batch_size)
    if not table.degrees or k < _SIZES_FOR_A_LAW:
        return None
    excess = point.square / (k - 2) - square / table.degrees
    return math.sqrt(max(excess, 0.0) / float(np.mean(table.count)))


def _residuals(
    table: StepsTable, observations: Sequence[StepsObservation], fitted: Array
) -> tuple[float | None, ...]:
    away = table.log_steps - fitted[table.group]
    return tuple(
        None if seen.censored else float(value)
        for seen, value in zip(observations, away, strict=True)
    )


def _parameters(
    table: StepsTable,
    point: LeastSquares,
    draws: Draws,
    *,
    holds: bool,
    exponent: Estimate,
    test: LackOfFit,
) -> dict[str, Estimate]:
    """s_min, e_min and b_crit with their intervals, one-sided where one side can't be told."""
    n = table.n
    if not holds:
        reason = (
            f"the law S_min (1 + B_crit/B) does not hold here: the lack-of-fit test rejects it "
            f"(p = {test.p_value:.2g}) and the steps follow an exponent of "
            f"{exponent.estimate:.2f} (95 %: {_text(exponent.low)} to {_text(exponent.high)}); "
            f"use the measured points"
        )
        return dict.fromkeys(("s_min", "e_min", "b_crit"), Estimate.cannot_tell(reason, n=n))
    smallest, largest = float(table.batch_size[0]), float(table.batch_size[-1])
    ends = {"smallest": smallest, "largest": largest}
    at = StepsLine(level=np.array([point.level]), fall=np.array([point.fall]), **ends)
    drawn = StepsLine(level=draws.level, fall=draws.fall, **ends)
    return {
        "s_min": _positive(
            float(at.s_min[0]),
            drawn.s_min,
            n=n,
            what="S_min",
            seen=f"no levelling off up to batch size {largest:g}; larger batch sizes would tell",
        ),
        "e_min": _positive(
            float(at.e_min[0]),
            drawn.e_min,
            n=n,
            what="E_min",
            seen="no fall of the steps from "
            f"batch size {smallest:g} on; smaller batch sizes would tell",
        ),
        "b_crit": _b_crit(float(at.b_crit[0]), drawn.b_crit, smallest, largest, n=n),
    }


def _positive(value: float, draws: Array, *, n: int, what: str, seen: str) -> Estimate:
    """A parameter above 0: where its lower bound is not, the upper bound alone, one-sided."""
    low, high = (float(bound) for bound in np.quantile(draws, _BOTH))
    if low > 0 and value > 0:
        return Estimate.of(value, interval=(low, high), n=n)
    high = float(np.quantile(draws, 1 - _ONE_SIDED))
    if value > 0:
        return Estimate.of(value, interval=(None, high if high > 0 else None), n=n)
    return Estimate(
        estimate=None,
        low=None,
        high=high if high > 0 else None,
        n=n,
        reason=f"{what} cannot be told from 0: {seen}",
    )


def _b_crit(value: float, draws: Array, smallest: float, largest: float, *, n: int) -> Estimate:
    """B_crit, or its bound where it lies outside the measured batch sizes."""
    low, high = (float(bound) for bound in np.quantile(draws, _BOTH, method="nearest"))
    one_low, one_high = (
        float(bound) for bound in np.quantile(draws, (_ONE_SIDED, 1 - _ONE_SIDED), method="nearest")
    )
    below, above = low <= 0, not np.isfinite(high)
    if below and above:
        return Estimate.cannot_tell(
            f"the steps between batch size {smallest:g} and {largest:g} scatter too much to tell "
            f"whether they fall; more seeds or a wider range would tell",
            n=n,
        )
    if value > largest or (above and value >= smallest):
        bound = min(one_low, largest) if not np.isfinite(one_low) else one_low
        if smallest <= value <= largest:
            return Estimate.of(value, interval=(bound, None), n=n)
        return Estimate(
            estimate=None,
            low=bound,
            high=None,
            n=n,
            reason=f"the estimate of B_crit lies beyond the largest measured batch size, "
            f"{largest:g}: it is at least {bound:.4g}; larger batch sizes would tell",
        )
    if value < smallest or below:
        bound = one_high if one_high > 0 else smallest
        if smallest <= value <= largest:
            return Estimate.of(value, interval=(None, bound), n=n)
        return Estimate(
            estimate=None,
            low=None,
            high=bound,
            n=n,
            reason=f"the estimate of B_crit lies below the smallest measured batch size, "
            f"{smallest:g}: it is at most {bound:.4g}; smaller batch sizes would tell",
        )
    return Estimate.of(value, interval=(low, high), n=n)


def _draw_means(
    table: StepsTable, *, n_draws: int, generator: np.random.Generator
) -> tuple[Array, Draws | None]:
    """Completed log steps, and draws of the batch sizes' means from their own runs alone."""
    start = np.where(np.isfinite(table.high), table.log_steps, table.low + 0.1)
    if not table.degrees:
        return start, None
    log_steps = np.tile(start, (n_draws, 1))
    rounds = 12 if table.open.any() else 1
    k = len(table.batch_size)
    for round_ in range(rounds):
        square, kappa = within(table, log_steps)
        sigma = np.sqrt((square + NO_SCATTER**2) / generator.chisquare(table.degrees, n_draws))
        noise = generator.standard_normal((n_draws, k))
        means = table.means(log_steps) + np.sqrt(kappa) * sigma[:, None] * noise
        if round_ < rounds - 1:
            log_steps = impute(table, log_steps, means, sigma, generator)
    nothing = np.zeros(0)
    return log_steps.mean(axis=0) if table.open.any() else start, Draws(
        level=nothing,
        fall=nothing,
        tau=nothing,
        law=nothing,
        log_steps=nothing,
        means=means,
        sigma=sigma,
        kept_share=nothing,
    )


def _text(bound: float | None) -> str:
    return "unknown" if bound is None else f"{bound:.2f}"
