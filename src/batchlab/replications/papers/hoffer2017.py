"""hoffer2017: what large batches lose, and what wins it back."""

from __future__ import annotations

import math
from itertools import pairwise

from batchlab.laws.noise_scale import distance_growth
from batchlab.records.replication import Drawing, Form
from batchlab.records.trial import Setting, TrialRecord
from batchlab.replications.arms import by_seed, drawing, ended, final, less, level
from batchlab.replications.experiment import Experiment, Measured, Studies
from batchlab.replications.tables import PublishedTable

_TABLE = PublishedTable.of("hoffer2017")
_SMALL = _TABLE.whole("batch_size_small", "Table 1")
_LARGE = _TABLE.whole("batch_size_large", "Table 1")
_GHOST = _TABLE.whole("ghost_batch_size", "GBN")
_RATE = _TABLE.number("learning_rate", "F1;epoch 0-9")
_EPOCHS = _TABLE.whole("epochs", "F1 MNIST commands")
_FIRST_RATE = 0.2  # of the run is at the first, high rate
_QUICK_LARGE, _QUICK_EPOCHS, _QUICK_WIDTH = 2048, 6, 128
_N_TEST = 10_000
_ARMS = ("SB", "LB", "LB+LR", "LB+LR+GBN", "LB+LR+GBN+RA")


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
    is_full = form == "full"
    large, epochs = (_LARGE, _EPOCHS) if is_full else (_QUICK_LARGE, _QUICK_EPOCHS)
    times = math.ceil(large / _SMALL)
    settings: dict[str, Setting] = {
        "layers": 5,
        "width": 512 if is_full else _QUICK_WIDTH,
        "batch_norm": True,
        "train": "all",
        "momentum": _TABLE.number("momentum", "F1"),
        "weight_decay": _TABLE.number("weight_decay", "F1"),
        "clip_norm": _TABLE.number("gradient_clip_norm", "all"),
        "schedule": "steps",
    }
    return tuple(
        Experiment(
            name=arm,
            settings=settings | ({"ghost_batch_size": _GHOST} if "GBN" in arm else {}),
            batch_sizes=(_SMALL if arm == "SB" else large,),
            learning_rates=(_RATE * (math.sqrt(times) if "LR" in arm else 1.0),),
            seeds=5,
            epochs=epochs * (times if "RA" in arm else 1),
        )
        for arm in _ARMS
    )


def _by_law(record: TrialRecord) -> float | None:
    """Error of the law log t less that of a power of t, over the part of the run at a high rate."""
    last = _FIRST_RATE * record.steps
    seen = [
        (each.step, value)
        for each in record.evaluations
        if each.step <= last and (value := each.measurement("distance")) is not None
    ]
    found = distance_growth(seen)
    return None if found is None else found.log_error - found.power_error


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    seen = {arm: final(ended(studies.get(arm))) for arm in _ARMS}
    found = {arm: level(values) for arm, values in seen.items()}
    for arm, other in (*pairwise(reversed(_ARMS)), ("LB+LR+GBN+RA", "SB")):
        found[f"{arm} less {other}"] = less(seen[arm], seen[other], n_examples=_N_TEST)
    found["law"] = level(by_seed(ended(studies.get("SB")), _by_law))
    return found


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    names = {arm: arm.replace("+", "|+") for arm in _ARMS}
    rows = {arm: ("validation_accuracy", f"F1 MNIST;{arm}") for arm in _ARMS}
    return (
        drawing(
            "Test accuracy, from small batches over large ones to all that wins it back",
            "accuracy",
            {"measured": {names[arm]: level(final(ended(studies.get(arm)))) for arm in _ARMS}},
            published=[(names[arm], table.number(*rows[arm])) for arm in _ARMS],
            note="The published numbers are believed, not found in a source.",
        ),
    )
