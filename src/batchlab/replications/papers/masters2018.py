"""masters2018: with the rate tuned, which batch sizes generalize best after equal epochs?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from batchlab.records.replication import Drawing, Form
from batchlab.replications.arms import (
    Seeds,
    by_rate,
    chosen_by_others,
    drawing,
    each_seed,
    final,
    less,
    level,
)
from batchlab.replications.experiment import Experiment, Measured, Studies
from batchlab.replications.tables import PublishedTable

_BEST = (2, 8, 16, 32)
_LARGER = (64, 128, 256, 1024)
_OCTAVES = (-2, -1, 0, 1, 2, 3)
_N_TEST = 10_000
_ACCEPTABLE = 0.01  # below the best rate: a point


def _rates(batch_size: int) -> tuple[float, ...]:
    """Around a rate that grows with the root of the batch size, 0.05 at 16."""
    middle = 0.05 * math.sqrt(batch_size / 16)
    return tuple(float(f"{middle * 2.0**step:.3g}") for step in _OCTAVES)


def _name(batch_size: int) -> str:
    return f"B = {batch_size}"


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
    is_full = form == "full"
    return tuple(
        Experiment(
            name=_name(size),
            settings={"momentum": 0.0},
            batch_sizes=(size,),
            learning_rates=_rates(size),
            seeds=5,
            epochs=30 if is_full else 4,
        )
        for size in (*_BEST, *_LARGER)
    )


def _valued(studies: Studies, sizes: Sequence[int]) -> Seeds:
    """The test accuracy of each seed at the size and rate that the others' validation chose."""
    cells = {
        (size, rate): records
        for size in sizes
        for rate, records in by_rate(studies.get(_name(size)), size).items()
    }
    validation = {name: final(records, split="validation") for name, records in cells.items()}
    chosen = chosen_by_others(validation, better="higher")
    tests = {name: final(records) for name, records in cells.items()}
    return {seed: tests[name][seed] for seed, name in chosen.items()}


def _range(studies: Studies, batch_size: int) -> Seeds:
    """How many of the rates end within a point of the best, on validation data."""
    by_seed: dict[int, list[float]] = {}
    for records in by_rate(studies.get(_name(batch_size)), batch_size).values():
        for seed, value in final(records, split="validation").items():
            by_seed.setdefault(seed, []).append(value)
    return {
        seed: float(sum(value > max(values) - _ACCEPTABLE for value in values))
        for seed, values in by_seed.items()
    }


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    best, larger = (_valued(studies, sizes) for sizes in (_BEST, _LARGER))
    few, many = (_range(studies, size) for size in (_LARGER[-1], _BEST[0]))
    # Whole octaves: two counts that agree are no finer than one of them.
    apart = each_seed(lambda one, other: one - other, few, many)
    return {
        "best": less(best, larger, n_examples=_N_TEST),
        "range": level(apart, resolution=math.sqrt(2)),
    }


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    sizes = (*_BEST, *_LARGER)
    return (
        drawing(
            "Test accuracy at the rate that is best for each batch size",
            "accuracy",
            {"tuned": {size: level(_valued(studies, (size,))) for size in sizes}},
            note="For each seed the rate is the one that the other seeds' validation data chose.",
        ),
    )
