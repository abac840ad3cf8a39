"""StepTimeFit: the law of seconds per step, flat while the machine is not full, then linear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from batchlab.errors import FitError
from batchlab.laws.step_time_posterior import Curves, StepTimePosterior, least_squares
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

__all__ = ["StepTimeFit", "fit_step_time"]

Array = NDArray[np.float64]

_SIZES_FOR_A_LAW = 3
_NORMAL_95 = 1.959964
# A lone bound is that end of this interval too. A one-sided 95 % quantile would hold only 89 times
# in 100, because the same times decide whether the knee counts as outside.
_BOTH = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimeFit:
    """Seconds per step by batch size: t(B) = (overhead^p + (per example × B)^p)^(1/p).

    Attributes:
        batch_sizes: those that were measured, ascending.
        overhead_s: what a step takes however few its examples are.
        s_per_example: what each further example adds once the machine is full.
        knee_batch_size: overhead_s / s_per_example, where the two are equal: below it larger
            batches cost little more time, far above it nothing is gained. A bound outside the
            measured range.
        sharpness: p; 1 is a straight line, large is flat up to the knee and straight from it on.
        off_the_law_fraction: standard deviation of single batch sizes from the law, beyond what
            the intervals of their own times explain.
        residuals: log of the measured time less the law's, one a batch size.
    """

    batch_sizes: tuple[int, ...]
    overhead_s: Estimate
    s_per_example: Estimate
    knee_batch_size: Estimate
    sharpness: Estimate
    off_the_law_fraction: float
    residuals: tuple[float, ...]
    _point: Curves = field(repr=False, compare=False)
    _draws: Curves = field(repr=False, compare=False)
    _off_draws: Array = field(repr=False, compare=False)
    _own_sq: Array = field(repr=False, compare=False)

    @property
    def max_residual_fraction(self) -> float:
        """How far the time of the worst batch size lies from the law's, as a share of it."""
        return max(abs(math.expm1(away)) for away in self.residuals)

    def step_s(self, batch_size: int) -> Estimate:
        """Seconds per step on the law, with the interval of the curve (not of a further point).

        Args:
            batch_size: examples per step, >= 1; outside the measured ones it is extrapolated.

        Raises:
            FitError: a batch size below 1.
        """
        if batch_size < 1:
            raise FitError(f"the step time of batch size {batch_size}: expected at least 1")
        value = math.exp(float(self._point.log_s([batch_size])[0, 0]))
        drawn = np.exp(self._draws.log_s([batch_size])[:, 0])
        return Estimate.of(value, interval=_around(value, drawn), n=len(self.batch_sizes))

    def measured_step_s(self, batch_size: int) -> Estimate:
        """Seconds per step of a measured batch size, from its own time and from the law together.

        The two are weighted by their variances: that of its own time, and that of single batch
        sizes around the law. On a quiet machine that gives the measured time, and where times
        scatter the law.

        Args:
            batch_size: one of `batch_sizes`.

        Raises:
            FitError: one that was not measured.
        Source: Gelman et al., "Bayesian Data Analysis", 3rd ed., section 5.4 (normal means).
        """
        if batch_size not in self.batch_sizes:
            raise FitError(
                f"the measured step time of batch size {batch_size}: expected one of "
                f"{', '.join(map(str, self.batch_sizes))}"
            )
        place = self.batch_sizes.index(batch_size)
        own_sq = float(self._own_sq[place])
        on_law = float(self._point.log_s([batch_size])[0, 0])
        measured = on_law + self.residuals[place]
        off_sq = self.off_the_law_fraction**2
        value = math.exp(on_law + self.residuals[place] * off_sq / (off_sq + own_sq))
        on_laws, off_sqs = self._draws.log_s([batch_size])[:, 0], self._off_draws**2
        believed = off_sqs / (off_sqs + own_sq)
        noise = np.random.default_rng([1, place]).standard_normal(len(on_laws))
        drawn = on_laws + believed * (measured - on_laws) + np.sqrt(believed * own_sq) * noise
        return Estimate.of(value, interval=_around(value, np.exp(drawn)), n=len(self.batch_sizes))


def fit_step_time(points: Sequence[tuple[int, Estimate]]) -> StepTimeFit:
    """Fit t(B) = (overhead^p + (per example × B)^p)^(1/p) to measured step times.

    The point is least squares on log times. A batch size weighs by the interval of its own time
    and by how far single batch sizes lie from the law, which is estimated with it. The 95 %
    intervals are of the posterior of all parameters together, summed on a grid: flat in the
    logarithm of the overhead and in 1/p from 0.1 to 1.6, flat in the logarithm of the knee within
    the measured range and proportional to its distance beyond, half-Cauchy for the deviations.

    Args:
        points: (batch size, seconds per step), at least three batch sizes, each once, in any
            order; a bound that is None counts as exactly known and leaves the deviations alone.

    Raises:
        FitError: fewer than three batch sizes, one given twice, or a number that is impossible.
    Source: Qiao et al. 2021 (Pollux), arXiv:2008.12260, section 3.2, for the form; Gelman 2006,
        "Prior distributions for variance parameters in hierarchical models", for the deviations.
    """
    checked = sorted(_checked(points), key=lambda point: point[0])
    log_sizes = np.log([float(size) for size, _ in checked])
    log_s = np.log([float(time.estimate or 0.0) for _, time in checked])
    own_sq = np.array([_log_sd(time) ** 2 for _, time in checked])
    posterior = StepTimePosterior.of(log_sizes, log_s, own_sq)
    draws, off_draws = posterior.draw(np.random.default_rng([0, len(checked)]))
    off = posterior.typical_off()
    point = least_squares(log_sizes, log_s, 1 / (off**2 + own_sq))
    sizes = tuple(size for size, _ in checked)
    residuals = log_s - point.log_s(sizes)[0]
    return StepTimeFit(
        batch_sizes=sizes,
        **_parameters(
            point, draws, sizes, no_overhead=posterior.no_overhead, no_slope=posterior.no_slope
        ),
        off_the_law_fraction=off,
        residuals=tuple(residuals.tolist()),
        _point=point,
        _draws=draws,
        _off_draws=off_draws,
        _own_sq=own_sq,
    )


def _checked(points: Sequence[tuple[int, Estimate]]) -> Sequence[tuple[int, Estimate]]:
    for batch_size, time in points:
        given = f"a step time of {time.estimate} s ({time.low} to {time.high}) at {batch_size}"
        if batch_size < 1:
            raise FitError(f"{given}: expected a batch size of at least 1")
        numbers = [n for n in (time.low, time.estimate, time.high) if n is not None]
        if time.estimate is None or not all(math.isfinite(n) and n > 0 for n in numbers):
            raise FitError(f"{given}: expected finite seconds above 0; leave out what did not run")
        # Equal times have an interval of no width, which rounding can put beside them.
        if any(later < (1 - 1e-9) * earlier for earlier, later in pairwise(numbers)):
            raise FitError(f"{given}: expected an interval around the time")
    sizes = sorted(batch_size for batch_size, _ in points)
    for size in sizes:
        if sizes.count(size) > 1:
            raise FitError(f"batch size {size} is given {sizes.count(size)} times: give it once")
    if len(sizes) < _SIZES_FOR_A_LAW:
        named = ", ".join(map(str, sizes)) or "none"
        raise FitError(
            f"step times at {len(sizes)} batch sizes ({named}); the law needs at least "
            f"{_SIZES_FOR_A_LAW}: profile more"
        )
    return points


def _log_sd(time: Estimate) -> float:
    """Standard deviation of the log of a measured time, from the interval; 0 without one."""
    if time.low is None or time.high is None:
        return 0.0
    return math.log(time.high / time.low) / (2 * _NORMAL_95)


def _around(value: float, draws: Array) -> tuple[float, float]:
    """The 95 % interval, widened to hold least squares where few draws scatter widely."""
    low, high = (float(bound) for bound in np.quantile(draws, _BOTH))
    return min(low, value), max(high, value)


def _parameters(
    point: Curves, draws: Curves, sizes: tuple[int, ...], *, no_overhead: bool, no_slope: bool
) -> dict[str, Estimate]:
    """The parameters with their intervals, one-sided where only one bound is known."""
    n = len(sizes)
    overhead = math.exp(float(point.log_overhead[0]))
    knee = math.exp(float(point.log_knee[0]))
    below, above = knee < sizes[0], knee > sizes[-1]
    return {
        "overhead_s": _positive(
            overhead,
            np.exp(draws.log_overhead),
            n=n,
            maybe_0=no_overhead,
            outside=below,
            why=Reason.of("step_time_never_flat", smallest=sizes[0]),
        ),
        "s_per_example": _positive(
            overhead / knee,
            np.exp(draws.log_overhead - draws.log_knee),
            n=n,
            maybe_0=no_slope,
            outside=above,
            why=Reason.of("step_time_flat", largest=sizes[-1]),
        ),
        "knee_batch_size": _knee(
            knee, np.exp(draws.log_knee), sizes, no_overhead=no_overhead, no_slope=no_slope
        ),
        "sharpness": Estimate.of(
            1 / float(point.roundness[0]),
            interval=_around(1 / float(point.roundness[0]), 1 / draws.roundness),
            n=n,
        ),
    }


def _positive(
    value: float, draws: Array, *, n: int, maybe_0: bool, outside: bool, why: Reason
) -> Estimate:
    """Overhead or slope; its upper bound alone where it may be 0."""
    if not maybe_0:
        return Estimate.of(value, interval=_around(value, draws), n=n)
    high = float(np.quantile(draws, _BOTH[1]))
    if outside:
        return Estimate(estimate=None, low=None, high=high, n=n, reason=why)
    return Estimate.of(value, interval=(None, max(high, value)), n=n)


def _knee(
    value: float, draws: Array, sizes: tuple[int, ...], *, no_overhead: bool, no_slope: bool
) -> Estimate:
    """The knee, or its bound where it lies outside the measured batch sizes."""
    n, smallest, largest = len(sizes), sizes[0], sizes[-1]
    if no_overhead and no_slope:
        return Estimate.cannot_tell(
            Reason.of("step_times_scatter", smallest=smallest, largest=largest),
            n=n,
        )
    low, high = _around(value, draws)
    if value > largest:
        return Estimate(
            estimate=None,
            low=low,
            high=None,
            n=n,
            reason=Reason.of("knee_beyond_largest", largest=largest, low=low),
        )
    if value < smallest:
        return Estimate(
            estimate=None,
            low=None,
            high=high,
            n=n,
            reason=Reason.of("knee_below_smallest", smallest=smallest, high=high),
        )
    if no_slope:
        return Estimate.of(value, interval=(low, None), n=n)
    if no_overhead:
        return Estimate.of(value, interval=(None, high), n=n)
    return Estimate.of(value, interval=(low, high), n=n)
