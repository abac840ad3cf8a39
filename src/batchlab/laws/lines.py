"""Least-squares lines, and the law of peak memory by batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from batchlab.records.estimate import Estimate, Reason

T = TypeVar("T")

# scipy.stats.linregress gives the same line, but is not used, because its import takes 0.3 s.


@dataclass(frozen=True, kw_only=True, slots=True)
class StraightLine:
    """The least-squares line through n points."""

    slope: float
    level: float  # The line's y at x = 0.
    n: int
    mean_x: float
    spread: float  # The sum of (x - mean_x)^2 over the points.
    residual_sd: float | None  # The standard deviation of y from the line; None with two points.

    @classmethod
    def through(cls, x: ArrayLike, y: ArrayLike) -> StraightLine:
        """Fit the line to points that are all finite; at least two must differ in x."""
        at, height = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        n, mean_x = len(at), float(at.mean())
        around = at - mean_x
        spread = float(around @ around)
        slope = float(around @ height) / spread
        level = float(height.mean()) - slope * mean_x
        residuals = height - level - slope * at
        return cls(
            slope=slope,
            level=level,
            n=n,
            mean_x=mean_x,
            spread=spread,
            residual_sd=math.sqrt(float(residuals @ residuals) / (n - 2)) if n > 2 else None,
        )

    def at(self, x: float) -> float:
        """Return the y of the line at `x`."""
        return self.level + self.slope * x

    def level_interval(self) -> tuple[float | None, float | None]:
        """Return the 95 % interval of the line's y at x = 0; bounds are None with two points."""
        return self._around(self.level, 1 / self.n + self.mean_x**2 / self.spread)

    def further_interval_at(self, x: float) -> tuple[float | None, float | None]:
        """Return the 95 % interval of a new y measured at `x`; bounds are None with two points."""
        return self._around(self.at(x), 1 + 1 / self.n + (x - self.mean_x) ** 2 / self.spread)

    def slope_interval(self) -> tuple[float | None, float | None]:
        """Return the 95 % interval of the slope; both bounds are None with only two points."""
        return self._around(self.slope, 1 / self.spread)

    def _around(self, value: float, variance: float) -> tuple[float | None, float | None]:
        """Return the 95 % interval of `value`, whose variance is `variance` × residual_sd^2."""
        if self.residual_sd is None:
            return None, None
        half = float(stdtrit(self.n - 2, 0.975)) * self.residual_sd * math.sqrt(variance)
        return value - half, value + half


SIZES_FOR_LAW = 3
"""The fewest batch sizes to which a law of step time, memory or steps is fitted."""


def points_for_law(points: list[tuple[int, T]], *, n_train: int) -> list[tuple[int, T]]:
    """Remove the point of the full batch if at least three other points remain.

    Full-batch steps are faster than the law predicts, because they need not gather examples.

    Args:
        points: (batch size, measurement at this batch size).
        n_train: number of training examples, which is the size of the full batch.
    """
    partial = [point for point in points if point[0] < n_train]
    return partial if len(partial) >= SIZES_FOR_LAW else points


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryFit:
    """The peak memory as a straight line over the batch size.

    Attributes:
        fixed_bytes: the memory at batch size 0: weights, gradients, optimizer state, data set.
        bytes_per_example: the memory for each example of a batch: activations and copied data.
        line: the line through the peaks, or None with fewer than two batch sizes.
    """

    fixed_bytes: Estimate
    bytes_per_example: Estimate
    line: StraightLine | None

    document = ("fixed_bytes", "bytes_per_example")

    def predicted_bytes(self, batch_size: int) -> Estimate:
        """Predict the peak memory at `batch_size` from the line, in bytes.

        Args:
            batch_size: examples per step, all in one forward and backward pass.

        Returns:
            The peak with Student's 95 % interval for a new measurement. With only two measured
            batch sizes, there is no interval; with fewer, only a reason why the peak is unknown.
        """
        if self.line is None:
            return self.fixed_bytes
        low, high = self.line.further_interval_at(batch_size)
        interval = (None if low is None else max(0.0, low), high)
        return Estimate.of(self.line.at(batch_size), interval=interval, n=self.line.n)


def fit_memory(points: Sequence[tuple[int, int]]) -> MemoryFit:
    """Fit peak memory as a straight line over the batch size, by least squares.

    Args:
        points: (batch size in examples, peak in bytes), in any order.

    Returns:
        Intercept and slope with Student's 95 % intervals. With two batch sizes, they have no
        interval; with fewer, they are unknown, with a reason.
    """
    n, n_distinct = len(points), len(dict(points))
    if n_distinct < 2:
        reason = Reason.of("too_few", what="batch sizes with a peak", n=n_distinct, needed=2)
        unknown = Estimate.cannot_tell(reason, n=n)
        return MemoryFit(fixed_bytes=unknown, bytes_per_example=unknown, line=None)
    sizes, peaks = zip(*points, strict=True)
    line = StraightLine.through(sizes, peaks)
    return MemoryFit(
        fixed_bytes=Estimate.of(line.level, interval=line.level_interval(), n=n),
        bytes_per_example=Estimate.of(line.slope, interval=line.slope_interval(), n=n),
        line=line,
    )
