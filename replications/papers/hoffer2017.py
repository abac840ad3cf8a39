"""hoffer2017: what large batches lose, and what wins it back."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from batchlab import TrialRecord
from replications.experiment import Experiment, Measured, Studies
from replications.papers.f1_network import f1_workload
from replications.seeds import by_seed, difference, final, mean, trials
from replications.tables import PublishedTable

_TABLE = PublishedTable.of("hoffer2017")
_SMALL = _TABLE.whole("batch_size_small", "Table 1")
_LARGE = _TABLE.whole("batch_size_large", "Table 1")
_GHOST = _TABLE.whole("ghost_batch_size", "GBN")
_RATE = _TABLE.number("learning_rate", "F1;epoch 0-9")
_EPOCHS = _TABLE.whole("epochs", "F1 MNIST commands")
_FIRST_RATE = 0.2  # of the run is at the first, high rate
_QUICK_LARGE, _QUICK_EPOCHS, _QUICK_WIDTH = 2048, 6, 128
_ARMS = ("SB", "LB", "LB+LR", "LB+LR+GBN", "LB+LR+GBN+RA")


def experiments(is_quick: bool) -> tuple[Experiment, ...]:
    """Return the sweeps."""
    large, epochs = (_QUICK_LARGE, _QUICK_EPOCHS) if is_quick else (_LARGE, _EPOCHS)
    times = math.ceil(large / _SMALL)
    workloads = {
        ghost_batch_size: f1_workload(
            width=_QUICK_WIDTH if is_quick else 512,
            ghost_batch_size=ghost_batch_size,
            momentum=_TABLE.number("momentum", "F1"),
            weight_decay=_TABLE.number("weight_decay", "F1"),
            clip_norm=_TABLE.number("gradient_clip_norm", "all"),
        )
        for ghost_batch_size in (None, _GHOST)
    }
    return tuple(
        Experiment(
            name=arm,
            workload=workloads[_GHOST if "GBN" in arm else None],
            batch_sizes=(_SMALL if arm == "SB" else large,),
            learning_rates=(_RATE * (math.sqrt(times) if "LR" in arm else 1.0),),
            seeds=5,
            epochs=epochs * (times if "RA" in arm else 1),
        )
        for arm in _ARMS
    )


def error_of_log_less_power(record: TrialRecord) -> float | None:
    """Return the error of distance ~ a + c log t minus that of a power of t, at the first rate.

    Both are root mean squares as shares of the distance; the first steps, where neither law can
    hold yet, are left out.
    """
    last = _FIRST_RATE * record.steps
    points = [
        (each.step, distance)
        for each in record.evaluations
        if last / 10 <= each.step <= last and (distance := each.measurement("distance"))
    ]
    if len(points) < 5 or points[-1][0] < 4 * points[0][0]:
        return None
    steps, distances = np.array(points).T
    log = np.log(steps)
    by_log = np.polynomial.Polynomial.fit(log, distances, 1, w=1 / distances)(log)
    by_power = np.exp(np.polynomial.Polynomial.fit(log, np.log(distances), 1)(log))
    of_log, of_power = (
        math.sqrt(float(np.mean((law / distances - 1) ** 2))) for law in (by_log, by_power)
    )
    return of_log - of_power


def measured(studies: Studies) -> Measured:
    """Return what they show, by name."""
    ends = {arm: final(trials(studies[arm])) for arm in _ARMS}
    numbers = {arm: mean(values) for arm, values in ends.items()}
    for arm, other in (*pairwise(reversed(_ARMS)), ("LB+LR+GBN+RA", "SB")):
        numbers[f"{arm} less {other}"] = difference(ends[arm], ends[other], n_examples=10_000)
    numbers["law"] = mean(by_seed(trials(studies["SB"]), error_of_log_less_power))
    return numbers
