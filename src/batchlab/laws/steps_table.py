"""StepsTable: the observations of steps to target by batch size, as arrays on a log scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchlab.errors import FitError

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Scatter below this is arithmetic, not measurement: noise-free points end up with it.
NO_SCATTER = 1e-11
# An interval narrower than this share of the scatter is as good as its middle.
_NARROW = 1.5


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
            raise FitError(f"{self}: every number of a point must be finite; leave this run out")
        if self.batch_size < 1 or self.after_steps < 0:
            raise FitError(f"{self}: batch_size must be at least 1 and after_steps at least 0")
        if self.steps is None and self.after_steps == 0:
            raise FitError(
                f"{self}: a run that never reached its target says for how many steps it did not; "
                f"give them as after_steps"
            )
        if self.steps is not None and not max(self.after_steps, 1e-300) <= self.steps:
            raise FitError(f"{self}: steps must be above 0 and not below after_steps")

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
    """n observations at k batch sizes: `open` ones are imputed, the others are numbers.

    Attributes:
        batch_size: the distinct batch sizes, ascending, shape (k,).
        group: place of each observation's batch size, shape (n,).
        count: observations of each batch size, shape (k,).
        log_steps: log of the (middle) steps; of the bound where never reached, shape (n,).
        open: whether an observation is a bound, or an interval wide against the scatter, (n,).
        low: lower end of what is known, log, shape (n,).
        high: upper end, log, infinite for a bound, shape (n,).
        rounding_sq: variance that a narrow interval's middle adds, shape (n,).
    """

    batch_size: Array
    group: Index
    count: Array
    log_steps: Array
    open: NDArray[np.bool_]
    low: Array
    high: Array
    rounding_sq: Array

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
        wide = width > max(_NARROW * _scatter(middle[reached], group[reached]), 1e-12)
        # Evaluations 5 % apart stay middles, even where the seeds agree better than that.
        is_open = ~reached | (wide & (width > 0.06))
        half = np.where(reached, width / 2, 0.0)
        return cls(
            batch_size=batch_size,
            group=group,
            count=count,
            log_steps=middle,
            open=is_open,
            low=middle - half,
            high=np.where(reached, middle + half, np.inf),
            rounding_sq=np.where(is_open, 0.0, width) ** 2 / 12,
        )

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
        return np.asarray((log_steps @ self._members) / self.count)

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

    @property
    def _members(self) -> Array:
        return np.asarray(self.group[:, None] == np.arange(len(self.batch_size)), dtype=float)


def _scatter(log_steps: Array, group: Index) -> float:
    """Standard deviation within groups, 0 where nothing was repeated."""
    if len(group) == 0:
        return 0.0
    count = np.bincount(group)
    mean = np.bincount(group, log_steps) / np.maximum(count, 1)
    degrees = len(group) - int(np.count_nonzero(count))
    square = float(np.sum((log_steps - mean[group]) ** 2))
    return math.sqrt(square / degrees) if degrees else 0.0
