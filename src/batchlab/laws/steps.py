"""Steps to target by batch size: the law S(B) = S_min (1 + B_crit/B), and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from batchlab.errors import FitError
from batchlab.laws.steps_curve import (
    NO_SCATTER,
    SIGNIFICANT,
    Array,
    ClosestCurve,
    Index,
    MonotoneTest,
    StepsCurves,
    StepsObservation,
    StepsTable,
    closest_law,
    interpolated,
    monotone_log_steps,
    monotone_test,
)
from batchlab.laws.steps_posterior import Draws, at_expectation, draw_curves, draw_law, exponent_of
from batchlab.records.estimate import Estimate, Reason
from batchlab.words.reasons import reason_text

_BOTH = (0.025, 0.975)
_ONE_SIDED = 0.05
_EXPONENT_LOW, _EXPONENT_HIGH = 0.9, 1.1
_SIZES_FOR_A_LAW = 3
# Seeds the deviation of a batch size that was not measured, so that every call draws the same.
_UNMEASURED = 7
_FREE = 2  # seeds the draws of any exponent
_COARSE = 3.0  # marks that know the steps to such a factor know nothing of their law


@dataclass(frozen=True, kw_only=True, slots=True)
class LackOfFit:
    """The F test of the law against the scatter of the seeds.

    Attributes:
        statistic: mean square between batch sizes over that within them, None: not testable.
        p_value: chance of one as large or larger if the law holds, None: not testable.
        rejected: whether `p_value` is below 0.05, None: not testable.
        reason: why it can't be tested, None where it was.
    """

    statistic: float | None
    p_value: float | None
    rejected: bool | None
    reason: Reason | None = None

    @classmethod
    def cannot_tell(cls, reason: Reason) -> LackOfFit:
        """No test; `reason` says what was missing."""
        return cls(statistic=None, p_value=None, rejected=None, reason=reason)

    @classmethod
    def of(cls, table: StepsTable) -> LackOfFit:
        """The test over the batch sizes without open observations: the others have no exact mean.

        Source: Draper and Smith, Applied Regression Analysis, section 2.1 (pure error).
        """
        exact = table.without_open()
        if exact is None:
            return cls.cannot_tell(Reason.of("target_never_always_reached"))
        between_degrees = len(exact.batch_size) - 2
        if between_degrees < 1:
            return cls.cannot_tell(Reason.of("two_sizes_always_fit"))
        if exact.degrees < 1:
            return cls.cannot_tell(Reason.of("no_seeds_repeated"))
        square, kappa = exact.within(exact.log_steps)
        log_mean = exact.means(exact.log_steps)
        between = closest_law(exact.batch_size, log_mean, 1 / kappa).square
        within = float(square[0]) + NO_SCATTER**2
        statistic = (between / between_degrees) / (within / exact.degrees)
        p_value = float(fdtrc(between_degrees, exact.degrees, statistic))
        return cls(statistic=statistic, p_value=p_value, rejected=p_value < SIGNIFICANT)


@dataclass(frozen=True, kw_only=True)
class StepsToTargetFit:
    """Steps to target by batch size: the law, whether it holds, and joint draws for decisions.

    Attributes:
        observations: what was seen, in the order given.
        exponent: alpha of the generalized law S_min (1 + (B_crit/B)^alpha).
        lack_of_fit: the test of the law against the scatter of the seeds.
        law_holds: whether curve and draws follow the law. It does not where the test rejects and
            the exponent's interval both leaves [0.9, 1.1] and does not hold 1.
        monotone: whether the means reject that steps never rise with the batch size and samples
            never fall.
        residuals: log steps less the fitted curve's, one an observation; None where the target was
            not reached.
        seed_sd: standard deviation of log steps between seeds, None without repeats.
        between_sd: standard deviation of a batch size as a whole from the curve, 0 where the
            seeds' own scatter explains all of it, None without repeats.
        batch_sizes: the distinct batch sizes, ascending.
    """

    observations: tuple[StepsObservation, ...]
    exponent: Estimate
    lack_of_fit: LackOfFit
    law_holds: bool
    monotone: MonotoneTest
    residuals: tuple[float | None, ...]
    seed_sd: float | None
    between_sd: float | None
    batch_sizes: tuple[int, ...]
    _log_means: Array = field(repr=False, compare=False)
    _point: ClosestCurve = field(repr=False, compare=False)
    _draws: Draws = field(repr=False, compare=False)
    _seed: int = field(repr=False, compare=False)
    _n_resamples: int = field(repr=False, compare=False)
    _tables: Array = field(repr=False, compare=False)

    document = (
        "b_crit",
        "s_min",
        "e_min",
        "exponent",
        "law_holds",
        "lack_of_fit",
        "seed_sd",
        "between_sd",
        "observations",
        "residuals",
    )

    @property
    def s_min(self) -> Estimate:
        """Steps in the limit of large batches, whatever the exponent."""
        return self._free_parameters[0]

    @property
    def b_crit(self) -> Estimate:
        """Where steps are twice S_min, whatever the exponent; a bound outside the measured range.

        In examples. Its interval takes in the exponents that the observations leave possible.
        """
        return self._free_parameters[1]

    @cached_property
    def e_min(self) -> Estimate:
        """Samples in the limit of small batches, withheld where the law does not hold."""
        n = len(self.observations)
        point, draws = self.line(), self.line_draws()
        if point is None or draws is None:
            return Estimate.cannot_tell(self._does_not_hold, n=n)
        why = Reason.of("e_min_not_told", smallest=point.smallest)
        return _positive(float(point.e_min[0]), draws.e_min, n=n, why=why)

    @property
    def _does_not_hold(self) -> Reason:
        """Why what belongs to the law alone is withheld."""
        return Reason.of(
            "law_does_not_hold",
            p_value=self.lack_of_fit.p_value,
            low=_bound(self.exponent.low),
            high=_bound(self.exponent.high),
        )

    @cached_property
    def _free_parameters(self) -> tuple[Estimate, Estimate]:
        """Summed up when asked for: an advice fits the law a hundred times and tells it once.

        The point is the law where it holds, else the closest curve of any exponent.
        """
        table = StepsTable.of(self.observations)
        if table.marks_factor > _COARSE:
            # All that is seen then is the first mark, at the same samples for all batch sizes.
            why = Reason.of("marks_too_far_apart", factor=round(table.marks_factor))
            return (Estimate.cannot_tell(why, n=table.n), Estimate.cannot_tell(why, n=table.n))
        expected, law = at_expectation(table)
        generator = np.random.default_rng([self._seed, _FREE])
        closest, draws = draw_curves(
            table, expected, self._tables, law, n_draws=self._n_resamples, generator=generator
        )
        point = self.line() or closest
        why = Reason.of("s_min_not_told", largest=point.largest)
        return (
            _holding_its_estimate(
                _positive(float(point.s_min[0]), draws.s_min, n=table.n, why=why)
            ),
            _holding_its_estimate(_b_crit(point, draws, n=table.n)),
        )

    def line(self) -> StepsCurves | None:
        """The least-squares curve, None where the law does not hold."""
        return self._line if self.law_holds else None

    def line_draws(self) -> StepsCurves | None:
        """The curves that the observations leave possible, None where the law does not hold."""
        return self._draws.curves if self.law_holds else None

    @property
    def _line(self) -> StepsCurves:
        return StepsCurves(
            level=self._point.fitted[-1:],
            fall=np.array([self._point.fall]),
            smallest=float(self.batch_sizes[0]),
            largest=float(self.batch_sizes[-1]),
        )

    def log_steps(self, batch_sizes: Sequence[float]) -> Array:
        """Log of the expected (median) steps of the configurations as tuned, shape (k,).

        At a measured batch size the law and that size's own runs are weighted, elsewhere it is the
        law. Where the law does not hold: interpolation of the measured means, made monotone unless
        they reject that.

        Raises:
            FitError: a batch size outside the measured range, without a law.
        """
        at = self._checked(batch_sizes)
        line = self.line()
        if line is None:
            return np.asarray(self._interpolated(self._log_means[None, :], at)[0])
        found = np.asarray(line.log_steps(at)[0])
        own = self._draws.kept_share * (self._log_means - line.log_steps(self.batch_sizes)[0])
        where, measured = self._places(at)
        found[measured] += own[where[measured]]
        return found

    def log_steps_draws(self, batch_sizes: Sequence[float]) -> Array:
        """Joint draws of the log steps of the configurations as tuned, shape (n_resamples, k).

        The same rule as `log_steps`. A row is one joint draw: take differences between columns
        within rows. A batch size that was not measured brings a deviation of its own.

        Raises:
            FitError: a batch size outside the measured range, without a law.
        """
        at = self._checked(batch_sizes)
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
        if not self.law_holds and self._outside(batch_size):
            return Estimate.cannot_tell(self._not_measured(batch_size), n=n)
        value = float(np.exp(self.log_steps([batch_size])[0]))
        low, high = np.exp(np.quantile(self.log_steps_draws([batch_size])[:, 0], _BOTH))
        return Estimate.of(value, interval=(float(low), float(high)), n=n)

    def _checked(self, batch_sizes: Sequence[float]) -> Array:
        outside = [size for size in batch_sizes if self._outside(size)]
        if not self.law_holds and outside:
            raise FitError(reason_text(self._not_measured(outside[0])))
        return np.asarray(batch_sizes, dtype=float)

    def _outside(self, batch_size: float) -> bool:
        return not self.batch_sizes[0] <= batch_size <= self.batch_sizes[-1]

    def _not_measured(self, batch_size: float) -> Reason:
        return Reason.of(
            "steps_not_measured",
            at=batch_size,
            smallest=self.batch_sizes[0],
            largest=self.batch_sizes[-1],
        )

    def _places(self, at: Array) -> tuple[Index, NDArray[np.bool_]]:
        """Place of each among the measured batch sizes, and whether it is one of them."""
        sizes = np.array(self.batch_sizes, dtype=float)
        where = np.clip(np.searchsorted(sizes, at), 0, len(sizes) - 1)
        return where, np.asarray(sizes[where] == at)

    def _interpolated(self, log_means: Array, at: Array) -> Array:
        log_sizes = np.log(self.batch_sizes)
        if not self.monotone.rejected:
            log_means = monotone_log_steps(log_means, log_sizes)
        return interpolated(log_means, log_sizes, np.log(at))


def fit_steps_to_target(
    observations: Sequence[StepsObservation], *, n_resamples: int = 999, seed: int = 0
) -> StepsToTargetFit:
    """Fit S(B) = S_min (1 + B_crit/B) to when runs reached their target.

    The point is least squares on log steps. An interval counts as its geometric middle, which is
    off by as much as the interval is wide, for all seeds alike; a run that never reached the target
    enters at its expectation under the fit (EM with the moments of a cut normal law). The 95 %
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
    table = StepsTable.of(observations)
    reached = table.batch_size[~table.never_reached()]
    if len(reached) < _SIZES_FOR_A_LAW:
        sizes = ", ".join(f"{size:g}" for size in reached) or "none"
        raise FitError(
            f"batch sizes at which the target was reached: {len(reached)} ({sizes}); the law has "
            f"two parameters and needs at least {_SIZES_FOR_A_LAW}; measure more batch sizes"
        )
    generator = np.random.default_rng([seed, 1])
    log_steps, point = at_expectation(table)
    draws, tables = draw_law(table, log_steps, n_draws=n_resamples, generator=generator)
    test = LackOfFit.of(table)
    exponent = exponent_of(table, tables, point)
    square, kappa = table.within(log_steps)
    log_means = table.means(log_steps)
    variance = kappa * float(square[0]) / max(table.degrees, 1)
    return StepsToTargetFit(
        observations=tuple(observations),
        exponent=exponent,
        lack_of_fit=test,
        law_holds=not (test.rejected and _leaves(exponent)),
        monotone=monotone_test(table.batch_size, log_means, variance, table.degrees),
        residuals=table.residuals(point.fitted),
        seed_sd=table.seed_sd(log_steps),
        between_sd=_between_sd(table, log_steps, point.square),
        batch_sizes=tuple(int(size) for size in table.batch_size),
        _log_means=log_means,
        _point=point,
        _draws=draws,
        _seed=seed,
        _n_resamples=n_resamples,
        _tables=tables,
    )


def _leaves(exponent: Estimate) -> bool:
    """Whether an exponent's interval leaves [0.9, 1.1] and rules out 1.

    Both, because with few batch sizes every interval is wider than that range, and one that holds 1
    says nothing against the law.
    """
    low = -np.inf if exponent.low is None else exponent.low
    high = np.inf if exponent.high is None else exponent.high
    inside = low >= _EXPONENT_LOW and high <= _EXPONENT_HIGH
    return not inside and not low <= 1 <= high


def _between_sd(table: StepsTable, log_steps: Array, between: float) -> float | None:
    """Standard deviation of batch sizes from the curve, beyond what the seeds explain."""
    seed_sd = table.seed_sd(log_steps)
    if seed_sd is None:
        return None
    excess = between / (len(table.batch_size) - 2) - seed_sd**2
    return math.sqrt(max(excess, 0.0) / float(np.mean(table.count)))


def _bound(value: float | None) -> Reason:
    return Reason.of("no_bound") if value is None else Reason.of("bound", value=value)


def _positive(value: float, draws: Array, *, n: int, why: Reason) -> Estimate:
    """A parameter above 0; its upper bound alone, one-sided, where it may be 0."""
    low, high = (float(bound) for bound in np.quantile(draws, _BOTH))
    if low > 0 and value > 0:
        return Estimate.of(value, interval=(low, high), n=n)
    one_high = float(np.quantile(draws, 1 - _ONE_SIDED))
    at_most = one_high if one_high > 0 else None
    if value > 0:
        return Estimate.of(value, interval=(None, at_most), n=n)
    return Estimate.cannot_tell(why, high=at_most, n=n)


def _holding_its_estimate(found: Estimate) -> Estimate:
    """The interval reaches to the law's own figure where other exponents alone would leave it."""
    if found.estimate is None:
        return found
    low = None if found.low is None else min(found.low, found.estimate)
    high = None if found.high is None else max(found.high, found.estimate)
    return Estimate.of(found.estimate, interval=(low, high), n=found.n)


def _b_crit(point: StepsCurves, draws: StepsCurves, *, n: int) -> Estimate:
    """B_crit, or its bound where it lies outside the measured batch sizes."""
    value, smallest, largest = float(point.b_crit[0]), point.smallest, point.largest
    low, one_low, one_high, high = (
        float(bound)
        for bound in np.quantile(
            draws.b_crit, (_BOTH[0], _ONE_SIDED, 1 - _ONE_SIDED, _BOTH[1]), method="nearest"
        )
    )
    below, above = low <= 0, not np.isfinite(high)
    if below and above:
        why = Reason.of("steps_scatter", smallest=smallest, largest=largest)
        return Estimate.cannot_tell(why, n=n)
    if value > largest or (above and value >= smallest):
        bound = min(one_low, largest) if not np.isfinite(one_low) else one_low
        if value <= largest:
            return Estimate.of(value, interval=(bound, None), n=n)
        why = Reason.of("b_crit_beyond_largest", largest=largest)
        return Estimate.cannot_tell(why, low=bound, n=n)
    if value < smallest or below:
        bound = one_high if one_high > 0 else smallest
        if value >= smallest:
            return Estimate.of(value, interval=(None, bound), n=n)
        why = Reason.of("b_crit_below_smallest", smallest=smallest)
        return Estimate.cannot_tell(why, high=bound, n=n)
    return Estimate.of(value, interval=(low, high), n=n)
