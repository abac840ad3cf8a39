"""What batch sizes tell of each other: the scatter of runs, and what carries over between sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from batchlab.laws.steps_curve import MonotoneTest, monotone_test
from batchlab.records.estimate import Reason

# Where no configuration was run twice nothing is known but what is usual.
_USUAL_SD = 0.15
_USUAL_DEGREES = 3


def pooled_sd(groups: Iterable[Sequence[float]]) -> tuple[float, int]:
    """Standard deviation within groups and its degrees of freedom; a usual one for want of any."""
    squares, degrees = 0.0, 0
    for values in groups:
        mean = sum(values) / len(values)
        squares += sum((value - mean) ** 2 for value in values)
        degrees += len(values) - 1
    if degrees == 0:
        return _USUAL_SD, _USUAL_DEGREES
    return math.sqrt(squares / degrees), degrees


# Before two batch sizes are tuned: how the best rate follows the batch size, in octaves an octave.
# Between the rules "sqrt" and "linear" for SGD, above what was measured for Adam.
_PRIOR_EXPONENT = 0.5
_PRIOR_WEIGHT = 2.0  # in squared octaves of batch size: a factor of 4 between two sizes counts 2
_LARGEST_EXPONENT = 1.2


def rate_trend(
    points: Sequence[tuple[float, float]], *, untuned_octave: float
) -> tuple[float, float]:
    """Slope and height at the reference batch size of the line through tuned rates.

    (octaves of rate an octave of batch size, octaves of rate).
    """
    if not points:
        return _PRIOR_EXPONENT, untuned_octave
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    below = sum((x - mean_x) ** 2 for x, _ in points)
    slope = (above + _PRIOR_WEIGHT * _PRIOR_EXPONENT) / (below + _PRIOR_WEIGHT)
    slope = min(max(slope, 0.0), _LARGEST_EXPONENT)
    return slope, mean_y - slope * mean_x


@dataclass(frozen=True, kw_only=True, slots=True)
class CarriedOver:
    """The two rules, and which of them the runs reject."""

    rejected: MonotoneTest  # the batch sizes that reject a rule

    @classmethod
    def by(cls, steps: Mapping[int, Sequence[float]], *, delta: float) -> CarriedOver:
        """The rules, tested with the steps of each batch size's runs."""
        sizes = sorted(steps)
        logs = [[math.log(value) for value in steps[size]] for size in sizes]
        # Without a repeat nothing tells scatter from a rejected rule.
        if all(len(values) < 2 for values in logs):
            return cls(rejected=MonotoneTest())
        sd, degrees = pooled_sd(logs)
        return cls(
            rejected=monotone_test(
                np.array(sizes, dtype=float),
                np.array([sum(values) / len(values) for values in logs]),
                np.array([sd**2 / len(values) for values in logs]),
                degrees,
                tolerance=math.log1p(delta),
            )
        )

    def caveats(self) -> list[Reason]:
        """A reason for each rule that the runs reject."""
        rise, fall = self.rejected.steps_rise, self.rejected.samples_fall
        rises = [Reason.of("steps_rise", smaller=rise[0], larger=rise[1])] if rise else []
        falls = [Reason.of("samples_fall", smaller=fall[0], larger=fall[1])] if fall else []
        return [*rises, *falls]

    def least_log_steps(self, log_steps: float, size: int, batch_size: int) -> float:
        """The least log steps of `batch_size` if `size` needs so many; -inf: nothing bounds it."""
        rejected = self.rejected
        if batch_size < size:
            return log_steps if rejected.steps_rise is None else -math.inf
        if batch_size > size and rejected.samples_fall is not None:
            return -math.inf
        return log_steps - math.log(batch_size / size)

    def most_steps(self, steps: float, size: int, batch_size: int) -> float:
        """The most steps of `batch_size` if `size` needs so many; inf: nothing bounds them."""
        rejected = self.rejected
        if batch_size > size:
            return steps if rejected.steps_rise is None else math.inf
        if batch_size < size and rejected.samples_fall is not None:
            return math.inf
        return steps * size / batch_size
