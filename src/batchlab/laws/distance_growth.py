"""DistanceGrowth: whether a distance grows with the logarithm of the steps or with a power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.laws.straight_line import StraightLine

_FEWEST = 5
# The last part of a training, by steps: its beginning follows neither law.
_LAST = 10.0
_LEAST_SPAN = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DistanceGrowth:
    """How a distance d grew over the last tenfold of steps t, by two laws.

    Attributes:
        per_doubling: what twice the steps add, by d = a + c ln t.
        log_error: root mean square of that law's error, as a share of the distance.
        exponent: p of d = a t^p.
        power_error: the same of the power law.
        n: places it was seen at.
    """

    per_doubling: float
    log_error: float
    exponent: float
    power_error: float
    n: int


def distance_growth(seen: Sequence[tuple[int, float]]) -> DistanceGrowth | None:
    """Both laws by least squares, that of the power in logarithms.

    Args:
        seen: steps taken and the distance there, above 0, ascending.

    Returns:
        None: fewer than five places, or too little of the training, to tell anything.

    Source: Hoffer, Hubara, Soudry 2017, arXiv:1705.08741, section 3: the distance of a random walk
    on a random potential grows with the logarithm of time, that of free diffusion with a power.
    """
    if not seen:
        return None
    last = seen[-1][0]
    used = [(step, value) for step, value in seen if step >= last / _LAST and value > 0]
    if len(used) < _FEWEST or used[-1][0] < _LEAST_SPAN * used[0][0]:
        return None
    times = [math.log(step) for step, _ in used]
    log_law = StraightLine.through(times, [value for _, value in used])
    power_law = StraightLine.through(times, [math.log(value) for _, value in used])
    return DistanceGrowth(
        per_doubling=log_law.slope * math.log(2),
        log_error=_rms([log_law.at(t) / d - 1 for t, (_, d) in zip(times, used, strict=True)]),
        exponent=power_law.slope,
        power_error=_rms(
            [math.exp(power_law.at(t)) / d - 1 for t, (_, d) in zip(times, used, strict=True)]
        ),
        n=len(used),
    )


def _rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))
