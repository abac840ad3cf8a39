"""Scatter: how far runs of one configuration lie apart from seed to seed, on a log scale."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence

from batchlab.advice.run_log import RunLog
from batchlab.advice.tuning import learning_cost_of

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


def scatter_of_fresh_seeds(run_log: RunLog, *, purposes_apart: bool = False) -> tuple[float, int]:
    """Scatter between seeds, pooled over every cell that fresh seeds ran.

    Args:
        run_log: the runs.
        purposes_apart: whether valuations and verification of a cell are two groups, as where they
            are compared.
    """
    groups: dict[Hashable, list[float]] = {}
    for key, record in run_log.records.items():
        purpose, cost = run_log.purposes[key], learning_cost_of(run_log, record)
        if purpose in ("value", "verify") and cost is not None:
            group = (key[:2], purpose) if purposes_apart else key[:2]
            groups.setdefault(group, []).append(math.log(cost))
    return pooled_sd(groups.values())
