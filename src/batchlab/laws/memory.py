"""MemoryFit: the law M(B) = fixed + per example × B through measured peaks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.errors import UsageError
from batchlab.laws.straight_line import StraightLine
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryFit:
    """Peak memory as a straight line over the batch size.

    Attributes:
        fixed_bytes: what any batch size takes: weights, gradients, optimizer state, data.
        bytes_per_example: what each example of a batch adds: its activations and its copy.
        line: through the peaks; None: there are too few.
    """

    fixed_bytes: Estimate
    bytes_per_example: Estimate
    line: StraightLine | None

    def predicted_bytes(self, batch_size: int) -> Estimate:
        """The peak that the line gives `batch_size`, in bytes; nothing was run.

        Args:
            batch_size: examples per step, in one piece.

        Returns:
            With Student's 95 % interval of a further peak, which widens with the distance from
            what was measured; from two batch sizes without one; or the reason for no line.
        """
        if self.line is None:
            return self.fixed_bytes
        low, high = self.line.further_interval_at(batch_size)
        interval = (None if low is None else max(0.0, low), high)
        return Estimate.of(self.line.at(batch_size), interval=interval, n=self.line.n)

    def largest_batch_size(self, limit_bytes: int) -> int | None:
        """The largest batch size whose predicted peak is within the limit; nothing was run.

        Args:
            limit_bytes: the memory there is.

        Returns:
            In examples; 0 where not even one fits, None where there is no line or a line that does
            not rise.
        """
        fixed, each = self.fixed_bytes.estimate, self.bytes_per_example.estimate
        if fixed is None or each is None or each <= 0:
            return None
        return max(0, math.floor((limit_bytes - fixed) / each))


def fit_memory(points: Sequence[tuple[int, int]]) -> MemoryFit:
    """Fit the line by least squares.

    Args:
        points: (batch size in examples, peak in bytes), in any order.

    Returns:
        Both coefficients with Student's 95 % intervals from the residuals; without bounds from
        two batch sizes, and none from fewer.

    Raises:
        UsageError: a batch size below 1 or a peak below 0.
    """
    for batch_size, peak_bytes in points:
        if batch_size < 1 or peak_bytes < 0:
            raise UsageError(
                f"a peak of {peak_bytes} bytes at batch size {batch_size}: expected a batch size "
                f"of at least 1 and a peak of at least 0"
            )
    n = len(points)
    n_distinct = len({batch_size for batch_size, _ in points})
    if n_distinct < 2:
        unknown = Estimate.cannot_tell(Reason.of("memory_at_too_few", n=n_distinct), n=n)
        return MemoryFit(fixed_bytes=unknown, bytes_per_example=unknown, line=None)
    sizes, peaks = zip(*points, strict=True)
    line = StraightLine.through(sizes, peaks)
    return MemoryFit(
        fixed_bytes=Estimate.of(line.level, interval=line.interval_at(0.0), n=n),
        bytes_per_example=Estimate.of(line.slope, interval=line.slope_interval(), n=n),
        line=line,
    )
