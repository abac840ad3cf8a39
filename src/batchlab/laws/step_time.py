"""StepTimeFit: a law of the seconds per training step as a function of the batch size."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, stdtrit

from batchlab.records.estimate import Estimate, Reason

Array = NDArray[np.float64]

# The range of the roundness 1/p, where p is the exponent of `StepTimeFit`. At roundness 1, a step
# takes the overhead plus the time of the examples, as in one thread. At 0, a step takes the longer
# of the two times, as on a device that overlaps them. Above 1, steps become slower long before the
# machine is full, because of caches and vector units.
_ROUNDNESS = (0.1, 1.6)
# The knee is the batch size at which overhead and examples take equal time. The log knee is
# searched this far beyond the measured log batch sizes; the prior is negligible farther away.
_REACH = 7.0
# Kernels and caches change with the batch size, so single sizes deviate from every smooth law. The
# standard deviation of log times from the law has a half-Cauchy prior with this median. The value
# matters only if few batch sizes were measured.
_OFF_THE_LAW = 0.03
_OFF_LIMITS = (math.log(1e-3), math.log(1.0))
_CELLS = {"knee": 61, "round": 25, "off": 18}
_N_DRAWS = 4000
# The least-squares curve is found by nine grid searches over this many values of the roundness and
# of the log knee. After each search, the range becomes three grid spacings around the best value.
_ZOOMS, _ROUNDNESSES_A_ZOOM, _KNEES_A_ZOOM = 9, 15, 21
# A knee of 0 or infinity is possible if its log likelihood is at most this much below the largest.
# This is half the 95 % quantile of a chi-squared variable with one degree of freedom.
_LOG_LIKELIHOOD_95 = 1.92


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """One or more curves of step time by batch size; each array has one entry per curve."""

    log_overhead: Array
    log_knee: Array
    roundness: Array

    def log_s(self, batch_sizes: Sequence[int]) -> Array:
        """Return log seconds per step, shape (curves, batch sizes)."""
        rise = _log_rise(np.log(batch_sizes), self.log_knee, self.roundness)
        return np.asarray(self.log_overhead[:, None] + rise)


def _log_rise(log_sizes: Array, log_knee: Array, roundness: Array) -> Array:
    """Return log(step time / overhead) for each log batch size, with one row per knee.

    It is log(1 + (B / knee)^p) / p for the batch size B, with p = 1 / roundness.
    """
    away = (log_sizes - log_knee[..., None]) / roundness[..., None]
    return np.asarray(roundness[..., None] * np.logaddexp(0.0, away))


def _level(log_s: Array, rise: Array, weight: Array) -> tuple[Array, Array]:
    """Fit the log overhead of each row of `rise` such that `log_s` = log overhead + rise.

    Return each row's log overhead and weighted sum of squared residuals.
    """
    away = log_s - rise
    total = weight.sum(axis=-1)
    level = (weight * away).sum(axis=-1) / total
    return level, (weight * (away - level[..., None]) ** 2).sum(axis=-1)


def _edges_around(centre: float, limits: tuple[float, float], *, fine: float, n: int) -> Array:
    """Return the edges of `n` intervals between `limits`, the narrowest of them near `centre`."""
    low, high = (math.asinh((limit - centre) / fine) for limit in limits)
    return np.asarray(centre + fine * np.sinh(np.linspace(low, high, n + 1)))


def _centres(edges: Array) -> Array:
    return np.asarray((edges[1:] + edges[:-1]) / 2)


def _drawn(edges: Array, cells: NDArray[np.intp], generator: np.random.Generator) -> Array:
    """Draw a uniform value between `edges[i]` and `edges[i + 1]` for each index i in `cells`."""
    return np.asarray(edges[cells] + generator.random(len(cells)) * np.diff(edges)[cells])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Posterior:
    """The posterior probability of the parameters of the step-time law (see `StepTimeFit`).

    It is computed on a grid of three axes: the log of the knee (a batch size); the roundness (1 /
    sharpness); and the log of "off", the standard deviation of log times from the law.
    """

    log_sizes: Array  # The log of each measured batch size.
    log_s: Array  # The log of the measured seconds per step at each batch size.
    own_sq: Array  # The variance of the error of measurement of each log time.
    knee: Array  # The edges of the grid's cells along the log knee, ascending.
    round: Array  # The edges of the grid's cells along the roundness, ascending.
    off: Array  # The edges of the grid's cells along log "off", ascending.
    weight: Array  # The probability of each cell of the grid, whose three axes are given above.
    no_overhead: bool  # Whether the overhead may be 0, so time is proportional to the batch size.
    no_slope: bool  # Whether an example's time may be 0, so time is equal at all batch sizes.

    @classmethod
    def of(cls, log_sizes: Array, log_s: Array, own_sq: Array) -> _Posterior:
        """Compute the posterior from log step times and the variances of their measurement."""
        middle = least_squares(log_sizes, log_s, 1 / (_OFF_THE_LAW**2 + own_sq))
        knee = _edges_around(
            float(middle.log_knee[0]), _knee_limits(log_sizes), fine=0.01, n=_CELLS["knee"]
        )
        round_ = _edges_around(float(middle.roundness[0]), _ROUNDNESS, fine=0.02, n=_CELLS["round"])
        off = np.linspace(*_OFF_LIMITS, _CELLS["off"] + 1)
        knees, offs = _centres(knee), _centres(off)
        density = _log_likelihood(log_sizes, log_s, own_sq, knees, _centres(round_), offs)
        density -= np.log1p(np.exp(2 * (offs - math.log(_OFF_THE_LAW))))
        weight = np.exp(density - density.max()) * np.diff(round_)[:, None] * np.exp(offs)
        by_knee = weight.sum(axis=(1, 2))
        # The first grid cell along the knee stands for a knee of 0, the last one for an infinite
        # knee. These are possible if their weight, before the knee's prior, is at least this.
        least_weight = math.exp(-_LOG_LIKELIHOOD_95) * by_knee.max()
        beyond = np.minimum(knees - log_sizes[0], 0) + np.minimum(log_sizes[-1] - knees, 0)
        weight *= (np.diff(knee) * np.exp(beyond))[:, None, None]
        return cls(
            log_sizes=log_sizes,
            log_s=log_s,
            own_sq=own_sq,
            knee=knee,
            round=round_,
            off=off,
            weight=weight / weight.sum(),
            no_overhead=bool(by_knee[0] > least_weight),
            no_slope=bool(by_knee[-1] > least_weight),
        )

    def typical_off(self) -> float:
        """Return how far log times deviate from the law: the posterior's geometric mean SD."""
        return math.exp(float(self.weight.sum(axis=(0, 1)) @ _centres(self.off)))

    def draw(self, generator: np.random.Generator) -> tuple[Curves, Array]:
        """Draw random curves, and for each curve a standard deviation of log times from it."""
        # Take grid cells at evenly spaced values of the cumulative probability. This gives less
        # noisy quantiles than independent draws.
        shares = (np.arange(_N_DRAWS) + generator.random()) / _N_DRAWS
        cells = np.searchsorted(np.cumsum(self.weight.ravel()), shares)
        places = np.unravel_index(np.minimum(cells, self.weight.size - 1), self.weight.shape)
        knee = _drawn(self.knee, places[0], generator)
        roundness = _drawn(self.round, places[1], generator)
        off_log = _drawn(self.off, places[2], generator)
        weight = 1 / (np.exp(2 * off_log)[:, None] + self.own_sq)
        level, _ = _level(self.log_s, _log_rise(self.log_sizes, knee, roundness), weight)
        noise = generator.standard_normal(_N_DRAWS) / np.sqrt(weight.sum(axis=1))
        curves = Curves(log_overhead=level + noise, log_knee=knee, roundness=roundness)
        return curves, np.exp(off_log)


def _knee_limits(log_sizes: Array) -> tuple[float, float]:
    return float(log_sizes[0]) - _REACH, float(log_sizes[-1]) + _REACH


def _log_likelihood(
    log_sizes: Array, log_s: Array, own_sq: Array, knee: Array, roundness: Array, off_log: Array
) -> Array:
    """Return the log likelihood of all combinations of `knee`, `roundness` and `off_log`.

    `knee` holds logs of the knee. `off_log` holds logs of the standard deviation by which log times
    scatter around the law. The likelihoods are integrated over the overhead. They have the shape
    (knee, roundness, off_log).
    """
    knees, rounds = np.meshgrid(knee, roundness, indexing="ij")
    rise = _log_rise(log_sizes, knees, rounds)[:, :, None, :]
    weight = 1 / (np.exp(2 * off_log)[:, None] + own_sq)
    _, square = _level(log_s, rise, weight)
    scale = np.log(weight).sum(axis=-1) - np.log(weight.sum(axis=-1))
    return np.asarray(0.5 * (scale - square))


def least_squares(log_sizes: Array, log_s: Array, weight: Array) -> Curves:
    """Fit the step-time law to log times by weighted least squares.

    A grid search over the roundness contains a grid search over the knee at each roundness.
    """
    # SciPy's least_squares takes half the time and fits equally well (400 simulated machines). But
    # if the knee is outside the measured sizes, many knees fit equally well, and SciPy chooses
    # others. It is not used, because the coverage of the intervals was measured with this search.
    ends = _ROUNDNESS
    for _ in range(_ZOOMS):
        roundness = np.linspace(*ends, _ROUNDNESSES_A_ZOOM)
        knee, level, square = _best_knees(log_sizes, log_s, weight, roundness)
        best = int(np.argmin(square))
        half = 1.5 * (roundness[1] - roundness[0])
        ends = (
            max(_ROUNDNESS[0], float(roundness[best] - half)),
            min(_ROUNDNESS[1], float(roundness[best] + half)),
        )
    one = slice(best, best + 1)
    return Curves(log_overhead=level[one], log_knee=knee[one], roundness=roundness[one])


def _best_knees(
    log_sizes: Array, log_s: Array, weight: Array, roundness: Array
) -> tuple[Array, Array, Array]:
    """Fit log knee and log overhead by least squares, separately for each value of `roundness`.

    Return the log knees, the log overheads and the sums of squared residuals. Knee and roundness
    are not searched jointly, because the sum of squares has a narrow, curved valley as a function
    of both, in which a joint search would stop too early.
    """
    low, high = _knee_limits(log_sizes)
    centre = np.full(len(roundness), (low + high) / 2)
    half = (high - low) / 2
    rows = np.arange(len(roundness))
    for _ in range(_ZOOMS):
        knees = np.clip(centre[:, None] + half * np.linspace(-1, 1, _KNEES_A_ZOOM), low, high)
        rounds = np.broadcast_to(roundness[:, None], knees.shape)
        level, square = _level(log_s, _log_rise(log_sizes, knees, rounds), weight)
        best = np.argmin(square, axis=1)
        centre = knees[rows, best]
        half *= 3 / (_KNEES_A_ZOOM - 1)
    return centre, level[rows, best], square[rows, best]


_NORMAL_95 = 1.959964
# The quantiles that bound a 95 % interval, also if an estimate has only one bound. A single bound
# at 0.05 or 0.95 would hold in only 89 % of cases, because the data decide which bound is missing.
_BOTH = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTimeFit:
    """Seconds per step by batch size: t(B) = (overhead^p + (per example × B)^p)^(1/p).

    Attributes:
        batch_sizes: the measured batch sizes, ascending.
        overhead_s: the time of a step in the limit of few examples.
        s_per_example: the time that each additional example costs once the machine is full.
        knee_batch_size: overhead_s / s_per_example. Well below the knee, larger batches cost
            little more time; well above it, time grows in proportion to the batch size. If the knee
            is outside the measured batch sizes, only a bound is known.
        sharpness: p. With p = 1, the law is a straight line; with a large p, time is constant up to
            the knee, and proportional to the batch size beyond it.
        off_the_law_fraction: standard deviation of the batch sizes' log times from the law, without
            the part that is due to errors of measurement.
        residuals: log(measured time / time on the law), one per batch size.
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

    document = ("overhead_s", "s_per_example", "knee_batch_size", "sharpness")

    @property
    def max_residual_fraction(self) -> float:
        """The largest |measured time / time on the law - 1| over all batch sizes."""
        return max(abs(math.expm1(away)) for away in self.residuals)

    def step_s(self, batch_size: int) -> Estimate:
        """Return the seconds per step by the law, with an interval that excludes measurement noise.

        Args:
            batch_size: examples per step, >= 1; outside the measured range, time is extrapolated.
        """
        value = math.exp(float(self._point.log_s([batch_size])[0, 0]))
        drawn = np.exp(self._draws.log_s([batch_size])[:, 0])
        return Estimate.of(value, interval=_around(value, drawn), n=len(self.batch_sizes))

    def measured_step_s(self, batch_size: int) -> Estimate:
        """Return a weighted mean of the measured time and the law's time for a step.

        The weight of the measured time is 1 / (variance of the measurement). The weight of the
        law's time is 1 / (variance of batch sizes' times around the law). So the result is near the
        measured time on a quiet machine, and near the law on a machine whose times scatter.

        Args:
            batch_size: one of `batch_sizes`.

        Source: Gelman et al., "Bayesian Data Analysis", 3rd ed., section 5.4 (normal means).
        """
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

    Log times have two errors: the error of measurement, and the deviation of a batch size from the
    law. The point estimate is least squares on log times, weighted by 1 / (variance of the
    measurement + variance of the deviations). The 95 % intervals come from the joint posterior of
    all parameters on a grid. The priors of the log overhead and of 1/p (from 0.1 to 1.6) are flat.
    The prior of the log knee is flat within the measured batch sizes, and falls exponentially
    beyond them. The prior of the standard deviation of the deviations is half-Cauchy.

    Args:
        points: (batch size, seconds per step above 0), at least three batch sizes, each once, in
            any order; a time without a bound counts as exactly known.

    Source: Qiao et al. 2021 (Pollux), arXiv:2008.12260, section 3.2 (the form); Gelman 2006,
        "Prior distributions for variance parameters in hierarchical models" (the deviations).
    """
    sizes, times = zip(*sorted(points, key=lambda point: point[0]), strict=True)
    log_sizes = np.log(np.array(sizes, dtype=float))
    log_s = np.log([float(time.estimate or 0.0) for time in times])
    own_sq = np.array([_log_sd(time) ** 2 for time in times])
    posterior = _Posterior.of(log_sizes, log_s, own_sq)
    draws, off_draws = posterior.draw(np.random.default_rng([0, len(sizes)]))
    off = posterior.typical_off()
    point = least_squares(log_sizes, log_s, 1 / (off**2 + own_sq))
    residuals = log_s - point.log_s(sizes)[0]
    return StepTimeFit(
        batch_sizes=sizes,
        **_parameters(posterior, point, draws, sizes),
        off_the_law_fraction=off,
        residuals=tuple(residuals.tolist()),
        _point=point,
        _draws=draws,
        _off_draws=off_draws,
        _own_sq=own_sq,
    )


def _log_sd(time: Estimate) -> float:
    """Return the standard deviation of a log time from its 95 % interval; 0 if a bound is None."""
    if time.low is None or time.high is None:
        return 0.0
    return math.log(time.high / time.low) / (2 * _NORMAL_95)


def _around(value: float, draws: Array) -> tuple[float, float]:
    """Return the 95 % interval of `draws`, widened if necessary to contain `value`."""
    low, high = np.quantile(draws, _BOTH).tolist()
    return min(low, value), max(high, value)


def _parameters(
    posterior: _Posterior, point: Curves, draws: Curves, sizes: tuple[int, ...]
) -> dict[str, Estimate]:
    """Return the estimates for four `StepTimeFit` fields, by field name.

    - If the overhead may be 0, overhead and knee have no lower bound.
    - If the time per example may be 0, it has no lower bound, and the knee has no upper bound.
    - If the estimated knee is below the measured batch sizes, the knee is unknown, and so is an
      overhead without a lower bound.
    - If the estimated knee is above the measured batch sizes, the knee is unknown, and so is a time
      per example without a lower bound.
    """
    log_overheads = np.append(point.log_overhead, draws.log_overhead)
    log_knees = np.append(point.log_knee, draws.log_knee)
    starts, grows = not posterior.no_overhead, not posterior.no_slope
    measured = {"smallest": sizes[0], "largest": sizes[-1]}
    below = above = None
    if log_knees[0] < math.log(sizes[0]):
        below = Reason.of("outside_measured", **measured, other="smaller")
    if log_knees[0] > math.log(sizes[-1]):
        above = Reason.of("outside_measured", **measured, other="larger")
    unknown = below or above
    if not (starts or grows):
        unknown = Reason.of("scatter_too_much", what="step times", **measured)

    def estimate(
        values: Array, *, low: bool = True, high: bool = True, unknown: Reason | None = None
    ) -> Estimate:
        value = float(values[0])
        least, most = _around(value, values[1:])
        bounds = least if low else None, most if high else None
        if unknown is not None:
            return Estimate.cannot_tell(unknown, low=bounds[0], high=bounds[1], n=len(sizes))
        return Estimate.of(value, interval=bounds, n=len(sizes))

    return {
        "overhead_s": estimate(
            np.exp(log_overheads), low=starts, unknown=None if starts else below
        ),
        "s_per_example": estimate(
            np.exp(log_overheads - log_knees), low=grows, unknown=None if grows else above
        ),
        "knee_batch_size": estimate(np.exp(log_knees), low=starts, high=grows, unknown=unknown),
        "sharpness": estimate(1 / np.append(point.roundness, draws.roundness)),
    }


# `ProcessScatter` estimates a variance from the median, not the mean, of squared deviations. That
# is less precise: for many batch sizes, only this fraction of the degrees of freedom remains.
_EFFICIENCY = 0.37


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessScatter:
    """The standard deviation of log step times between processes of the same batch size.

    Blocks of steps in a single process do not show this scatter, because all of them have the same
    memory addresses, the same core that feeds the device, and the same other load.

    Attributes:
        log_sd: standard deviation of the log time of one process.
        degrees: degrees of freedom of `log_sd`.
        n_sizes: number of batch sizes that were timed in several processes.
    """

    log_sd: float
    degrees: float
    n_sizes: int

    @classmethod
    def of(cls, times_s: Iterable[Sequence[float]]) -> ProcessScatter | None:
        """Estimate the scatter by a median over batch sizes, since some may have unsteady times.

        Args:
            times_s: for each batch size, the seconds per step in each process.

        Returns:
            The scatter, or None if no batch size was timed in two processes.
        """
        repeated = [times for times in times_s if len(times) > 1]
        if not repeated:
            return None
        if len(repeated) == 1:
            degrees = len(repeated[0]) - 1
            log_sd = math.sqrt(_square(repeated[0]) / degrees)
            return cls(log_sd=log_sd, degrees=degrees, n_sizes=1)
        # A batch size's sum of squares is the variance times a chi-squared variable. So the sum /
        # the median of chi-squared estimates the variance. Take the median of these estimates.
        variances = [_square(times) / float(chdtri(len(times) - 1, 0.5)) for times in repeated]
        efficiency = _EFFICIENCY + (1 - _EFFICIENCY) / len(repeated)
        return cls(
            log_sd=math.sqrt(statistics.median(variances)),
            degrees=efficiency * sum(len(times) - 1 for times in repeated),
            n_sizes=len(repeated),
        )

    def half_width(self, n: int) -> float:
        """Return the half-width of the 95 % interval of a mean log step time over `n` processes."""
        return float(stdtrit(self.degrees, 0.975)) * self.log_sd / math.sqrt(n)

    def of_size(self, processes_s: Sequence[float], blocks: Estimate) -> Estimate:
        """Widen the interval of a batch size's step time by the scatter between processes.

        The variance between the processes of this batch size is averaged with that of all batch
        sizes, weighted by degrees of freedom. So the interval is too narrow if this batch size
        scatters far more than most. The interval always contains the interval of `blocks`.

        Args:
            processes_s: seconds per step in each process, at least one.
            blocks: the step time, with the interval from the scatter within processes. The result
                has the same step time and the wider interval.
        Source: after Smyth 2004, "Linear models and empirical Bayes methods": moderated variances.
        """
        assert blocks.estimate is not None
        n = len(processes_s)
        half = self._with_own(_square(processes_s), n - 1).half_width(n)
        low, high = blocks.estimate * math.exp(-half), blocks.estimate * math.exp(half)
        if blocks.low is not None:
            low = min(low, blocks.low)
        if blocks.high is not None:
            high = max(high, blocks.high)
        return Estimate.of(blocks.estimate, interval=(low, high), n=n)

    def _with_own(self, square: float, degrees: int) -> ProcessScatter:
        """Return this scatter, pooled with one batch size's sum of squares `square`."""
        if degrees == 0 or self.n_sizes == 1:  # Only one process or one batch size: no pooling.
            return self
        together = self.degrees + degrees
        moderated = math.sqrt((self.degrees * self.log_sd**2 + square) / together)
        return replace(self, log_sd=moderated, degrees=together)


def _square(times_s: Sequence[float]) -> float:
    """Return the sum of squared deviations of the log times from their mean."""
    logs = [math.log(step_s) for step_s in times_s]
    mean = sum(logs) / len(logs)
    return sum((value - mean) ** 2 for value in logs)


_EXACTLY = 1e-3  # The least standard deviation to assume for a log time (0.1 % of the time).


def timed_in_turn(
    one: Estimate, other: Estimate, ratio: Estimate
) -> tuple[Estimate, Estimate, float]:
    """Correct the step times of two batch sizes by their ratio, measured with alternating steps.

    `ratio` is the time of `other` / the time of `one`. If the given times have a very different
    ratio, other load has probably slowed one of them, so the variances of both are raised. Return
    the corrected times and the standard error of the log of their ratio.
    """
    one_s, other_s, times = (estimate.estimate or 1.0 for estimate in (one, other, ratio))
    apart_sq = np.array([max(_log_sd(time), _EXACTLY) ** 2 for time in (one, other)])
    ratio_sq, off = _log_sd(ratio) ** 2, math.log(times * one_s / other_s)
    own_sq = apart_sq * max(1.0, (off**2 - ratio_sq) / apart_sq.sum())
    shares = own_sq / (own_sq.sum() + ratio_sq)
    halves = _NORMAL_95 * np.sqrt(own_sq * (1 - shares))
    return (
        Estimate.of_log(math.log(one_s) - off * float(shares[0]), float(halves[0]), n=one.n),
        Estimate.of_log(math.log(other_s) + off * float(shares[1]), float(halves[1]), n=other.n),
        math.sqrt(ratio_sq * float(shares.sum())),
    )
