"""Steps to target by batch size: the law S(B) = S_min (1 + B_crit/B), and whether it holds.

The log steps of a run are normally distributed around a curve S_min (1 + (B_crit/B)^a); the law
has a = 1. A run that reached its target between two evaluations counts as their mean in log steps;
a run that missed the target, as the mean of the normal distribution beyond its last evaluation.
Joint draws of scatter, exponent and mean steps give draws of the curve, whose quantiles are the
95 % intervals.

The variance of a run is that between seeds of a batch size, or that of the batch sizes around the
best curve if this is larger (Finney 1971, Probit Analysis, section 4.6: the heterogeneity factor).

Every interval includes the uncertainty of the exponent; otherwise B_crit's interval would be too
narrow. The prior of the log exponent is normal around 0 and has 95 % of its mass within a factor of
2.2, so the exponent is near 1 if the points say little about it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, stdtrit

from batchlab.errors import BatchlabError
from batchlab.records.estimate import Estimate, Reason

Array = NDArray[np.float64]

_SIZES_FOR_A_LAW, _SIZES_FOR_AN_EXPONENT = 3, 4
_LARGEST_EXPONENT = 2.2
_EXPONENT_SD = math.log(_LARGEST_EXPONENT) / 1.96  # standard deviation of the log exponent's prior
_ALMOST_ANY = 0.9  # an exponent is unknown if its interval / the prior's is at least this
_NOTHING = 1000.0  # if B_crit is this many times beyond the batch sizes, S_min or E_min may be 0
# Limits of the variance of log steps: less is rounding of the arithmetic, more would overflow.
_LEAST_SQ, _LARGEST_SQ = 1e-14, 100.0
_N_DRAWS, _ROUNDS = 4000, 50
# The grid of exponents is narrowed _ZOOMS times to those of cost <= lowest cost + _HIGHEST_COST.
_N_EXPONENTS, _ZOOMS, _HIGHEST_COST = 81, 6, 16.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsObservation:
    """The two evaluations between which one run reached its target.

    Attributes:
        batch_size: examples per step, >= 1.
        after_steps: the step of the last evaluation that missed the target; 0 if unknown.
        steps: the step of the first evaluation that reached the target; None if no evaluation did.
            If `after_steps` is 0 or equals `steps`, `steps` counts as the exact steps to target.
    """

    batch_size: int
    after_steps: float
    steps: float | None

    @property
    def log_range(self) -> tuple[float, float]:
        """The bounds of the log steps to target: equal if exact; infinite above if missed."""
        if self.steps is None:
            return math.log(self.after_steps), math.inf
        return math.log(self.after_steps or self.steps), math.log(self.steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsAt:
    """Steps to target at a measured batch size.

    Attributes:
        batch_size: examples per step.
        expected: the steps at this batch size on the curve fitted to all batch sizes.
        measured: geometric mean over the runs of this batch size. The interval uses the scatter
            between seeds of all batch sizes, and is missing if no batch size has two runs.
    """

    batch_size: int
    expected: Estimate
    measured: Estimate


@dataclass(frozen=True, kw_only=True)
class StepsToTargetFit:
    """Steps to target by batch size: the law S(B) = S_min (1 + B_crit/B), and whether it holds.

    Attributes:
        b_crit: the batch size that needs 2 S_min steps; only a bound if outside the measured range.
        s_min: S_min, the steps in the limit of large batches.
        e_min: examples to target in the limit of small batches; unknown if the law does not hold.
        exponent: the a of S(B) = S_min (1 + (B_crit/B)^a); the law has a = 1.
        law_holds: true if the exponent's interval contains 1 or is unknown; if false, `b_crit` and
            `s_min` are those of the curve with the median exponent.
        seed_sd: standard deviation of log steps between seeds; None if no batch size has two runs.
        by_batch_size: steps at each measured batch size, ascending.
    """

    b_crit: Estimate
    s_min: Estimate
    e_min: Estimate
    exponent: Estimate
    law_holds: bool
    seed_sd: float | None
    by_batch_size: tuple[StepsAt, ...]


def fit_steps_to_target(observations: Sequence[StepsObservation]) -> StepsToTargetFit:
    """Fit the law S(B) = S_min (1 + B_crit/B) to the steps at which runs reached their target.

    Args:
        observations: one per run; runs of three or more batch sizes must have reached the target.

    Raises:
        BatchlabError: fewer than three batch sizes reached the target; the message lists them.
    Source: McCandlish et al. 2018, arXiv:1812.06162, section 2.3.
    """
    if not observations:
        raise BatchlabError("no runs were given; a fit needs at least one that reached its target")
    reached = sorted({run.batch_size for run in observations if run.steps is not None})
    if len(reached) < _SIZES_FOR_A_LAW:
        names = ", ".join(map(str, reached)) or "none"
        raise BatchlabError(
            f"batch sizes at which the target was reached: {len(reached)} ({names}); the law has "
            f"two parameters and needs at least {_SIZES_FOR_A_LAW}; measure more batch sizes"
        )
    runs = [run for run in observations if run.batch_size in reached]
    means = _Means.of(runs)
    measured = dict(zip(reached, means.estimates(), strict=True))
    # At other sizes no run reached the target. If such a run is longer than the law predicts, the
    # law is too low there, so the run counts as if it had reached the target at its last step.
    law = means.curve(1.0)
    for run in observations:
        if run.batch_size not in reached and run.after_steps > law.steps(run.batch_size)[0]:
            runs.append(replace(run, steps=run.after_steps))
    means, n = _Means.of(runs), len(observations)
    law = means.curve(1.0)
    log_steps, exponents = means.draws()
    exponent = _exponent(exponents, n_sizes=len(reached), n=n)
    law_holds = exponent.estimate is None or exponent.holds(1)
    curve = law if law_holds else means.curve(float(np.median(exponents)))
    draws = _Curves.through(means.batch_sizes, log_steps, exponents)
    unknown = _unknown(float(curve.b_crit[0]), smallest=reached[0], largest=reached[-1])
    b_crit = _estimate(curve.b_crit, draws.b_crit, n=n, unknown=unknown.get("b_crit"))
    if b_crit.low is None and b_crit.high is None:
        scatter = Reason.of(
            "scatter_too_much", what="steps", smallest=reached[0], largest=reached[-1]
        )
        b_crit = Estimate.cannot_tell(scatter, n=n)
    law_draws = _Curves.through(means.batch_sizes, log_steps, np.ones(1))
    e_min = _estimate(law.slope, law_draws.slope, n=n, unknown=unknown.get("e_min"))
    if not law_holds:
        reason = Reason.of("law_does_not_hold", low=exponent.low, high=exponent.high)
        e_min = Estimate.cannot_tell(reason, n=n)
    never = Estimate.cannot_tell(Reason.of("target_missed_by_all"))
    return StepsToTargetFit(
        b_crit=b_crit,
        s_min=_estimate(curve.fewest, draws.fewest, n=n, unknown=unknown.get("s_min")),
        e_min=e_min,
        exponent=exponent,
        law_holds=law_holds,
        seed_sd=math.sqrt(means.seed_sq) if means.degrees else None,
        by_batch_size=tuple(
            StepsAt(
                batch_size=size,
                expected=_estimate(curve.steps(size), draws.steps(size), n=n),
                measured=measured.get(size, never),
            )
            for size in sorted({run.batch_size for run in observations})
        ),
    )


def law_through(batch_sizes: Array, log2_steps: Array) -> tuple[Array, Array]:
    """Fit S = a + c / B to each row by least squares of relative residuals; return all a and c."""
    steps = 2.0**log2_steps
    x, z = 1 / steps, 1 / (batch_sizes * steps)
    xx, xz, zz = (x * x).sum(-1), (x * z).sum(-1), (z * z).sum(-1)
    sx, sz = x.sum(-1), z.sum(-1)
    det = xx * zz - xz * xz
    return (sx * zz - sz * xz) / det, (sz * xx - sx * xz) / det


def _estimate(value: Array, draws: Array, *, n: int, unknown: Reason | None = None) -> Estimate:
    low, high = np.quantile(np.append(draws, value), (0.025, 0.975), method="lower").tolist()
    middle = float(value[0])
    low, high = min(low, middle), max(high, middle)
    bounds = low if low > 0 else None, high if math.isfinite(high) else None
    if unknown is not None:
        return Estimate.cannot_tell(unknown, low=bounds[0], high=bounds[1], n=n)
    return Estimate.of(middle, interval=bounds, n=n)


def _exponent(draws: Array, *, n_sizes: int, n: int) -> Estimate:
    low, middle, high = np.quantile(draws, (0.025, 0.5, 0.975)).tolist()
    if n_sizes < _SIZES_FOR_AN_EXPONENT:
        needed = _SIZES_FOR_AN_EXPONENT
        return Estimate.cannot_tell(
            Reason.of("too_few", what="batch sizes", n=n_sizes, needed=needed), n=n
        )
    if math.log(high / low) > _ALMOST_ANY * 2 * math.log(_LARGEST_EXPONENT):
        return Estimate.cannot_tell(Reason.of("exponent_unknown", largest=_LARGEST_EXPONENT), n=n)
    return Estimate.of(middle, interval=(low, high), n=n)


def _unknown(b_crit: float, *, smallest: int, largest: int) -> dict[str, Reason]:
    """Return why quantities are unknown, by name; empty if B_crit is within the measured sizes."""
    if smallest <= b_crit <= largest:
        return {}
    what, other = ("S_min", "larger") if b_crit > largest else ("E_min", "smaller")
    outside = Reason.of("outside_measured", smallest=smallest, largest=largest, other=other)
    if smallest / _NOTHING <= b_crit <= largest * _NOTHING:
        return {"b_crit": outside}
    nothing = Reason.of("may_be_zero", what=what, smallest=smallest, largest=largest, other=other)
    return {"b_crit": outside, what.lower(): nothing}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Curves:
    """Curves S(B) = fewest + slope / B^exponent, one per draw."""

    fewest: Array
    slope: Array
    exponent: Array

    @classmethod
    def through(cls, batch_sizes: Array, log_steps: Array, exponent: Array) -> _Curves:
        """Fit a curve to each row of log steps, shape (n, k), given n exponents or one for all."""
        # Divide sizes and steps by their geometric means, so that no power overflows.
        middle, level = np.log(batch_sizes).mean(), log_steps.mean(axis=1)
        powers = np.exp(exponent[:, None] * (np.log(batch_sizes) - middle))
        with np.errstate(divide="ignore", invalid="ignore"):
            fewest, slope = law_through(powers, (log_steps - level[:, None]) / math.log(2))
        # Steps may fall at most as 1/B^a and may not rise; at a limit, fit only the mean log steps.
        is_steepest, is_flat = ~(fewest > 0), ~(slope > 0)
        fewest = np.where(is_flat, 1.0, np.where(is_steepest, 0.0, fewest))
        slope = np.where(is_flat, 0.0, np.where(is_steepest, 1.0, slope))
        return cls(
            fewest=np.exp(level) * fewest,
            slope=np.exp(level + exponent * middle) * slope,
            exponent=exponent,
        )

    @property
    def b_crit(self) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((self.slope / self.fewest) ** (1 / self.exponent))

    def steps(self, batch_size: float) -> Array:
        return np.asarray(self.fewest + self.slope / batch_size**self.exponent)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Means:
    """The mean log steps of k batch sizes, without fitting a curve, and the scatter of the runs."""

    batch_sizes: Array  # shape (k,)
    count: Array  # number of runs of each batch size, shape (k,)
    log_steps: Array  # mean log steps of the runs, shape (k,)
    rounding_sq: Array  # variance of log steps from gaps between evaluations, shape (k,)
    seed_sq: float  # variance of log steps between seeds; a lower limit if no size has two runs

    @classmethod
    def of(cls, runs: Sequence[StepsObservation]) -> _Means:
        sizes, group, count = np.unique(
            [run.batch_size for run in runs], return_inverse=True, return_counts=True
        )
        low, high = np.array([run.log_range for run in runs]).T
        is_missed = np.isinf(high)
        rounding_sq = np.where(is_missed, 0.0, high - low) ** 2 / 12
        # Seeds may agree more closely than evaluations can resolve, so set a lower limit.
        seed_sq = least_sq = max(_LEAST_SQ, float(rounding_sq.mean()))
        log_steps = np.where(is_missed, low, (low + high) / 2)
        for _ in range(_ROUNDS):
            mean = np.bincount(group, log_steps) / count
            off_sq = float(np.sum((log_steps - mean[group]) ** 2))
            if len(runs) > len(sizes):
                seed_sq = max(least_sq, off_sq / (len(runs) - len(sizes)))
            if not is_missed.any():
                break
            expected = _mean_beyond(low, mean[group], math.sqrt(seed_sq))
            log_steps = np.where(is_missed, expected, log_steps)
        return cls(
            batch_sizes=sizes.astype(float),
            count=count.astype(float),
            log_steps=mean,
            rounding_sq=np.bincount(group, rounding_sq) / count,
            seed_sq=seed_sq,
        )

    @property
    def degrees(self) -> int:
        """Degrees of freedom of `seed_sq`; 0 if no batch size has two runs."""
        return int(self.count.sum()) - len(self.count)

    def estimates(self) -> list[Estimate]:
        # Runs evaluated at the same steps have equal rounding errors, which do not average out.
        error = np.sqrt(np.maximum(self.seed_sq / self.count, self.rounding_sq))
        half: list[float | None] = [None] * len(error)
        if self.degrees:
            half = (stdtrit(self.degrees, 0.975) * error).tolist()
        rows = zip(self.log_steps.tolist(), half, self.count.astype(int).tolist(), strict=True)
        return [Estimate.of_log(mean, error, n=n) for mean, error, n in rows]

    def curve(self, exponent: float) -> _Curves:
        return _Curves.through(self.batch_sizes, self.log_steps[None], np.array([exponent]))

    def draws(self) -> tuple[Array, Array]:
        """Draw mean log steps, shape (draws, sizes), and the exponent of each draw's curve.

        The variance of a run is drawn too, so the means have Student's distribution. The larger of
        two variances is used: between seeds, and of the batch sizes around the best curve.
        """
        stream = np.random.default_rng(0)
        k, degrees = len(self.count), self.degrees
        of_seeds = np.full(_N_DRAWS, self.seed_sq)
        if degrees:
            of_seeds *= degrees / stream.chisquare(degrees, _N_DRAWS)
        of_seeds = np.minimum(of_seeds, _LARGEST_SQ)
        # A curve with a free exponent fits any three points exactly, so use the law's residuals.
        law_only = k == _SIZES_FOR_A_LAW
        free = 1 if law_only else k - 3
        of_sizes = 1 / stream.chisquare(free, _N_DRAWS)
        low, high = -3 * _EXPONENT_SD, 3 * _EXPONENT_SD
        for _ in range(_ZOOMS):
            logs, spacing = np.linspace(low, high, _N_EXPONENTS, retstep=True)
            off_sq = self._off_sq(np.exp(logs))
            least = self._off_sq(np.ones(1))[0] if law_only else off_sq.min()
            variance = of_seeds
            # If any size has two runs, use residuals with 1 degree of freedom only if > `seed_sq`.
            if not degrees or (not law_only and (free > 1 or least > self.seed_sq)):
                variance = np.clip(least * of_sizes, of_seeds, _LARGEST_SQ)
            prior = (logs / _EXPONENT_SD) ** 2
            cost = off_sq / np.quantile(variance, 0.975) + prior
            possible = logs[cost <= cost.min() + _HIGHEST_COST]
            low, high = possible[0] - spacing, possible[-1] + spacing
        log_chance = -(off_sq / variance[:, None] + prior) / 2
        chance = np.exp(log_chance - log_chance.max(axis=1, keepdims=True)).cumsum(axis=1)
        at = (chance < stream.random((_N_DRAWS, 1)) * chance[:, -1:]).sum(axis=1)
        exponent = np.exp(logs[at] + spacing * (stream.random(_N_DRAWS) - 0.5))
        of_means = stream.standard_normal((_N_DRAWS, k)) * np.sqrt(variance[:, None] / self.count)
        # Rounding errors may have the same sign at all batch sizes, so one draw serves all of them.
        rounding = stream.standard_normal((_N_DRAWS, 1)) * np.sqrt(self.rounding_sq)
        return self.log_steps + of_means + rounding, exponent

    def _off_sq(self, exponents: Array) -> Array:
        """Return, per exponent, the best curve's squared log residuals, summed over all runs."""
        log_steps = np.broadcast_to(self.log_steps, (len(exponents), len(self.count)))
        curves = _Curves.through(self.batch_sizes, log_steps, exponents)
        steps = np.stack([curves.steps(size) for size in self.batch_sizes], axis=1)
        return np.asarray((self.log_steps - np.log(steps)) ** 2 @ self.count)


def _mean_beyond(limit: Array, mean: Array, sd: float) -> Array:
    """Return the means of normal distributions (`mean`, `sd`) truncated to values above `limit`."""
    hazard = math.sqrt(2 / math.pi) / erfcx((limit - mean) / sd / math.sqrt(2))
    return np.asarray(mean + sd * hazard)
