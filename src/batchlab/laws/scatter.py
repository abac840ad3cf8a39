"""Scatter: means, gaps and differences over seeds, with how far seeds lie apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from scipy.special import beta, expit, gammaln, logit, ndtri, polygamma, stdtr, stdtrit

from batchlab.errors import UsageError
from batchlab.laws.plateau import FRACTION_METRICS
from batchlab.records.estimate import Estimate, Reason

Array = NDArray[np.float64]
Values = Sequence[float]  # one a seed


def mean_interval(values: Sequence[float], *, confidence: float = 0.95) -> Estimate:
    """The mean of independent observations (one a seed) with its t interval.

    Args:
        values: the observations, finite, in one unit.
        confidence: coverage of the interval, between 0 and 1.

    Returns:
        The mean in the same unit; without bounds for one observation, the reason for none.

    Raises:
        UsageError: a value that is not finite; a trial that diverged is never averaged.
    """
    _require_finite(values)
    n = len(values)
    if n == 0:
        return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
    mean = float(np.mean(values))
    if n == 1:
        return Estimate.of(mean, n=1)
    variance = float(np.var(values, ddof=1))
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * math.sqrt(variance / n)
    return Estimate.of(mean, interval=(mean - half, mean + half), n=n)


def _require_finite(values: Iterable[float]) -> None:
    if not all(math.isfinite(value) for value in values):
        raise UsageError(
            "a mean over values that are not finite was asked for; leave out the trials that "
            "diverged and name them"
        )


# Standard deviation, over cells, of the logarithm of a cell's own standard deviation. The recorded
# grids have 0.4 to 0.9. The prior rises in proportion: cells that look alike may do so by chance.
# A flat one moves the coverage by less than a point.
_UNLIKENESS = (np.arange(24) + 0.5) / 24 * 1.8
# Reach and step of the search for the usual variance, as a logarithm, around the cells' own. One
# cell of two seeds bounds it weakly: with both reaches its interval is Student's to 0.2 %.
_BELOW, _ABOVE, _STEP = 24.0, 18.0, 0.4
_LEAST_WEIGHT = 1e-6  # of a place that can still move a bound in its third digit


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnScatter:
    """What the n >= 1 seeds of one cell say of the variance of one seed."""

    variance: float  # unbiased; 0 is a cell whose seeds agree, or that has one only
    n: int

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the variance."""
        return self.n - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedScatter:
    """The usual scatter of seeds and how unlike it single cells are, as far as both are known.

    A cell's variance has the prior s0² d0 / chi²(d0), so its posterior is in closed form: variance
    (d0 s0² + d s²) / (d0 + d) with d0 + d degrees of freedom. Smyth estimates s0² and d0 from
    thousands of genes; a sweep has two to ten cells, so both are summed over a grid here. Without
    that, cells that look alike by chance would count as alike for certain.

    Source: Smyth 2004, "Linear models and empirical Bayes methods for assessing differential
    expression in microarray experiments", sections 3 and 4; doi:10.2202/1544-6115.1027.
    """

    prior_degrees: Array  # d0, shape (m,)
    prior_variance: Array  # s0², shape (m,)
    weight: Array  # probability of each pair of them, shape (m,), sums to 1

    @classmethod
    def of(cls, cells: Sequence[OwnScatter]) -> SeedScatter | None:
        """Pool the scatter of cells on one scale; None where no cell has two seeds.

        Their variances are above 0 where there is more than one seed.
        """
        repeated = [cell for cell in cells if cell.degrees]
        if not repeated:
            return None
        logs = [math.log(cell.variance) for cell in repeated]
        log_usual = np.arange(min(logs) - _BELOW, max(logs) + _ABOVE, _STEP)[None, :]
        degrees = _prior_degrees()[:, None]
        log_weight = np.log(_UNLIKENESS)[:, None] + np.zeros_like(log_usual)
        for log_variance, cell in zip(logs, repeated, strict=True):
            log_weight = log_weight + _log_f(log_variance - log_usual, cell.degrees, degrees)
        weight = np.exp(log_weight - log_weight.max()).ravel()
        kept = weight > _LEAST_WEIGHT * weight.max()
        prior_degrees, log_usual = np.broadcast_arrays(degrees, log_usual)
        return cls(
            prior_degrees=prior_degrees.ravel()[kept],
            prior_variance=np.exp(log_usual.ravel()[kept]),
            weight=weight[kept] / weight[kept].sum(),
        )

    def half_width(self, cell: OwnScatter, confidence: float) -> float:
        """Half the width of the interval of the mean of a cell that was pooled."""
        degrees = self.prior_degrees + cell.degrees
        error = np.sqrt(self._variance(cell) / cell.n)
        peak = self.weight / (np.sqrt(degrees) * beta(0.5, degrees / 2) * error)
        half, missing = 0.0, confidence
        # What is missing falls ever more slowly, so Newton's steps never pass the root.
        while missing > 1e-10:
            density = peak @ (1 + (half / error) ** 2 / degrees) ** (-(degrees + 1) / 2)
            half += missing / (2 * float(density))
            missing = confidence - float(self.weight @ (2 * stdtr(degrees, half / error) - 1))
        return half

    def _variance(self, cell: OwnScatter) -> Array:
        own = cell.degrees * cell.variance + self.prior_degrees * self.prior_variance
        return np.asarray(own / (cell.degrees + self.prior_degrees))


@cache
def _prior_degrees() -> Array:
    """Degrees of freedom at which the log standard deviations of cells scatter that much."""
    # log chi² with d degrees has the variance trigamma(d / 2): inverted as in Smyth's appendix.
    variance = 4 * _UNLIKENESS**2
    half = 0.5 + 1 / variance
    for _ in range(20):
        trigamma = polygamma(1, half)
        half += trigamma * (1 - trigamma / variance) / polygamma(2, half)
    return np.asarray(2 * half)


def _log_f(log_ratio: Array, degrees: int, prior_degrees: Array) -> Array:
    """Log density of log F: own variance over the usual one, with d and d0 degrees of freedom."""
    d, d0 = degrees, prior_degrees
    shape = gammaln((d + d0) / 2) - gammaln(d / 2) - gammaln(d0 / 2) + d / 2 * np.log(d / d0)
    spread = np.logaddexp(0.0, np.log(d / d0) + log_ratio)
    return np.asarray(shape + d / 2 * log_ratio - (d + d0) / 2 * spread)


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricScale:
    """Log odds for a share between 0 and 1, the metric itself for any other."""

    n_examples: int | None  # that the share is of; None: the metric is no share

    @classmethod
    def of(cls, metric: str, values: Iterable[float], *, n_examples: int) -> MetricScale:
        """The scale of a metric by its name, unless a value contradicts it: it may be in percent.

        `n_examples`: how many examples each value is a mean of.
        """
        share = metric in FRACTION_METRICS and all(0 <= value <= 1 for value in values)
        return cls(n_examples=n_examples if share and n_examples else None)

    def own_scatter(self, values: Sequence[float]) -> OwnScatter:
        """The scatter of one cell's seeds on this scale, at least what rounding hides."""
        level = float(np.mean(values))
        variance = float(np.var(values, ddof=1)) if len(values) > 1 else 0.0
        variance = max(variance, self._resolution(level) ** 2 / 12)
        return OwnScatter(variance=variance * self._slope(level) ** 2, n=len(values))

    def mean_bounds(self, level: float, half: float) -> tuple[float, float]:
        """The interval around a mean in the metric's unit; `half` of its width is on this scale."""
        place = self._place(level)
        return min(level, self._level(place - half)), max(level, self._level(place + half))

    def _resolution(self, level: float) -> float:
        """The least step between two values: an example, or a float of single precision."""
        if self.n_examples is None:
            return float(np.spacing(np.float32(abs(level))))
        return 1 / self.n_examples

    def _kept_off_the_ends(self, level: float) -> float:
        """A share with half an example on either side: at 0 and 1 log odds are infinite."""
        assert self.n_examples is not None
        half_example = 0.5 / self.n_examples
        return min(max(level, half_example), 1 - half_example)

    def _place(self, level: float) -> float:
        return level if self.n_examples is None else float(logit(self._kept_off_the_ends(level)))

    def _slope(self, level: float) -> float:
        if self.n_examples is None:
            return 1.0
        share = self._kept_off_the_ends(level)
        return 1 / (share * (1 - share))

    def _level(self, place: float) -> float:
        return place if self.n_examples is None else float(expit(place))


@dataclass(frozen=True, kw_only=True, slots=True)
class PooledCells:
    """What several cells say together of the scatter of each one's seeds."""

    scale: MetricScale
    scatter: SeedScatter | None  # None: none of them has two seeds

    @classmethod
    def of(cls, cells: Sequence[Values], *, metric: str, n_examples: int) -> PooledCells:
        """Pool cells that measured the same metric of the same split.

        Args:
            cells: the values of each, one a seed, in the metric's unit; empty ones don't count.
            metric: the metric's name.
            n_examples: how many examples each value is a mean of.

        Raises:
            UsageError: a value that is not finite; a trial that diverged is never averaged.
        """
        known = [list(values) for values in cells if len(values)]
        _require_finite(chain(*known))
        scale = MetricScale.of(metric, chain(*known), n_examples=n_examples)
        return cls(scale=scale, scatter=SeedScatter.of([scale.own_scatter(v) for v in known]))

    def mean(self, values: Values, *, confidence: float = 0.95) -> Estimate:
        """The mean of one of the cells; without bounds where no cell has two seeds."""
        if not len(values):
            return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
        level = float(np.mean(values))
        if self.scatter is None:
            return Estimate.of(level, n=len(values))
        half = self.scatter.half_width(self.scale.own_scatter(values), confidence)
        return Estimate.of(level, interval=self.scale.mean_bounds(level, half), n=len(values))

    def difference(self, first: Values, second: Values, *, confidence: float = 0.95) -> Estimate:
        """The mean of one of the cells less that of another; its n counts the trials of both.

        The interval follows from those of the two means: each bound lies as far from the estimate
        as the two bounds that pull it there, as the sides of a right angle. So it needs no normal
        law of the difference, and that of a share stays within -1 and 1. Seeds count as
        independent between cells.

        Source: Zou and Donner 2008, "Construction of confidence limits about effect measures: a
        general approach", doi:10.1002/sim.3095; for shares Newcombe 1998, "Interval estimation for
        the difference between independent proportions", Statistics in Medicine 17, method 10.
        """
        one, other = (self.mean(values, confidence=confidence) for values in (first, second))
        if one.estimate is None or other.estimate is None:
            return one if one.estimate is None else other
        apart, n = one.estimate - other.estimate, one.n + other.n
        if one.low is None or one.high is None or other.low is None or other.high is None:
            return Estimate.of(apart, n=n)
        below = math.hypot(one.estimate - one.low, other.high - other.estimate)
        above = math.hypot(one.high - one.estimate, other.estimate - other.low)
        return Estimate.of(apart, interval=(apart - below, apart + above), n=n)


Right = NDArray[np.bool_]
_FEWEST_SEEDS = 2


def paired_difference(
    first: Sequence[Right], second: Sequence[Right], *, confidence: float = 0.95
) -> Estimate:
    """The share of right examples of one configuration less that of another.

    Both were asked about the same examples, which are a sample of all that there are: the variance
    is that of the examples' own differences, over their number, plus that of the seeds' shares,
    over theirs. The luck of a seed with single examples is in both, so the interval is a little too
    wide; without it in the second, few seeds would make it too narrow.

    Args:
        first: a seed each, one for each example, shape (n,).
        second: the same.
        confidence: of the interval.

    Returns:
        The difference, with n the number of examples; without bounds where one of the two has
        fewer than two seeds.

    Source: two-way crossed random effects; Owen 2007, "The pigeonhole bootstrap", Annals of Applied
        Statistics 1(2), section 3; the degrees of freedom by Satterthwaite 1946.
    """
    if not first or not second:
        return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
    ours, theirs = np.stack(first).astype(float), np.stack(second).astype(float)
    apart = ours.mean(0) - theirs.mean(0)
    n, estimate = apart.size, float(apart.mean())
    if min(len(ours), len(theirs)) < _FEWEST_SEEDS or n < 2:
        return Estimate.of(estimate, n=n)
    parts = [(float(apart.var(ddof=1)) / n, n - 1)]
    for shares in (ours.mean(1), theirs.mean(1)):
        parts.append((float(shares.var(ddof=1)) / len(shares), len(shares) - 1))
    variance = math.fsum(part for part, _ in parts)
    if variance == 0:
        return Estimate.of(estimate, interval=(estimate, estimate), n=n)
    degrees = variance**2 / math.fsum(part**2 / freedom for part, freedom in parts)
    half = float(stdtrit(degrees, (1 + confidence) / 2)) * math.sqrt(variance)
    return Estimate.of(estimate, interval=(estimate - half, estimate + half), n=n)


def generalization_gap(
    train: Sequence[float],
    held_out: Sequence[float],
    *,
    n_train: int,
    n_train_evaluated: int,
    n_held_out: int,
    confidence: float = 0.95,
) -> Estimate:
    """The mean gap of a share of examples, such as accuracy, with its interval.

    Held-out examples are a sample of all that there are; train examples of the training set, where
    only a part of it was evaluated; seeds of all seeds. The three distances are put together as the
    sides of a right angle. Examples count as if each seed had judged them alone, which is a little
    too wide: seeds agree on most.

    Args:
        train: the share of train examples, a seed each, in [0, 1].
        held_out: the share of held-out examples, of the same seeds.
        n_train: examples in the training set.
        n_train_evaluated: of these, how many the share is of.
        n_held_out: how many examples the held-out share is of.
        confidence: of the interval.

    Returns:
        The gap, with n the number of seeds; without bounds from one seed.

    Source: Wilson 1927, JASA 22(158), for one share; Newcombe 1998, Statistics in Medicine 17,
        method 10, and Zou and Donner 2008, doi:10.1002/sim.3095, for differences.
    """
    gaps = [one - other for one, other in zip(train, held_out, strict=True)]
    if not gaps:
        return Estimate.cannot_tell(Reason.of("no_trial_ended_well"))
    gap, n = fmean(gaps), len(gaps)
    if n < _FEWEST_SEEDS:
        return Estimate.of(gap, n=n)
    quantile = (1 + confidence) / 2
    of_seeds = float(stdtrit(n - 1, quantile)) * stdev(gaps) / math.sqrt(n)
    left = math.sqrt(max(0.0, 1 - n_train_evaluated / n_train))
    own, other = fmean(train), fmean(held_out)
    own_low, own_high = wilson_interval(own, n_train_evaluated, confidence=confidence)
    other_low, other_high = wilson_interval(other, n_held_out, confidence=confidence)
    below = math.hypot(left * (own - own_low), other_high - other, of_seeds)
    above = math.hypot(left * (own_high - own), other - other_low, of_seeds)
    return Estimate.of(gap, interval=(gap - below, gap + above), n=n)


def wilson_interval(share: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share of n examples, within [0, 1].

    Args:
        share: in [0, 1].
        n: at least 1.
        confidence: of the interval.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference",
        JASA 22(158).
    """
    z_sq = float(ndtri((1 + confidence) / 2)) ** 2
    middle = (share + z_sq / (2 * n)) / (1 + z_sq / n)
    half = math.sqrt(z_sq * (share * (1 - share) / n + z_sq / (4 * n**2))) / (1 + z_sq / n)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
