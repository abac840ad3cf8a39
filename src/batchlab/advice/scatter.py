"""Scatter: how far runs of one configuration lie apart from seed to seed, on a log scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

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
