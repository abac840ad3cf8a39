"""Steps to target by batch size: the law S(B) = S_min (1 + B_crit/B), and whether it holds.

The log of a run's steps to target is assumed to be normally distributed around the law. If a run
reached its target between two evaluations, the mean of the two evaluations' log steps is used. If
it missed the target, the mean of the normal distribution beyond its last evaluation is used. For
the 95 % intervals, the law is fitted to many random draws of the batch sizes' mean log steps.

The variance of a run's log steps is the variance between seeds, or the variance around the best
curve if that is larger (Finney 1971, Probit Analysis, section 4.6: the heterogeneity factor).
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
_LARGEST_EXPONENT = 4.0  # Exponents from 1/4 to 4 are tried.
# The number of grids to search for the best exponent (each 100 times as fine as the one before),
# and the first grid of log exponents.
_ZOOMS, _EXPONENTS = 3, np.linspace(-math.log(_LARGEST_EXPONENT), math.log(_LARGEST_EXPONENT), 401)
# The range of the variance of log steps: less is only rounding error, more would overflow.
_LEAST_SQ, _LARGEST_SQ = 1e-14, 100.0
_N_DRAWS = 4000


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
        """The bounds of log(steps to target) of a run that reached its target; equal if exact."""
        assert self.steps is not None
        return math.log(self.after_steps or self.steps), math.log(self.steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsAt:
    """The steps to target at a measured batch size.

    Attributes:
        batch_size: examples per step.
        expected: the steps at this batch size by the law, or `measured` if the law does not hold.
        measured: the geometric mean over the runs of this batch size. Its interval uses the
            variance between seeds at all batch sizes; it has none if no batch size has two runs.
    """

    batch_size: int
    expected: Estimate
    measured: Estimate


@dataclass(frozen=True, kw_only=True)
class StepsToTargetFit:
    """Steps to target by batch size: the law S(B) = S_min (1 + B_crit/B), and whether it holds.

    Attributes:
        b_crit: the batch size that needs 2 S_min steps; only a bound if outside the measured sizes.
        s_min: S_min, the steps in the limit of large batches.
        e_min: examples to target in the limit of small batches.
        exponent: the best a in S(B) = S_min (1 + (B_crit/B)^a). In the law, a is 1.
        law_holds: true if the exponent's interval contains 1 or is unknown; if false, `b_crit`,
            `s_min` and `e_min` are unknown.
        seed_sd: standard deviation of log steps between seeds; None if no batch size has two runs.
        by_batch_size: the steps at each measured batch size, ascending.
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
        observations: one per run; at three or more batch sizes, a run must have reached the target.

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
    runs, n = [run for run in observations if run.steps is not None], len(observations)
    means = _Means.of(runs)
    (fewest,), (slope,) = means.laws(np.zeros(1))
    for run in observations:
        # At a batch size where no run reached the target, use a run only if it took more steps
        # than the law predicts.
        steps = fewest + slope / run.batch_size
        if run.steps is None and (run.batch_size in reached or run.after_steps > steps):
            steps *= math.exp(_excess(math.log(run.after_steps / steps), math.sqrt(means.seed_sq)))
            runs.append(replace(run, after_steps=0, steps=steps))
    means = _Means.of(runs)
    measured = means.estimates()
    exponent, variance = _exponent(means, n=n)
    law_holds = exponent.estimate is None or exponent.holds(1)
    fewest, slope = means.laws(np.append(0.0, variance))
    with np.errstate(divide="ignore", invalid="ignore"):
        critical = np.where(fewest > 0, slope / fewest, math.inf)
    unknown = _unknown(float(critical[0]), smallest=reached[0], largest=reached[-1])
    b_crit = _estimate(critical, n=n, unknown=unknown.get("b_crit"))
    s_min = _estimate(fewest, n=n, unknown=unknown.get("s_min"))
    e_min = _estimate(slope, n=n, unknown=unknown.get("e_min"))
    if (b_crit.low, b_crit.high) == (None, None):
        scatter = Reason.of(
            "scatter_too_much", what="steps", smallest=reached[0], largest=reached[-1]
        )
        b_crit = Estimate.cannot_tell(scatter, n=n)
    if not law_holds:
        reason = Reason.of("law_does_not_hold", low=exponent.low, high=exponent.high)
        s_min = e_min = b_crit = Estimate.cannot_tell(reason, n=n)
    never = Estimate.cannot_tell(Reason.of("target_missed_by_all"))
    rows = []
    for size in sorted({run.batch_size for run in observations}):
        expected = own = measured[size] if size in reached else never
        if law_holds:
            expected = _estimate(fewest + slope / size, n=n)
        rows.append(StepsAt(batch_size=size, expected=expected, measured=own))
    return StepsToTargetFit(
        b_crit=b_crit,
        s_min=s_min,
        e_min=e_min,
        exponent=exponent,
        law_holds=law_holds,
        seed_sd=math.sqrt(means.seed_sq) if means.degrees else None,
        by_batch_size=tuple(rows),
    )


def law_through(batch_sizes: Array, log2_steps: Array) -> tuple[Array, Array]:
    """Fit steps = a + c / batch_size to each row by the least relative errors; return a and c."""
    steps = 2.0**log2_steps
    x, z = 1 / steps, 1 / (batch_sizes * steps)
    xx, xz, zz = (x * x).sum(-1), (x * z).sum(-1), (z * z).sum(-1)
    sx, sz = x.sum(-1), z.sum(-1)
    det = xx * zz - xz * xz
    return (sx * zz - sz * xz) / det, (sz * xx - sx * xz) / det


def _curves(batch_sizes: Array, log_steps: Array, exponent: Array) -> tuple[Array, Array]:
    """Fit steps = a + c / batch_size^exponent to each row; return each row's a and c (>= 0)."""
    # Divide batch sizes and steps by their geometric means, so that no power overflows.
    middle, level = np.log(batch_sizes).mean(), log_steps.mean(axis=1)
    powers = np.exp(exponent[:, None] * (np.log(batch_sizes) - middle))
    with np.errstate(divide="ignore", invalid="ignore"):
        fewest, slope = law_through(powers, (log_steps - level[:, None]) / math.log(2))
        # The curve must not rise with the batch size B, nor fall faster than 1 / B^exponent. If the
        # fitted curve does, use a constant, or a multiple of 1 / B^exponent, with the same mean.
        is_flat = ~((slope > 0) & np.isfinite(fewest + slope))
    is_steepest = ~(fewest > 0)
    fewest = np.where(is_flat, 1.0, np.where(is_steepest, 0.0, fewest))
    slope = np.where(is_flat, 0.0, np.where(is_steepest, 1.0, slope))
    return np.exp(level) * fewest, np.exp(level + exponent * middle) * slope


def _estimate(draws: Array, *, n: int, unknown: Reason | None = None) -> Estimate:
    """Return an estimate with the value `draws[0]` and the 95 % interval of all `draws`.

    If the reason `unknown` is given, the estimate has this reason instead of a value.
    """
    value = float(draws[0])
    low, high = np.quantile(draws, (0.025, 0.975), method="lower").tolist()
    low, high = min(low, value), max(high, value)
    bounds = low if low > 0 else None, high if math.isfinite(high) else None
    if unknown is not None:
        return Estimate.cannot_tell(unknown, low=bounds[0], high=bounds[1], n=n)
    return Estimate.of(value, interval=bounds, n=n)


def _unknown(b_crit: float, *, smallest: int, largest: int) -> dict[str, Reason]:
    """Return why b_crit and s_min (or e_min) are unknown, by name; empty if they are known."""
    if smallest <= b_crit <= largest:
        return {}
    limit, other = ("s_min", "larger") if b_crit > largest else ("e_min", "smaller")
    reason = Reason.of("outside_measured", smallest=smallest, largest=largest, other=other)
    return {"b_crit": reason, limit: reason}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Means:
    """The mean log(steps to target) of the runs at each of k batch sizes, and its variances."""

    batch_sizes: Array  # The k different batch sizes, ascending.
    count: Array  # The number of runs of each batch size, shape (k,).
    log_steps: Array  # The mean log(steps to target) of each batch size's runs, shape (k,).
    rounding_sq: Array  # The variance of log steps due to gaps between evaluations, shape (k,).
    # The variance of log steps between seeds, at least a lower limit. If no batch size has two
    # runs, the variance cannot be measured and is the lower limit.
    seed_sq: float

    @classmethod
    def of(cls, runs: Sequence[StepsObservation]) -> _Means:
        sizes, group, count = np.unique(
            [run.batch_size for run in runs], return_inverse=True, return_counts=True
        )
        low, high = np.array([run.log_range for run in runs]).T
        mean, rounding_sq = np.bincount(group, (low + high) / 2) / count, (high - low) ** 2 / 12
        # Seeds may differ by less than the gaps between evaluations, so set a lower limit.
        seed_sq = max(_LEAST_SQ, float(rounding_sq.mean()))
        if len(runs) > len(sizes):
            off_sq = float(np.sum(((low + high) / 2 - mean[group]) ** 2))
            seed_sq = max(seed_sq, off_sq / (len(runs) - len(sizes)))
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

    def estimates(self) -> dict[int, Estimate]:
        """Return the geometric mean of the steps of the runs, by batch size."""
        # If runs are evaluated at the same steps, their rounding errors do not average out.
        error = np.sqrt(np.maximum(self.seed_sq / self.count, self.rounding_sq))
        half: list[float | None] = [None] * len(error)
        if self.degrees:
            half = (stdtrit(self.degrees, 0.975) * error).tolist()
        rows = zip(self.log_steps.tolist(), half, self.count.astype(int).tolist(), strict=True)
        estimates = [Estimate.of_log(mean, bound, n=n) for mean, bound, n in rows]
        return dict(zip(self.batch_sizes.astype(int).tolist(), estimates, strict=True))

    def laws(self, variance: Array) -> tuple[Array, Array]:
        """Fit the law S_min + E_min / B repeatedly, to mean steps with different random errors.

        `variance` contains one number for each fit: the variance of a run's log steps, from which
        random errors are drawn. The first number must be 0, so that the first law is fitted to the
        measured means. Return all S_min and all E_min, each in the shape of `variance`.
        """
        stream, n = np.random.default_rng(0), len(variance)
        # Rounding errors may have the same sign at all batch sizes, so all sizes share a draw.
        rounding = stream.standard_normal((n, 1)) * np.sqrt(self.rounding_sq)
        rounding[0] = 0.0
        error = np.sqrt(variance[:, None] / self.count)
        log_steps = self.log_steps + stream.standard_normal(error.shape) * error + rounding
        return _curves(self.batch_sizes, log_steps, np.ones(n))


def _exponent(means: _Means, *, n: int) -> tuple[Estimate, Array]:
    """Estimate the exponent of steps = a + c / batch_size^exponent.

    The interval contains each exponent whose curve fits worse than the best curve by at most the
    amount that chance may cause. This amount depends on the variance of a run's log steps. That
    variance is uncertain; the second result contains _N_DRAWS random values of it.
    """
    k, best, half = len(means.count), 0.0, 1.0
    for _ in range(_ZOOMS if k >= _SIZES_FOR_AN_EXPONENT else 0):
        logs = np.clip(best + half * _EXPONENTS, _EXPONENTS[0], _EXPONENTS[-1])
        best, half = float(logs[_off_sq(means, logs).argmin()]), half / 100
    (least,) = _off_sq(means, np.array([best]))
    stream, square, degrees = np.random.default_rng(1), means.seed_sq, means.degrees
    free = max(1, k - 3)  # degrees of freedom of the residuals: a curve has 3 parameters
    if not degrees or least > free * square:
        square, degrees = max(square, least / free), free
    variance = square * degrees / stream.chisquare(degrees, _N_DRAWS)
    variance = np.minimum(variance, _LARGEST_SQ)
    if k < _SIZES_FOR_AN_EXPONENT:
        needed = _SIZES_FOR_AN_EXPONENT
        reason = Reason.of("too_few", what="batch sizes", n=k, needed=needed)
        return Estimate.cannot_tell(reason, n=n), variance
    chance = np.quantile(variance * stream.standard_normal(_N_DRAWS) ** 2, 0.95)
    fitting = _EXPONENTS[_off_sq(means, _EXPONENTS) <= least + chance]
    if len(fitting) == len(_EXPONENTS):
        reason = Reason.of("exponent_unknown", largest=_LARGEST_EXPONENT)
        return Estimate.cannot_tell(reason, n=n), variance
    ends = np.exp([best, *fitting])
    interval = float(ends.min()), float(ends.max())
    return Estimate.of(math.exp(best), interval=interval, n=n), variance


def _off_sq(means: _Means, log_exponents: Array) -> Array:
    """Return, per exponent, the least sum of squared errors of log steps, weighted by runs."""
    exponents = np.exp(log_exponents)
    fewest, slope = _curves(means.batch_sizes, means.log_steps[None], exponents)
    powers = means.batch_sizes ** exponents[:, None]
    off = means.log_steps - np.log(fewest[:, None] + slope[:, None] / powers)
    off -= (off @ means.count / means.count.sum())[:, None]
    return np.asarray(off**2 @ means.count)


def _excess(limit: float, sd: float) -> float:
    """Return the mean of the normal distribution (0, `sd`) truncated to values above `limit`."""
    return sd * math.sqrt(2 / math.pi) / float(erfcx(limit / sd / math.sqrt(2)))
