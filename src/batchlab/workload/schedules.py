"""Schedules: shapes of the learning rate by name, and where a shape begins to fall."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

Schedule = Callable[[float], float]
"""A factor on the peak learning rate, by the fraction of the training that is done."""


def constant_then_to_zero(fraction: float) -> float:
    """Keep the rate, then let it fall in a straight line to 0 over the last fifth of a training.

    Source: warmup-stable-decay without its warm-up (Hägele et al. 2024, arXiv:2405.18392).
    """
    return min(1.0, max(0.0, 5 * (1 - fraction)))


SCHEDULES: Final = MappingProxyType({"wsd": constant_then_to_zero})
"""The schedules that the setting `schedule` can give to any workload, by name."""

# A shape is evaluated at this many points of a training.
_PARTS = 1000


def constant_until(schedule: Schedule | None) -> float:
    """Return the fraction of a training over which the rate keeps its first value, to a thousandth.

    Trainings of different lengths are the same up to there. A change that lasts for less than a
    thousandth of the training is not seen.

    Args:
        schedule: the shape of the rate, or None if something else sets it. If it raises an error,
            which a training will show, nothing counts as constant.
    """
    if schedule is None:
        return 0.0
    n_constant = 0
    try:
        first = schedule(0.0)
        while n_constant + 1 < _PARTS and schedule((n_constant + 1) / _PARTS) == first:
            n_constant += 1
    except Exception:
        return 0.0
    return n_constant / _PARTS
