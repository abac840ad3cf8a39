"""The noisy quadratic model under a cosine: what a training of some length ends with, exactly.

SGD on a quadratic whose curvatures fall like a power, with gradient noise of the same covariance
(Zhang et al. 2019, arXiv:1907.04164, section 4): the variance of each coordinate goes by
v <- (1 - rate h)^2 v + rate^2 h / B, and the loss is the mean of h v.
"""

import math
from functools import cache

import numpy as np

_CURVATURE = 1.0 / np.arange(1, 41) ** 1.2
_AT_FIRST = 10.0  # variance of each coordinate


@cache
def loss(batch_size: int, rate: float, steps: int) -> float:
    """Return the expected loss after a training from a cosine's peak rate to 0."""
    variance = np.full_like(_CURVATURE, _AT_FIRST)
    for step in range(steps):
        if not np.isfinite(variance).all() or variance[0] > 1e9:
            return math.inf
        now = rate * (1 + math.cos(math.pi * step / steps)) / 2
        kept = 1 - now * _CURVATURE
        variance = kept * kept * variance + now * now * _CURVATURE * (8.0 / batch_size)
    return float(np.sum(_CURVATURE * variance))


def steps_to(level: float, batch_size: int) -> float:
    """Return the steps of the shortest training that ends at a level, at its best rate."""
    rates = [2.0 ** (k / 2 - 8) for k in range(20)]

    def ends(steps: int) -> float:
        return min(loss(batch_size, rate, steps) for rate in rates)

    high = 8
    while ends(high) > level:
        high *= 2
    low = high // 2
    while high > 1.03 * low + 1:
        middle = round(math.sqrt(low * high))
        low, high = (low, middle) if ends(middle) <= level else (middle, high)
    return math.sqrt(low * high)
