"""Steps to target by batch size: the law S(B) = S_min (1 + B_crit/B), and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from batchlab.errors import FitError, UsageError
from batchlab.laws.steps_curve import (
    NO_SCATTER,
    Array,
    Index,
    MonotoneTest,
    StepsLine,
    StepsObservation,
    StepsTable,
    interpolated,
    least_squares,
    monotone_log_steps,
    monotone_test,
)
from batchlab.laws.steps_posterior import (
    Draws,
    FreeLines,
    at_expectation,
    draw_law,
    exponent_of,
    free_lines,
)
from batchlab.records.estimate import Estimate, Reason
from batchlab.words.reasons import reason_text

_SIGNIFICANT = 0.05


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


def lack_of_fit(
    *, between: float, between_degrees: int, within: float, within_degrees: int
) -> LackOfFit:
    """Test sums of squares between and within batch sizes.

    Args:
        between: sum of squares of the means around the law, each times its observations.
        between_degrees: batch sizes less fitted parameters.
        within: sum of squares of the observations around their batch size's mean.
        within_degrees: observations less batch sizes.

    Source: Draper and Smith, Applied Regression Analysis, section 2.1 (pure error).
    """
    from scipy.special import fdtrc

    if between_degrees < 1:
        return LackOfFit.cannot_tell(Reason.of("two_sizes_always_fit"))
    if within_degrees < 1:
        return LackOfFit.cannot_tell(Reason.of("no_seeds_repeated"))
    statistic = (between / between_degrees) / (within / within_degrees)
    p_value = float(fdtrc(between_degrees, within_degrees, statistic))
    return LackOfFit(
        statistic=statistic, p_value=p_value, rejected=p_value < _SIGNIFICANT, reason=None
    )


_BOTH = (0.025, 0.975)
_ONE_SIDED = 0.05


def law_does_not_hold(exponent: Estimate, test: LackOfFit) -> Reason:
    """Why what belongs to the law alone is withheld."""
    return Reason.of(
        "law_does_not_hold",
        p_value=test.p_value,
        exponent=exponent.estimate,
        low=_bound(exponent.low),
        high=_bound(exponent.high),
    )


def free_parameters(
    point: StepsLine | FreeLines, draws: FreeLines, *, n: int
) -> tuple[Estimate, Estimate]:
    """S_min and B_crit with their intervals, one-sided where only one bound is known.

    Args:
        point: the law where it holds, else the closest curve of any exponent.
        draws: the curves that the observations leave possible, of any exponent.
        n: observations.
    """
    smallest, largest = point.smallest, point.largest
    s_min = _positive(
        float(point.s_min[0]), draws.s_min, n=n, why=Reason.of("s_min_not_told", largest=largest)
    )
    b_crit = _b_crit(float(point.b_crit[0]), draws.b_crit, smallest, largest, n=n)
    return _holding_its_estimate(s_min), _holding_its_estimate(b_crit)


def e_min_of(line: StepsLine, draws: StepsLine, *, n: int) -> Estimate:
    """E_min, the samples in the limit of small batches: only a law with exponent 1 has it.

    Args:
        line: the least-squares curve.
        draws: the curves that the observations leave possible, of exponent 1.
        n: observations.
    """
    why = Reason.of("e_min_not_told", smallest=line.smallest)
    return _positive(float(line.e_min[0]), draws.e_min, n=n, why=why)


def _positive(value: float, draws: Array, *, n: int, why: Reason) -> Estimate:
    """A parameter above 0; its upper bound alone, one-sided, where it may be 0."""
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
        reason=why,
    )


def _holding_its_estimate(found: Estimate) -> Estimate:
    """The interval reaches to the law's own figure where other exponents alone would leave it."""
    if found.estimate is None:
        return found
    low = None if found.low is None else min(found.low, found.estimate)
    high = None if found.high is None else max(found.high, found.estimate)
    return Estimate.of(found.estimate, interval=(low, high), n=found.n)


def _b_crit(value: float, draws: Array, smallest: float, largest: float, *, n: int) -> Estimate:
    """B_crit, or its bound where it lies outside the measured batch sizes."""
    low, high = (float(bound) for bound in np.quantile(draws, _BOTH, method="nearest"))
    one_low, one_high = (
        float(bound) for bound in np.quantile(draws, (_ONE_SIDED, 1 - _ONE_SIDED), method="nearest")
    )
    below, above = low <= 0, not np.isfinite(high)
    if below and above:
        return Estimate.cannot_tell(
            Reason.of("steps_scatter", smallest=smallest, largest=largest), n=n
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
            reason=Reason.of("b_crit_beyond_largest", largest=largest, low=bound),
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
            reason=Reason.of("b_crit_below_smallest", smallest=smallest, high=bound),
        )
    return Estimate.of(value, interval=(low, high), n=n)


def _bound(value: float | None) -> Reason:
    return Reason.of("no_bound") if value is None else Reason.of("bound", value=value)


_EXPONENT_LOW, _EXPONENT_HIGH = 0.9, 1.1
_SIZES_FOR_A_LAW = 3
# Seeds the deviation of a batch size that was not measured, so that every call draws the same.
_UNMEASURED = 7
_FREE = 2  # seeds the draws of any exponent
_INTERVAL = (0.025, 0.975)


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
    _line: StepsLine = field(repr=False, compare=False)
    _draws: Draws = field(repr=False, compare=False)
    _seed: int = field(repr=False, compare=False)
    _n_resamples: int = field(repr=False, compare=False)
    _tables: Array = field(repr=False, compare=False)

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
        lines = self.line_draws()
        if lines is None:
            reason = law_does_not_hold(self.exponent, self.lack_of_fit)
            return Estimate.cannot_tell(reason, n=n)
        return e_min_of(self._line, lines, n=n)

    @cached_property
    def _free_parameters(self) -> tuple[Estimate, Estimate]:
        """Summed up when asked for: an advice fits the law a hundred times and tells it once."""
        table = StepsTable.of(self.observations)
        expected, law = at_expectation(table)
        generator = np.random.default_rng([self._seed, _FREE])
        point, draws = free_lines(
            table, expected, self._tables, law, n_draws=self._n_resamples, generator=generator
        )
        return free_parameters(self.line() or point, draws, n=table.n)

    def line(self) -> StepsLine | None:
        """The least-squares curve, None where the law does not hold."""
        return self._line if self.law_holds else None

    def line_draws(self) -> StepsLine | None:
        """The curves that the observations leave possible, None where the law does not hold."""
        if not self.law_holds:
            return None
        return StepsLine.over(self.batch_sizes, level=self._draws.level, fall=self._draws.fall)

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
        low, high = np.exp(np.quantile(self.log_steps_draws([batch_size])[:, 0], _INTERVAL))
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
    line = StepsLine.over(table.batch_size, level=point.level, fall=point.fall)
    test = _lack_of_fit(table)
    exponent = exponent_of(table, tables, point)
    holds = not (test.rejected and _leaves(exponent))
    return StepsToTargetFit(
        observations=tuple(observations),
        exponent=exponent,
        lack_of_fit=test,
        law_holds=holds,
        monotone=_monotone(table, log_steps),
        residuals=table.residuals(point.fitted),
        seed_sd=table.seed_sd(log_steps),
        between_sd=_between_sd(table, log_steps, point.square),
        batch_sizes=tuple(int(size) for size in table.batch_size),
        _log_means=table.means(log_steps),
        _line=line,
        _draws=draws,
        _seed=seed,
        _n_resamples=n_resamples,
        _tables=tables,
    )


def _lack_of_fit(table: StepsTable) -> LackOfFit:
    """The F test over the batch sizes without open observations: the others have no exact mean."""
    sub = table.without_open()
    if sub is None:
        return LackOfFit.cannot_tell(Reason.of("target_never_always_reached"))
    between = 0.0
    k = len(sub.batch_size)
    square, kappa = sub.within(sub.log_steps)
    if k >= _SIZES_FOR_A_LAW:
        between = least_squares(sub.batch_size, sub.means(sub.log_steps), 1 / kappa).square
    return lack_of_fit(
        between=between,
        between_degrees=k - 2,
        within=float(square[0]) + NO_SCATTER**2,
        within_degrees=sub.degrees,
    )


def _monotone(table: StepsTable, log_steps: Array) -> MonotoneTest:
    """The test of the means; open observations count at their expectation."""
    square, kappa = table.within(log_steps)
    variance = kappa * float(square[0]) / max(table.degrees, 1)
    return monotone_test(table.batch_size, table.means(log_steps), variance, table.degrees)


def _leaves(exponent: Estimate) -> bool:
    """Whether an exponent's interval leaves [0.9, 1.1] and rules out 1.

    Both, because with few batch sizes every interval is wider than that range, and one that holds 1
    says nothing against the law.
    """
    if exponent.estimate is None:
        return False
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


@dataclass(frozen=True, kw_only=True, slots=True)
class LawParameter:
    """One parameter of a law.

    Attributes:
        name: its key in JSON.
        quantity: the name in `batchlab.records.quantities` of what it is one of, such as a batch
            size or a number of steps: its unit, and how its numbers are written.
        label: the words before its number, which say of which law it is.
    """

    name: str
    quantity: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LawFit:
    """A law fitted to runs.

    Attributes:
        estimates: one a parameter of the law, in their order.
        residuals: log steps less the fitted curve's, one an observation; None where the target was
            not reached. None altogether: there is no curve.
    """

    estimates: tuple[Estimate, ...]
    residuals: tuple[float | None, ...] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsLaw:
    """A law; each is a file in `batchlab.laws.rows`.

    Attributes:
        place: where it stands in a list of all laws; 0 is the law that decisions use.
        formula: steps to target, of the batch size B.
        parameters: what is told of it.
        n_fitted: how many numbers are fitted to the runs, with those that are not told.
        fit: fits it. It is given the fit of the law that decisions use, with its observations.
    """

    place: int
    formula: str
    parameters: tuple[LawParameter, ...]
    n_fitted: int
    fit: Callable[[StepsToTargetFit], LawFit]


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedLaw:
    """A row of the laws with its fit.

    Attributes:
        name: the row's.
        law: the row.
        found: its fit.
    """

    name: str
    law: StepsLaw
    found: LawFit

    @property
    def estimates(self) -> tuple[tuple[LawParameter, Estimate], ...]:
        """Each parameter with its estimate."""
        return tuple(zip(self.law.parameters, self.found.estimates, strict=True))

    @property
    def residual_sd(self) -> float | None:
        """Standard deviation of log steps from the curve, over the runs that reached the target.

        The numbers that were fitted are taken off the runs, so that a law with more of them is not
        closer for that alone. None: no curve, or not more runs than such numbers.
        """
        away = [value for value in self.found.residuals or () if value is not None]
        if len(away) <= self.law.n_fitted:
            return None
        return math.sqrt(sum(value**2 for value in away) / (len(away) - self.law.n_fitted))


def batch_at_overhead(
    fit: StepsToTargetFit,
    *,
    overhead_fraction: float = 0.2,
    reference_batch_size: float | None = None,
) -> Estimate:
    """The largest B with E(B) <= (1 + overhead) E(reference), on the fitted curve, in examples.

    Args:
        fit: the law.
        overhead_fraction: share of samples accepted above the reference's, > 0.
        reference_batch_size: in examples, >= 1; None: the smallest measured one.

    Returns:
        (1 + overhead) reference + overhead × B_crit, not rounded; a bound where B_crit is one, the
        reason where the law does not hold.

    Raises:
        UsageError: an overhead or a reference that is not a finite number in its range.
    Source: Zhang et al. 2024, arXiv:2410.21676 (20 % over linear scaling from B = 256).
    """
    reference = float(fit.batch_sizes[0] if reference_batch_size is None else reference_batch_size)
    check_overhead(overhead_fraction, reference)
    n = len(fit.observations)
    point, draws = fit.line(), fit.line_draws()
    if point is None or draws is None:
        return Estimate.cannot_tell(fit.e_min.reason or Reason.of("no_law_fitted"), n=n)

    def at(b_crit: float) -> float:
        return (1 + overhead_fraction) * reference + overhead_fraction * b_crit

    value = at(float(point.b_crit[0]))
    low, high = (at(float(q)) for q in np.quantile(draws.b_crit, (0.025, 0.975), method="nearest"))
    if math.isfinite(value) and math.isfinite(high):
        return Estimate.of(value, interval=(low, high), n=n)
    # Some of the curves that fit never level off: only a lower bound is known, one-sided.
    low = at(float(np.quantile(draws.b_crit, 0.05, method="nearest")))
    low = low if math.isfinite(low) else at(float(fit.batch_sizes[-1]))
    if math.isfinite(value):
        return Estimate.of(value, interval=(low, None), n=n)
    return Estimate(
        estimate=None,
        low=low,
        high=None,
        n=n,
        reason=Reason.of("samples_do_not_grow", largest=fit.batch_sizes[-1], low=low),
    )


def check_overhead(overhead_fraction: float, reference_batch_size: float | None) -> None:
    """Refuse an overhead that is not above 0 and a reference below 1.

    Raises:
        UsageError: naming it and what is possible.
    """
    if not (math.isfinite(overhead_fraction) and overhead_fraction > 0):
        raise UsageError(
            f"overhead {overhead_fraction}: expected a finite share above 0, such as 0.2 for 20 %"
        )
    if reference_batch_size is not None and not (
        math.isfinite(reference_batch_size) and reference_batch_size >= 1
    ):
        raise UsageError(f"reference batch size {reference_batch_size}: expected at least 1")
