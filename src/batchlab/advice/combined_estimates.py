"""Combined estimates: positive quantities multiplied with their intervals, on a log scale."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from batchlab.records.estimate import Estimate

Array = NDArray[np.float64]


def from_log_draws(middle: float, draws: Array, n: int) -> Estimate:
    """The exponential of an estimated logarithm, with the middle 95 % of its draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return Estimate.of(math.exp(middle), interval=(math.exp(low), math.exp(high)), n=n)


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """The estimate times a known factor, which leaves its n as it is."""
    if estimate.estimate is None:
        return estimate
    low, high = (None if b is None else b * factor for b in (estimate.low, estimate.high))
    return Estimate.of(estimate.estimate * factor, interval=(low, high), n=estimate.n)


def product(first: Estimate, second: Estimate) -> Estimate:
    """The product of two independent positive estimates; errors add as squares on a log scale."""
    if first.estimate is None or second.estimate is None:
        return first if first.estimate is None else second
    value = first.estimate * second.estimate
    halves = [log_half_width(first), log_half_width(second)]
    if None in halves:
        return Estimate.of(value, interval=(None, None), n=first.n)
    half = math.sqrt(sum(half**2 for half in halves if half is not None))
    return Estimate.of(value, interval=(value * math.exp(-half), value * math.exp(half)), n=first.n)


def log_half_width(estimate: Estimate) -> float | None:
    """Half the width of its interval on a log scale; None: it has none, or not above 0."""
    if estimate.low is None or estimate.high is None or estimate.low <= 0:
        return None
    return math.log(estimate.high / estimate.low) / 2
