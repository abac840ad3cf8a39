"""Steps to target as a table, and the curves S_min (1 + (B_crit/B)^alpha) closest to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from batchlab.errors import FitError

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Scatter below this is arithmetic, not measurement: noise-free points end up with it.
NO_SCATTER = 1e-11


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsObservation:
    """Between which two evaluations one run reached its target.

    Attributes:
        batch_size: examples per step, >= 1.
        after_steps: the last evaluation at which the target was not reached (0: unknown).
        steps: the first evaluation at which it was, None: never until the run ended at
            `after_steps`. Equal to `after_steps`, or with `after_steps` 0, it is exact.
    """

    batch_size: int
    after_steps: float
    steps: float | None

    def __post_init__(self) -> None:
        """Refuse numbers that no run can give.

        Raises:
            FitError: a number that is not finite or not positive, or an interval of no length.
        """
        numbers = [self.batch_size, self.after_steps] + [self.steps] * (self.steps is not None)
        if not all(math.isfinite(number) for number in numbers if number is not None):
            raise FitError("every number of a point must be finite; leave this run out")
        if self.batch_size < 1 or self.after_steps < 0:
            raise FitError("batch_size must be at least 1 and after_steps at least 0")
        if self.steps is None and self.after_steps == 0:
            raise FitError(
                "a run that never reached its target says for how many steps it did not; give them "
                "as after_steps"
            )
        if self.steps is not None and not max(self.after_steps, 1e-300) <= self.steps:
            raise FitError("steps must be above 0 and not below after_steps")

    @property
    def censored(self) -> bool:
        """Whether the target was not reached: the steps are more than `after_steps`."""
        return self.steps is None

    @property
    def log_middle(self) -> float:
        """The logarithm of the steps: of the geometric middle where only an interval is known."""
        if self.steps is None:
            return math.log(self.after_steps)
        if self.after_steps == 0:
            return math.log(self.steps)
        return 0.5 * (math.log(self.after_steps) + math.log(self.steps))

    @property
    def log_width(self) -> float:
        """The length of the interval on the log scale; infinite for a run that never got there."""
        if self.steps is None:
            return math.inf
        return math.log(self.steps / self.after_steps) if self.after_steps > 0 else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsTable:
    """n observations at k batch sizes: `open` ones are imputed, the others are numbers."""

    batch_size: Array  # the distinct batch sizes, ascending, shape (k,)
    group: Index  # place of each observation's batch size, shape (n,)
    count: Array  # observations of each batch size, shape (k,)
    log_steps: Array  # log of the (middle) steps; of the bound where never reached, shape (n,)
    # whether an observation is a bound alone, (n,)
    open: NDArray[np.bool_]
    low: Array  # lower end of what is known, log, shape (n,)
    high: Array  # upper end, log, infinite for a bound, shape (n,)
    rounding_sq: Array  # variance that an interval's middle adds, shape (n,)

    @classmethod
    def of(cls, observations: Sequence[StepsObservation]) -> StepsTable:
        """The table of these observations, in their order.

        Raises:
            FitError: there is none.
        """
        if not observations:
            raise FitError("no runs were given; a fit needs at least one that reached its target")
        batch_size, group = np.unique(
            np.array([float(seen.batch_size) for seen in observations]), return_inverse=True
        )
        middle = np.array([seen.log_middle for seen in observations])
        width = np.array([seen.log_width for seen in observations])
        count = np.bincount(group).astype(float)
        reached = np.isfinite(width)
        half = np.where(reached, width / 2, 0.0)
        return cls(
            batch_size=batch_size,
            group=group,
            count=count,
            log_steps=middle,
            open=~reached,
            low=middle - half,
            high=np.where(reached, middle + half, np.inf),
            rounding_sq=np.where(reached, width, 0.0) ** 2 / 12,
        )

    @property
    def marks_factor(self) -> float:
        """To what factor the steps of a run are known that met its target between two marks.

        Of the batch size where they are known least.
        """
        return float(np.exp(np.sqrt(12 * np.max(self.rounding_sq, initial=0.0))))

    @property
    def n(self) -> int:
        """Observations."""
        return len(self.group)

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the scatter within batch sizes."""
        return len(self.group) - len(self.batch_size)

    def means(self, log_steps: Array) -> Array:
        """Mean by batch size of observations, shape (..., n) to (..., k)."""
        members = self.group[:, None] == np.arange(len(self.batch_size))
        return np.asarray((log_steps @ members.astype(float)) / self.count)

    def within(self, log_steps: Array) -> tuple[Array, Array]:
        """The scatter within batch sizes, and how far their means are off by it.

        Where seeds agree better than their evaluations resolve, the resolution is the scatter, and
        more seeds do not average their common rounding out.

        Args:
            log_steps: c tables, shape (c, n), or one of shape (n,).

        Returns:
            Sums of squares within batch sizes, shape (c,), and the variances of the means over that
            of one seed, shape (k,).
        """
        around = log_steps - self.means(log_steps)[..., self.group]
        square = np.atleast_1d(np.sum(around**2, axis=-1))
        kappa = 1 / self.count
        if self.degrees and self.rounding_sq.any():
            square = np.maximum(square, self.degrees * self.rounding_sq.mean())
            resolution = np.bincount(self.group, self.rounding_sq) / self.count
            kappa = np.maximum(kappa, resolution / (float(square.mean()) / self.degrees))
        return square, kappa

    def seed_sd(self, log_steps: Array) -> float | None:
        """Standard deviation of log steps (n,) between seeds, None without repeats."""
        return math.sqrt(self.within(log_steps)[0][0] / self.degrees) if self.degrees else None

    def residuals(self, fitted: Array) -> tuple[float | None, ...]:
        """Log steps less those of their batch size (k,), None where the target was not reached."""
        away = self.log_steps - fitted[self.group]
        return tuple(
            float(value) if reached else None
            for value, reached in zip(away, np.isfinite(self.high), strict=True)
        )

    def started(self) -> Array:
        """Log steps to begin an iteration with, (n,): a bound as a number a little above it."""
        return np.where(np.isfinite(self.high), self.log_steps, self.low + 0.1)

    def without_open(self) -> StepsTable | None:
        """The batch sizes at which no observation is open; None: there is none."""
        open_sizes = np.bincount(self.group, self.open, minlength=len(self.count)) > 0
        use = ~open_sizes[self.group]
        if not use.any():
            return None
        sizes, group = np.unique(self.batch_size[self.group[use]], return_inverse=True)
        return StepsTable(
            batch_size=sizes,
            group=group,
            count=np.bincount(group).astype(float),
            log_steps=self.log_steps[use],
            open=self.open[use],
            low=self.low[use],
            high=self.high[use],
            rounding_sq=self.rounding_sq[use],
        )

    def never_reached(self) -> NDArray[np.bool_]:
        """Batch sizes at which no run reached the target, shape (k,)."""
        reached = np.bincount(self.group, np.isfinite(self.high), minlength=len(self.count))
        return np.asarray(reached == 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsCurves:
    """Curves of steps to target over the measured batch sizes, one or many."""

    level: Array  # log steps at the largest measured batch size, shape (m,)
    fall: Array  # log of the steps at the smallest over those at the largest, shape (m,)
    smallest: float  # the smallest measured batch size
    largest: float  # the largest
    # alpha of S_min (1 + (B_crit/B)^alpha), shape (m,); 1.0: all follow the law
    exponent: float | Array = 1.0

    @property
    def s_min(self) -> Array:
        """Steps in the limit of large batches; not above 0 where steps do not level off."""
        return np.asarray(np.exp(self.level) * self._rest)

    @property
    def b_crit(self) -> Array:
        """Where steps are twice S_min; infinite without levelling off, 0 where steps don't fall."""
        rise, rest = self._rise, self._rest
        power = np.divide(rise, rest, out=np.full_like(rise, np.inf), where=rest > 0)
        with np.errstate(over="ignore"):
            return np.asarray(np.where(rise > 0, power, 0.0) ** (1 / self.exponent))

    @property
    def e_min(self) -> Array:
        """Samples in the limit of small batches, of the law; not above 0 without a fall."""
        return np.asarray(np.exp(self.level) * self._rise)

    @property
    def _rise(self) -> Array:
        """What the steps over those at the largest batch size gain by one unit of B^-alpha."""
        ends = 1 / self.smallest**self.exponent - 1 / self.largest**self.exponent
        return np.asarray(np.expm1(self.fall) / ends)

    @property
    def _rest(self) -> Array:
        """S_min over the steps at the largest batch size."""
        return np.asarray(1 - self._rise / self.largest**self.exponent)

    def log_steps(self, batch_size: ArrayLike) -> Array:
        """Log steps on curves of the law at batch sizes of shape (j,), shape (m, j).

        Outside the measured range the fall is first brought between none and perfect scaling: no
        training takes more steps, or fewer samples, at a larger batch.
        """
        at = np.asarray(batch_size, dtype=float)
        outside = (at < self.smallest) | (at > self.largest)
        own_fall, steepest = self.fall[:, None], float(np.log(self.largest / self.smallest))
        fall = np.where(outside, np.clip(own_fall, 0.0, steepest), own_fall)
        edge = np.where(at < self.smallest, own_fall - fall, 0.0)
        rise = np.log1p(places(at, self.smallest, self.largest) * np.expm1(fall))
        return np.asarray(self.level[:, None] + edge + rise)


def places(
    batch_size: Array, smallest: float, largest: float, exponent: float | Array = 1.0
) -> Array:
    """Where batch sizes lie in B^-alpha, from 1 at the smallest to 0 at the largest."""
    at = np.asarray(batch_size, dtype=float)
    share = (at**-exponent - largest**-exponent) / (smallest**-exponent - largest**-exponent)
    # Exactly 0: a rounding error would be multiplied by the whole fall.
    return np.asarray(np.where(at == largest, 0.0, share))


# Where a search stops: 1e-15 takes a third longer and gives the same digits.
_TOLERANCE = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-12)
SMALLEST, LARGEST = 0.1, 10.0  # the exponents that are looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosestCurve:
    """The curve that lies closest to the means of the batch sizes, on a log scale."""

    fall: float  # log of the steps at the smallest over those at the largest
    fitted: Array  # log steps at each batch size, shape (k,)
    square: float  # sum of squares of the deviations of the means
    stiffness: float  # how far one more unit of fall takes the means off, at one exponent
    log_exponent: float = 0.0  # 0 of the law
    # the same of log exponent, with the fall that goes best with each
    exponent_stiffness: float = math.inf
    ridge: float = 0.0  # what that fall gains by one more unit of log exponent


def closest_law(batch_size: Array, log_mean: Array, weight: Array) -> ClosestCurve:
    """Least squares on log steps for level and fall, from the best of a coarse grid of falls.

    Args:
        batch_size: ascending, shape (k,), k >= 2.
        log_mean: mean log steps of each, shape (k,).
        weight: observations behind each mean, shape (k,).
    """
    place = places(batch_size, batch_size[0], batch_size[-1])
    share, root = weight / weight.sum(), np.sqrt(weight)

    def away(fall: Array) -> Array:
        z = log_mean - np.log1p(place * np.expm1(fall))
        return np.asarray(root * (z - (z @ share)[..., None]))

    def slope(fall: Array) -> Array:
        return np.asarray(place * np.exp(fall) / (1 + place * np.expm1(fall)))

    def falls_with(fall: Array) -> Array:
        return np.asarray(-root * (slope(fall) - slope(fall) @ share))[:, None]

    steepest = np.log(batch_size[-1] / batch_size[0])
    falls = np.linspace(-0.5 * steepest - 0.5, 1.5 * steepest + 0.5, 33)[:, None]
    start = falls[np.argmin(np.sum(away(falls) ** 2, axis=1))]
    from scipy.optimize import least_squares  # a page that fits no curve has no time for it

    found = least_squares(away, start, falls_with, method="lm", **_TOLERANCE)
    rise = np.log1p(place * np.expm1(found.x))
    around = slope(found.x) - slope(found.x).mean()
    return ClosestCurve(
        fall=float(found.x[0]),
        fitted=float((log_mean - rise) @ share) + rise,
        square=2 * float(found.cost),
        stiffness=max(float(np.sum(around**2)) ** 0.5, 1e-3),
    )


def closest_curve(
    batch_size: Array, log_mean: Array, law: ClosestCurve, *, pull: float = 0.0
) -> ClosestCurve:
    """Least squares on log steps for exponent, fall and level; each mean counts alike.

    Args:
        batch_size: ascending, shape (k,).
        log_mean: mean log steps of each, shape (k,).
        law: the closest curve with exponent 1, at which the search starts.
        pull: towards exponent 1: what one unit of log exponent counts as a deviation; 0: nothing.
    """
    smallest, largest = batch_size[0], batch_size[-1]
    steepest = float(np.log(largest / smallest))

    def rise(at: Array, alpha_factor: float = 1.0) -> Array:
        place = places(batch_size, smallest, largest, np.exp(at[0]) * alpha_factor)
        return np.asarray(np.log1p(place * np.expm1(at[1])))

    def away(at: Array) -> Array:
        z = log_mean - rise(at)
        return np.append(z - z.mean(), pull * at[0])

    def slopes(at: Array) -> Array:
        place = places(batch_size, smallest, largest, np.exp(at[0]))
        here = rise(at)
        by_alpha = (rise(at, np.exp(1e-6)) - here) / 1e-6
        each = np.stack([by_alpha, place * np.exp(at[1] - here)], axis=1)
        return np.vstack([each.mean(axis=0) - each, [pull, 0.0]])

    low = np.log(SMALLEST), min(law.fall, -2 * steepest - 2)
    high = np.log(LARGEST), max(law.fall, 3 * steepest + 2)
    from scipy.optimize import least_squares

    found = least_squares(away, (0.0, law.fall), slopes, bounds=(low, high), **_TOLERANCE)
    away_from_it, here = found.fun[:-1], slopes(found.x)
    normal = here.T @ here + 1e-6 * np.eye(2)
    inverse = np.linalg.inv(normal)
    return ClosestCurve(
        fall=float(found.x[1]),
        fitted=log_mean - away_from_it,
        square=float(np.sum(away_from_it**2)),
        stiffness=float(normal[1, 1] ** 0.5),
        log_exponent=float(found.x[0]),
        exponent_stiffness=float(inverse[0, 0] ** -0.5),
        ridge=float(inverse[0, 1] / inverse[0, 0]),
    )


SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class MonotoneTest:
    """What the means of the batch sizes say against monotone steps.

    Attributes:
        steps_rise: the two batch sizes, ascending, that show most clearly that a larger batch needs
            more steps; None: no two do.
        samples_fall: the two that show most clearly that a larger batch needs fewer examples; None:
            no two do.
    """

    steps_rise: tuple[int, int] | None = None
    samples_fall: tuple[int, int] | None = None

    @property
    def rejected(self) -> bool:
        """Whether the means reject monotone steps."""
        return self.steps_rise is not None or self.samples_fall is not None


def monotone_test(
    batch_size: Array, log_mean: Array, variance: Array, degrees: int, *, tolerance: float = 0.0
) -> MonotoneTest:
    """Compare every two batch sizes; all comparisons together err 5 times in 100 (Bonferroni).

    Args:
        batch_size: ascending, shape (k,).
        log_mean: mean log steps of each, shape (k,).
        variance: of those means, shape (k,).
        degrees: of freedom behind the variances; 0: nothing was repeated and nothing is rejected.
        tolerance: what a rise or a fall must exceed to count, a log ratio >= 0.
    """
    k = len(batch_size)
    if degrees < 1 or k < 2:
        return MonotoneTest()
    small, large = np.triu_indices(k, 1)
    rise = log_mean[large] - log_mean[small]
    fall = -rise - np.log(batch_size[large] / batch_size[small])
    error = np.sqrt(variance[small] + variance[large] + NO_SCATTER**2)
    critical = float(stdtrit(degrees, 1 - SIGNIFICANT / (k * (k - 1))))

    def clearest(away: Array) -> tuple[int, int] | None:
        t = (away - tolerance) / error
        i = int(np.argmax(t))
        pair = int(batch_size[small[i]]), int(batch_size[large[i]])
        return pair if t[i] > critical else None

    return MonotoneTest(steps_rise=clearest(rise), samples_fall=clearest(fall))


def monotone_log_steps(log_steps: Array, log_batch_size: Array) -> Array:
    """Log steps with scatter, made to fall with the batch size but never faster than 1/B.

    The result lies half-way between the monotone curves that touch from above and from below: it
    leaves monotone steps alone and pushes a flat truth neither way.

    Args:
        log_steps: shape (..., k), by ascending batch size.
        log_batch_size: shape (k,).

    Returns:
        Shape (..., k): S is non-increasing in B, and B * S non-decreasing.
    """
    falling = 0.5 * (_running_min(log_steps) + _running_max(log_steps[..., ::-1])[..., ::-1])
    samples = falling + log_batch_size
    # Its running extremes grow by no more than it does, so the steps still fall.
    rising = 0.5 * (_running_max(samples) + _running_min(samples[..., ::-1])[..., ::-1])
    return np.asarray(rising - log_batch_size)


def interpolated(log_steps: Array, log_batch_size: Array, at: Array) -> Array:
    """Straight lines on log-log scales between the measured batch sizes.

    Args:
        log_steps: shape (m, k).
        log_batch_size: ascending, shape (k,), k >= 2.
        at: where, within the measured range, shape (j,).

    Returns:
        Shape (m, j).
    """
    left = np.clip(
        np.searchsorted(log_batch_size, at, side="right") - 1, 0, len(log_batch_size) - 2
    )
    share = (at - log_batch_size[left]) / (log_batch_size[left + 1] - log_batch_size[left])
    return np.asarray(log_steps[:, left] * (1 - share) + log_steps[:, left + 1] * share)


def _running_max(values: Array) -> Array:
    return np.asarray(np.maximum.accumulate(values, axis=-1))


def _running_min(values: Array) -> Array:
    return np.asarray(np.minimum.accumulate(values, axis=-1))
