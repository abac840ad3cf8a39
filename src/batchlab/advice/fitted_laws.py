"""Fit the law that an advice reports: how many steps the target needs at each batch size."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from batchlab.advice.study import AdviceStudy
from batchlab.belief.outlook import Outlook
from batchlab.belief.steps_law import Bound, StepsLaw
from batchlab.laws.lines import SIZES_FOR_LAW
from batchlab.records.estimate import Reason

Array = NDArray[np.float64]


def laws_of(study: AdviceStudy, outlook: Outlook, met: Sequence[int]) -> StepsLaw | None:
    """Fit the law of steps by batch size; return None if under three sizes reached the target.

    Args:
        study: the configurations and their runs.
        outlook: the belief after all runs.
        met: for each batch size that reached the target, a configuration of the batch size.
    """
    if len(met) < SIZES_FOR_LAW or study.log.until is None:
        return None
    law = None
    if not study.log.has_schedule:
        draws = np.stack([_at_best_rate(study, outlook, i) for i in met], axis=1)
        law = StepsLaw.of(study.sizes[list(met)].astype(float), draws)
    elif study.whole_only:  # each run reaches the target only near its end
        law = _law_over_lengths(study, outlook)
    return law or StepsLaw.unknown(Reason.of("steps_of_schedule"))


def _law_over_lengths(study: AdviceStudy, outlook: Outlook) -> StepsLaw | None:
    """Fit the law of steps by batch size if each training length is a separate configuration.

    The steps of a batch size are those of its shortest training that ends at the target at the best
    rate, interpolated between two lengths. If all or no lengths of a batch size reach the target,
    they only rule out random draws of the law.
    """
    enclosed: dict[int, Array] = {}
    bounds: list[Bound] = []
    level = study.level_worse
    for size in study.options:
        steps, worse = _by_length(study, outlook, size)
        meets = [float(draws.mean()) <= level for draws in worse]
        if True in meets[1:] and not meets[0]:
            k = meets.index(True)
            short, long = worse[k - 1], worse[k]
            # Limit the interpolation: in some random draws, the longer training hardly ends better,
            # or both trainings end better (or both worse) than the target.
            share = np.clip((short - level) / np.maximum(short - long, 1e-6), -1, 2)
            enclosed[size] = steps[k - 1] + share * (steps[k] - steps[k - 1])
        elif meets:
            k = 0 if meets[0] else -1
            bounds.append((size, steps[k], worse[k] > level))
    if len(enclosed) < SIZES_FOR_LAW:
        return None
    sizes, draws = np.array([*enclosed], dtype=float), np.stack([*enclosed.values()], axis=1)
    return StepsLaw.of(sizes, draws, bounds)


def _by_length(study: AdviceStudy, outlook: Outlook, size: int) -> tuple[list[float], list[Array]]:
    """Return log2(steps) and draws of the best rate's final value at each training length."""
    steps, worse, planned = [], [], study.log.whole_epochs or 0.0
    by_horizon = defaultdict(list)
    for i in study.of_size(size, failed=False):
        by_horizon[study.cells[i].cell.horizon].append(i)
    for horizon, at in sorted(by_horizon.items()):
        steps.append(math.log2(study.log.steps_in(size, horizon * planned)))
        worse.append(outlook.end[:, at].min(axis=1))
    return steps, worse


def _at_best_rate(study: AdviceStudy, outlook: Outlook, i: int) -> Array:
    """Return draws of log2(steps to the target) at the best rate of configuration i's size.

    Untrained rates are included, because otherwise a batch size that ran only at poor rates would
    look too slow.
    """
    size = study.cells[i].cell.batch_size
    at = study.of_size(size, failed=False)
    return np.asarray(outlook.cost[:, at].min(axis=1) - math.log2(study.weight[size]))
