"""masters2018: with the rate tuned, which batch sizes generalize best after equal epochs?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from replications.experiment import Experiment, Measured, Studies
from replications.seeds import best_of, by_rate, difference, each_seed, final, judging, mean

_BEST = (2, 8, 16, 32)
_LARGER = (64, 128, 256, 1024)
_OCTAVES = (-2, -1, 0, 1, 2, 3)
_ACCEPTABLE = 0.01  # below the best rate: a point


def _rates(batch_size: int) -> tuple[float, ...]:
    """Return rates around one that grows with the root of the batch size, 0.05 at 16."""
    middle = 0.05 * math.sqrt(batch_size / 16)
    return tuple(float(f"{middle * 2.0**step:.3g}") for step in _OCTAVES)


def _name(batch_size: int) -> str:
    return f"B = {batch_size}"


def experiments(is_quick: bool) -> tuple[Experiment, ...]:
    """Return the sweeps."""
    return tuple(
        Experiment(
            name=_name(size),
            settings={"momentum": 0.0},
            batch_sizes=(size,),
            learning_rates=_rates(size),
            seeds=6,
            epochs=4 if is_quick else 30,
        )
        for size in (*_BEST, *_LARGER)
    )


def _at_best(studies: Studies, sizes: Sequence[int]) -> dict[int, float]:
    """Return test accuracies at the size and rate with the best validation accuracy."""
    cells = {
        (size, rate): records
        for size in sizes
        for rate, records in by_rate(studies[_name(size)], size).items()
    }
    ends = {cell: final(records, split="validation") for cell, records in cells.items()}
    best = best_of(ends, better="higher")
    return {} if best is None else final(judging(cells[best]))


def _n_acceptable(studies: Studies, batch_size: int) -> dict[int, float]:
    """Return for each seed how many of the rates end within a point of the best."""
    ends: dict[int, list[float]] = {}
    for records in by_rate(studies[_name(batch_size)], batch_size).values():
        for seed, value in final(records, split="validation").items():
            ends.setdefault(seed, []).append(value)
    return {
        seed: float(sum(value > max(values) - _ACCEPTABLE for value in values))
        for seed, values in ends.items()
    }


def measured(studies: Studies) -> Measured:
    """Return what they show, by name."""
    best, larger = (_at_best(studies, sizes) for sizes in (_BEST, _LARGER))
    few, many = (_n_acceptable(studies, size) for size in (_LARGER[-1], _BEST[0]))
    # Whole octaves: two counts that agree are known no better than to one of them.
    apart = each_seed(lambda one, other: one - other, few, many)
    return {
        "best": difference(best, larger, n_examples=10_000),
        "range": mean(apart, resolution=math.sqrt(2)),
    }
