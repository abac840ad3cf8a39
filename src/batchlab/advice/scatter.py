"""Scatter: how far runs of one configuration lie apart from seed to seed, on a log scale."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence

from batchlab.advice.run_log import CellKey, RunLog
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


def rounding_sd(run_log: RunLog, cell: CellKey, seeds: Iterable[int]) -> float:
    """How far the log steps of a cell are off because runs are evaluated now and then.

    The target is met anywhere between two evaluations: uniform on that interval of the logarithm.
    Seeds that agree better than that fall between the same two, so more of them average nothing
    out.

    Returns:
        The root of the mean variance over the runs that met the target; 0 where there is none.
    """
    if run_log.until is None:
        return 0.0
    records = (run_log.records.get((*cell, seed)) for seed in seeds)
    crossings = [c for r in records if r is not None and (c := r.crossing(run_log.until))]
    widths = [math.log(c.step / max(1, c.after_step)) for c in crossings if c.step > 0]
    if not widths:
        return 0.0
    return math.sqrt(sum(width**2 for width in widths) / len(widths) / 12)


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
