"""DistanceGrowth: whether a distance grows with the logarithm of the steps or with a power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from batchlab.laws.straight_line import StraightLine

_FEWEST = 5
# The last part of a training, by steps: its beginning follows neither law.
_LAST = 10.0
_LEAST_SPAN = 4.0
# One law is told from the other where the other is so many times as far off.
_CLEARLY = 2.0

Nearer = Literal["logarithm", "power", "either"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DistanceGrowth:
    """How a distance d grew over at most the last tenfold of steps t, by two laws.

    Attributes:
        first_step: where the part begins that they were fitted to.
        last_step: where it ends.
        per_doubling: what twice the steps add, by d = a + c ln t.
        log_error: root mean square of that law's error, as a share of the distance.
        exponent: p of d = a t^p.
        power_error: the same of the power law.
        n: places it was seen at.
    """

    first_step: int
    last_step: int
    per_doubling: float
    log_error: float
    exponent: float
    power_error: float
    n: int

    @property
    def nearer(self) -> Nearer:
        """The law that is nearer, if the other is at least twice as far off."""
        if self.power_error > _CLEARLY * self.log_error:
            return "logarithm"
        return "power" if self.log_error > _CLEARLY * self.power_error else "either"


def distance_growth(seen: Sequence[tuple[int, float]]) -> DistanceGrowth | None:
    """Both laws by least squares of the errors as shares of the distance.

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
    times = np.log([step for step, _ in used])
    distances = np.array([value for _, value in used])
    # a + c ln t = d, each row over its d: then its errors are shares, as those of logarithms are.
    of_log = np.column_stack([1 / distances, times / distances])
    (a, c), *_ = np.linalg.lstsq(of_log, np.ones(len(used)))
    power = StraightLine.through(times.tolist(), np.log(distances).tolist())
    by_power = np.exp(power.level + power.slope * times)
    return DistanceGrowth(
        first_step=used[0][0],
        last_step=used[-1][0],
        per_doubling=float(c) * math.log(2),
        log_error=_rms((a + c * times) / distances - 1),
        exponent=power.slope,
        power_error=_rms(by_power / distances - 1),
        n=len(used),
    )


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
