"""Learning-rate schedules by name, and how long a schedule is constant at first."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

Schedule = Callable[[float], float]
"""A function(fraction of the training done, 0 to 1) -> factor on the peak learning rate."""


def constant_then_to_zero(fraction: float) -> float:
    """Return 1, then a factor that falls linearly to 0 over the last fifth of a training.

    Source: warmup-stable-decay without its warm-up (Hägele et al. 2024, arXiv:2405.18392).
    """
    return min(1.0, max(0.0, 5 * (1 - fraction)))


SCHEDULES: Final = MappingProxyType({"wsd": constant_then_to_zero})
"""The schedules, by the names that the setting `schedule` accepts for any workload."""

# `constant_until` evaluates a schedule at this many points of a training.
_PARTS = 1000


def constant_until(schedule: Schedule | None) -> float:
    """Return the fraction of a training, to a thousandth, before the learning rate first changes.

    Trainings of different lengths can share the steps before this change. A change that lasts for
    less than a thousandth of the training is missed.

    Args:
        schedule: the workload's schedule. For None (a scheduler may set the rate), or a schedule
            that raises an error (which a training will report), the result is 0.
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
