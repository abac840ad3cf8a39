"""Steps to target by batch size: the law S(B) = S_min (1 + B_crit/B), and whether it holds.

The log steps of a run scatter normally around those of a curve S_min (1 + (B_crit/B)^a); the law
has a = 1. A run gives its steps, two evaluations between which it reached its target, or how far it
went without; its likelihood is the density or the probability of that. The best curve has the
greatest likelihood. The 95 % interval of a quantity spans its values on all curves whose deviance
exceeds the least by at most the square of Student's quantile (profile likelihood).

The scatter of runs is that of the seeds within batch sizes. If batch sizes lie further from the
curve than that explains, their distances count instead, with their fewer degrees of freedom
(Finney 1971, Probit Analysis, section 4.6: the heterogeneity factor).

The exponent is free in every interval, or B_crit would look better known than it is. Its logarithm
has a quadratic penalty that rules out exponents beyond a factor of 2.2. Points that say little
about the exponent leave it near 1; otherwise the points decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_ndtr, stdtrit

from batchlab.errors import BatchlabError
from batchlab.records.estimate import Estimate, Reason

Array = NDArray[np.float64]

_SIZES_FOR_A_LAW, _SIZES_FOR_AN_EXPONENT = 3, 4
_LARGEST_EXPONENT = 2.2
_ALMOST_ANY = 0.9  # an exponent is unknown if its interval is this share of the widest possible
_LEAST_SD = 1e-7  # less scatter is arithmetic, not measurement
# A run known better than this counts as exact: the difference of two almost equal probabilities
# has no digits left.
_EXACT_WIDTH = 1e-4
# A log B_crit `_NOTHING` outside the measured batch sizes means that S_min or E_min is 0. The end
# of an interval is not searched for further than `_FAR` from the best curve.
_NOTHING, _FAR = 7.0, 30.0
# At a log batch size this large S(B) is S_min, and at one this small B S(B) is E_min.
_LARGE, _SMALL = 500.0, -500.0
# A weak pull of log B_crit to the middle of the batch sizes. It picks one curve when many fit
# equally well, as near S_min = 0 or B_crit = 0.
_HOLD = 1e-5
_WEAK = 1.0  # the pull of the exponent, if only the distance from the best curve matters
_STARTS, _ROUNDS, _LONGEST_STEP, _CLOSE = 3, 200, 2.0, 1e-6
_LEVEL, _B_CRIT, _EXPONENT = range(3)  # the parameters of a curve, all logs


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsObservation:
    """The two evaluations between which one run reached its target.

    Attributes:
        batch_size: examples per step, >= 1.
        after_steps: the last evaluation at which the target was not reached (0 if unknown).
        steps: the first evaluation at which it was, or None if the run ended at `after_steps`
            without it. If it equals `after_steps`, or if `after_steps` is 0, it is exact.
    """

    batch_size: int
    after_steps: float
    steps: float | None

    @property
    def log_range(self) -> tuple[float, float]:
        """Logs of the steps between which the target was reached: equal if exact."""
        if self.steps is None:
            return math.log(self.after_steps), math.inf
        return math.log(self.after_steps or self.steps), math.log(self.steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsAt:
    """Steps to target at a measured batch size.

    Attributes:
        batch_size: examples per step.
        expected: on the curve through all batch sizes.
        measured: geometric mean of this batch size's own runs. Its interval takes the scatter of
            the seeds from all batch sizes; without repeats it has none.
    """

    batch_size: int
    expected: Estimate
    measured: Estimate


@dataclass(frozen=True, kw_only=True)
class StepsToTargetFit:
    """Steps to target by batch size: the law, and whether it holds.

    Attributes:
        b_crit: where steps are twice S_min, in examples; a bound outside the measured range.
        s_min: steps in the limit of large batches.
        e_min: samples in the limit of small batches, withheld where the law does not hold.
        exponent: a of S_min (1 + (B_crit/B)^a).
        law_holds: whether the interval of the exponent holds 1; if not, the others are those of
            the best curve of any exponent.
        seed_sd: standard deviation of log steps between seeds, None without repeats.
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
    """Fit the law S(B) = S_min (1 + B_crit/B) to when runs reached their target.

    Args:
        observations: at least three distinct batch sizes at which some run reached the target.

    Raises:
        BatchlabError: fewer than three such batch sizes; the message names those there are.
    Source: McCandlish et al. 2018, arXiv:1812.06162, section 2.3.
    """
    if not observations:
        raise BatchlabError("no runs were given; a fit needs at least one that reached its target")
    runs = _Runs.of(observations)
    sizes, group = np.unique([one.batch_size for one in observations], return_inverse=True)
    is_reached = np.bincount(group, np.isfinite(runs.high)) > 0
    k = int(is_reached.sum())
    if k < _SIZES_FOR_A_LAW:
        names = ", ".join(map(str, sizes[is_reached])) or "none"
        raise BatchlabError(
            f"batch sizes at which the target was reached: {k} ({names}); the law has two "
            f"parameters and needs at least {_SIZES_FOR_A_LAW}; measure more batch sizes"
        )
    # A batch size at which no run reached the target says nothing about the scatter.
    means = _Means.of(runs.only(is_reached[group]))
    runs = replace(runs, sd=means.runs.sd)
    curves = _Curves.of(runs, means)
    exponent = curves.exponent(k)
    law_holds = exponent.estimate is None or exponent.holds(1)
    if law_holds:
        curves = replace(curves, point=curves.law)
        e_min = curves.e_min()
    else:
        reason = Reason.of("law_does_not_hold", low=exponent.low, high=exponent.high)
        e_min = Estimate.cannot_tell(reason, n=len(observations))
    measured = dict(zip(sizes[is_reached], means.estimates(), strict=True))
    missed = Estimate.cannot_tell(Reason.of("target_missed_by_all"))
    return StepsToTargetFit(
        b_crit=curves.b_crit(),
        s_min=curves.s_min(),
        e_min=e_min,
        exponent=exponent,
        law_holds=law_holds,
        seed_sd=means.runs.sd if means.degrees else None,
        by_batch_size=tuple(
            StepsAt(batch_size=int(size), expected=steps, measured=measured.get(size, missed))
            for size, steps in zip(sizes, curves.steps(np.log(sizes)), strict=True)
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Runs:
    """n runs, and how well curves fit them.

    A curve is three numbers: the log of its steps at an anchor, a log batch size which is 0 if
    none is given; the log of B_crit; and the log of a.
    """

    log_size: Array  # log batch sizes, shape (n,)
    low: Array  # logs between which the steps are, equal if exact, shape (n,)
    high: Array  # infinite if the target was missed
    sd: float = 1.0  # standard deviation of the log steps of a run

    @classmethod
    def of(cls, observations: Sequence[StepsObservation]) -> _Runs:
        low, high = np.array([one.log_range for one in observations]).T
        low = np.where(high - low < _EXACT_WIDTH, high, low)
        return cls(log_size=np.log([one.batch_size for one in observations]), low=low, high=high)

    def only(self, use: NDArray[np.bool_]) -> _Runs:
        return replace(self, log_size=self.log_size[use], low=self.low[use], high=self.high[use])

    @property
    def rounding_sq(self) -> Array:
        """The variance of the steps within each run's interval, shape (n,)."""
        return np.asarray(np.where(np.isfinite(self.high), self.high - self.low, 0.0) ** 2 / 12)

    def known(self, mean: Array) -> tuple[Array, Array, Array]:
        """Describe each run's log steps, given that they scatter around `mean`, (..., n).

        Returns:
            The deviance, and the expectations of log steps less `mean` and of their square.
        """
        is_exact = self.high == self.low
        a, b = (self.low - mean) / self.sd, (self.high - mean) / self.sd
        is_above = a > 0  # the upper tail is taken as the lower one, where it keeps its digits
        until_a, until_b = log_ndtr(np.where(is_above, -b, a)), log_ndtr(np.where(is_above, -a, b))
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            log_chance = until_b + np.log1p(-np.exp(until_a - until_b))
            at_a = np.exp(-0.5 * (a**2 + np.log(2 * np.pi)) - log_chance)
            at_b = np.exp(-0.5 * (b**2 + np.log(2 * np.pi)) - log_chance)
            square = 1 + a * at_a - np.where(np.isfinite(b), b, 0.0) * at_b
            return (
                np.where(is_exact, a**2, -2 * log_chance),
                self.sd * np.where(is_exact, a, at_a - at_b),
                self.sd**2 * np.where(is_exact, a**2, square),
            )

    def scatter(self, mean: Array, degrees: int) -> float:
        """Return the standard deviation around `mean`, expected under the present one."""
        _, away, square = self.known(mean)
        # The fit of the mean drew only the known part of a run's steps towards that mean.
        unknown = max(float(np.mean(square - away**2)), 0.0)
        return math.sqrt(float(np.sum(away**2)) / degrees + unknown)

    def misfit(self, curve: Array) -> float:
        """Return the deviance of one curve, up to a constant."""
        return float(self.known(_log_steps(curve[None], np.zeros(1), self.log_size)[0])[0].sum())

    def cost(self, curve: Array, anchor: Array, pull: float) -> tuple[Array, Array, Array]:
        """Return deviance and penalty of m curves (m, 3), their slopes (m, 3) and curvatures.

        The penalty is `pull` times the square of log a; an infinite pull leaves only the law.
        The curvatures, (m, 3, 3), are those of Gauss and Newton.
        """
        log_steps, by_parameter = _log_steps(curve, anchor, self.log_size)
        if math.isinf(pull):
            by_parameter[..., _EXPONENT], pull = 0.0, 1.0
        weight = np.array([0.0, _HOLD, pull])
        off = curve - np.array([0.0, self.log_size.mean(), 0.0])
        deviance, away, square = self.known(log_steps)
        # This share of a run's scatter is known: all of it unless its steps are an interval.
        share = np.maximum(1 - (square - away**2) / self.sd**2, 0.0)[..., None]
        slope = np.sum(away[..., None] * by_parameter, axis=1)
        curvature = np.swapaxes(share * by_parameter, 1, 2) @ by_parameter
        return (
            deviance.sum(axis=1) + off**2 @ weight,
            2 * (weight * off - slope / self.sd**2),
            2 * (np.diag(weight) + curvature / self.sd**2),
        )

    def best(self, pull: float) -> Array:
        """Return the curve of least cost, downhill from a few starts (Levenberg, Marquardt)."""
        curve = np.zeros((_STARTS, 3))
        curve[:, _LEVEL] = self.low.mean()
        curve[:, _B_CRIT] = np.linspace(self.log_size.min(), self.log_size.max(), _STARTS)
        anchor = np.full(_STARTS, self.log_size.mean())
        damping = np.full(_STARTS, 1e-3)
        here, slope, curvature = self.cost(curve, anchor, pull)
        for _ in range(_ROUNDS):
            damped = curvature * (1 + damping[:, None, None] * np.eye(3))
            step = -np.linalg.solve(damped, slope[..., None])[..., 0]
            if np.all(-np.sum(step * slope, axis=1) * (1 + damping) <= _CLOSE**2):
                break
            trial = curve + _shortened(np.asarray(step))
            there, its_slope, its_curvature = self.cost(trial, anchor, pull)
            better = there < here
            curve[better], here[better] = trial[better], there[better]
            slope[better], curvature[better] = its_slope[better], its_curvature[better]
            damping = np.clip(np.where(better, damping / 8, damping * 5), 1e-12, 1e12)
        curve[:, _LEVEL] = _log_steps(curve, anchor, np.zeros(1))[0][:, 0]
        return np.asarray(curve[np.argmin(here)])

    def sd_around_curve(self, pull: float, degrees: int) -> float:
        """Return the scatter around the best curve, at least the present one."""
        runs = self
        for _ in range(_ROUNDS):
            log_steps, _ = _log_steps(runs.best(pull)[None], np.zeros(1), runs.log_size)
            sd = max(runs.scatter(log_steps[0], degrees), self.sd)
            is_close = abs(sd - runs.sd) <= 1e-3 * sd
            runs = replace(runs, sd=sd)
            if is_close:
                break
        return runs.sd


def _log_steps(curve: Array, anchor: Array, log_size: Array) -> tuple[Array, Array]:
    """Return log steps of m curves at j log batch sizes, (m, j), and their slopes, (m, j, 3)."""
    rise, slopes = _rise(curve, np.broadcast_to(log_size, (len(curve), len(log_size))))
    at_anchor, its_slopes = _rise(curve, anchor[:, None])
    log_steps = curve[:, _LEVEL, None] + rise - at_anchor
    return log_steps, np.insert(slopes - its_slopes, _LEVEL, 1.0, axis=-1)


def _rise(curve: Array, log_size: Array) -> tuple[Array, Array]:
    """Return the log of steps over S_min, (m, j), and its slopes by B_crit and exponent."""
    exponent = np.exp(curve[:, _EXPONENT, None])
    power = exponent * (curve[:, _B_CRIT, None] - log_size)
    share = expit(power)
    return np.logaddexp(0, power), np.stack([exponent * share, power * share], axis=-1)


def _shortened(step: Array) -> Array:
    longest = np.abs(step).max(axis=1, keepdims=True)
    return np.asarray(step / np.maximum(longest / _LONGEST_STEP, 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Means:
    """The mean log steps of each of k batch sizes, without a curve."""

    runs: _Runs  # with the seed scatter; without repeats, the lowest plausible one
    group: NDArray[np.intp]  # batch size of each, shape (n,)
    mean: Array  # log steps of each batch size, shape (k,)

    @classmethod
    def of(cls, runs: _Runs) -> _Means:
        """Fit means and scatter by expectation and maximization."""
        # Seeds may agree more closely than evaluations resolve, so the scatter has a lower limit.
        least_sd = max(_LEAST_SD, math.sqrt(runs.rounding_sq.mean()))
        _, group, count = np.unique(runs.log_size, return_inverse=True, return_counts=True)
        degrees = len(group) - len(count)
        mean = np.bincount(group, runs.low) / count
        runs = replace(runs, sd=1.0 if degrees else least_sd)
        for _ in range(_ROUNDS):
            shift = np.bincount(group, runs.known(mean[group])[1]) / count
            mean, before = mean + shift, runs.sd
            if degrees:
                runs = replace(runs, sd=max(least_sd, runs.scatter(mean[group], degrees)))
            if max(np.abs(shift).max(), abs(runs.sd - before)) <= _CLOSE * runs.sd:
                break
        return cls(runs=runs, group=group, mean=mean)

    @property
    def degrees(self) -> int:
        return len(self.group) - len(self.mean)

    @property
    def misfit(self) -> float:
        """Deviance, up to the same constant as that of a curve."""
        return float(self.runs.known(self.mean[self.group])[0].sum())

    def estimates(self) -> list[Estimate]:
        count = np.bincount(self.group)
        # Runs that are evaluated at the same steps share their rounding: it does not average out.
        rounding_sq = np.bincount(self.group, self.runs.rounding_sq) / count
        error = np.sqrt(np.maximum(self.runs.sd**2 / count, rounding_sq))
        half: list[float | None] = [None] * len(count)
        if self.degrees:
            half = (_student(self.degrees) * error).tolist()
        rows = zip(self.mean.tolist(), half, count.tolist(), strict=True)
        return [Estimate.of_log(mean, error, n=n) for mean, error, n in rows]


def _student(degrees: int) -> float:
    return float(stdtrit(degrees, 0.975))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Curves:
    """The curves that the runs leave possible: those that cost little more than the best."""

    runs: _Runs
    law: Array  # the best curve of the law
    best: Array
    point: Array  # `law` or `best`, whichever estimates are read off
    excess: float  # the most that they cost above the best
    pull: float  # an exponent's interval ends at the largest exponent if runs say nothing about it

    @classmethod
    def of(cls, runs: _Runs, means: _Means) -> _Curves:
        """Fit curves, and widen the scatter if batch sizes lie too far from the best one."""
        k, degrees = len(means.mean), len(means.group) - 3
        if not means.degrees:
            # Any three points lie on some curve, so only the law shows how far they scatter.
            pull, degrees = (_WEAK, k - 3) if k > 3 else (math.inf, k - 2)
            runs = replace(runs, sd=means.runs.sd_around_curve(pull, degrees))
        elif k > 3:
            heterogeneity = (runs.misfit(runs.best(_WEAK)) - means.misfit) / (k - 3)
            if heterogeneity > 1:
                runs, degrees = replace(runs, sd=runs.sd * math.sqrt(heterogeneity)), k - 3
        excess = _student(degrees) ** 2
        own_pull = excess / math.log(_LARGEST_EXPONENT) ** 2
        law, best = runs.best(math.inf), runs.best(own_pull)
        return cls(runs=runs, law=law, best=best, point=best, excess=excess, pull=own_pull)

    def exponent(self, k: int) -> Estimate:
        (low, high), reason = self._ends(_EXPONENT)[0], None
        if k < _SIZES_FOR_AN_EXPONENT:
            reason = Reason.of("too_few", what="batch sizes", n=k, needed=_SIZES_FOR_AN_EXPONENT)
        elif high - low > _ALMOST_ANY * 2 * math.log(_LARGEST_EXPONENT):
            reason = Reason.of("exponent_unknown", largest=_LARGEST_EXPONENT)
        if reason is not None:
            return Estimate.cannot_tell(reason, n=len(self.runs.low))
        return self._estimate(self.best[_EXPONENT], (low, high))

    def b_crit(self) -> Estimate:
        low, high = self._ends(_B_CRIT)[0]
        value, (smallest, largest), reason = self.point[_B_CRIT], self._range(), None
        first, last = self._sizes()
        if np.isinf(low) and np.isinf(high):
            reason = Reason.of("scatter_too_much", what="steps", smallest=first, largest=last)
        elif value > largest:
            high = math.inf
            reason = Reason.of("outside_measured", smallest=first, largest=last, other="larger")
        elif value < smallest:
            low = -math.inf
            reason = Reason.of("outside_measured", smallest=first, largest=last, other="smaller")
        return self._estimate(value, (low, high), reason)

    def s_min(self) -> Estimate:
        ends, (_, largest), reason = self._ends(_LEVEL, _LARGE)[0], self._range(), None
        if np.isinf(ends[0]) and self.point[_B_CRIT] > largest + _NOTHING:
            first, last = self._sizes()
            reason = Reason.of(
                "may_be_zero", what="S_min", smallest=first, largest=last, other="larger"
            )
        return self._estimate(self._log_steps(_LARGE), ends, reason)

    def e_min(self) -> Estimate:
        """Return E_min of the law."""
        ends, reason = self._ends(_LEVEL, _SMALL, is_law=True)[0], None
        if np.isinf(ends[0]) and self.point[_B_CRIT] < self._range()[0] - _NOTHING:
            first, last = self._sizes()
            reason = Reason.of(
                "may_be_zero", what="E_min", smallest=first, largest=last, other="smaller"
            )
        return self._estimate(self._log_steps(_SMALL) + _SMALL, ends + _SMALL, reason)

    def steps(self, log_sizes: Array) -> list[Estimate]:
        rows = zip(log_sizes, self._ends(_LEVEL, log_sizes), strict=True)
        return [self._estimate(self._log_steps(at), ends) for at, ends in rows]

    def _range(self) -> tuple[float, float]:
        return float(self.runs.log_size.min()), float(self.runs.log_size.max())

    def _sizes(self) -> tuple[int, int]:
        smallest, largest = self._range()
        return round(_exp(smallest)), round(_exp(largest))

    def _log_steps(self, log_size: float) -> float:
        return float(_log_steps(self.point[None], np.zeros(1), np.array([log_size]))[0][0, 0])

    def _estimate(self, value: float, ends: ArrayLike, why: Reason | None = None) -> Estimate:
        low, high = (_exp(end) if np.isfinite(end) else None for end in np.asarray(ends))
        n = len(self.runs.low)
        if why is not None:
            return Estimate.cannot_tell(why, low=low, high=high, n=n)
        return Estimate.of(_exp(value), interval=(low, high), n=n)

    def _ends(
        self, parameter: int, anchors: ArrayLike | None = None, *, is_law: bool = False
    ) -> Array:
        """Return the least and the greatest value of a parameter, infinite if it has no bound.

        One row per anchor. From the best curve, each step goes to where the parameter ends on the
        quadratic that cost, slope and curvature describe.

        Source: Venzon and Moolgavkar 1988, Applied Statistics 37(1).
        """
        start, pull = (self.law, math.inf) if is_law else (self.best, self.pull)
        middle = self.runs.log_size.mean()
        anchor = np.repeat(np.asarray(middle if anchors is None else anchors), 2)
        sign = np.tile([-1.0, 1.0], len(anchor) // 2)
        curve = np.tile(start, (len(anchor), 1))
        curve[:, _LEVEL] = _log_steps(start[None], np.zeros(1), anchor)[0][0]
        first = curve[:, parameter].copy()
        most = self.runs.cost(curve, anchor, pull)[0] + self.excess
        for _ in range(_ROUNDS):
            cost, slope, curvature = self.runs.cost(curve, anchor, pull)
            inverse = np.linalg.inv(curvature)
            along = inverse[:, parameter]
            downhill = -(inverse @ slope[..., None])[..., 0]
            lowest = cost + np.sum(downhill * slope, axis=1) / 2
            room = np.sqrt(2 * np.maximum(most - lowest, 0) / along[:, parameter])
            step = downhill + (sign * room)[:, None] * along
            moved = np.abs(curve[:, parameter] - first)
            is_done = (np.abs(step[:, parameter]) <= 1e-4 * moved) | (moved > _FAR)
            if is_done.all():
                break
            curve += np.where(is_done[:, None], 0.0, _shortened(step))
        ends = np.where(moved > _FAR, sign * np.inf, curve[:, parameter])
        return np.asarray(ends.reshape(-1, 2))


def _exp(value: float) -> float:
    return float(np.exp(value))
