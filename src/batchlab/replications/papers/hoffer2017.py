"""hoffer2017: what large batches lose, and what wins it back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from batchlab.laws.noise_scale import distance_growth
from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, DrawnPoint, Form
from batchlab.records.trial import Setting, TrialRecord
from batchlab.replications.arms import by_seed, ended, final, less, level
from batchlab.replications.claims import Claim
from batchlab.replications.experiment import Experiment, Measured, Paper, Studies
from batchlab.replications.tables import Key, PublishedTable

_TABLE = PublishedTable.of("hoffer2017")
_SMALL = _TABLE.whole("batch_size_small", "Table 1")
_LARGE = _TABLE.whole("batch_size_large", "Table 1")
_GHOST = _TABLE.whole("ghost_batch_size", "GBN")
_RATE = _TABLE.number("learning_rate", "F1;epoch 0-9")
_EPOCHS = _TABLE.whole("epochs", "F1 MNIST commands")
_FIRST_RATE = 0.2  # of the run is at the first, high rate
_QUICK_LARGE, _QUICK_EPOCHS, _QUICK_WIDTH = 2048, 6, 128
_N_TEST = 10_000
_WITHIN = 0.005
_MATTERS = 0.001
_ARMS = ("SB", "LB", "LB+LR", "LB+LR+GBN", "LB+LR+GBN+RA")
_HELPS = {
    "LB+LR": "A rate that grows with the root of the batch size wins some back",
    "LB+LR+GBN": "Ghost batch normalization wins some more back",
    "LB+LR+GBN+RA": "As many updates as small batches have win the rest back",
}


def paper() -> Paper:
    """All of it."""
    return Paper(
        title="What do large batches lose, and do rate, ghost batches and updates win it back?",
        paper=(
            "Hoffer, Hubara, Soudry 2017, Train longer, generalize better: closing the "
            "generalization gap in large batch training of neural networks, "
            "https://arxiv.org/abs/1705.08741: the network F1, Table 1"
        ),
        protocol=(
            "F1: fully connected, five hidden layers with batch normalization and ReLU, on all "
            "60,000 training digits; SGD with momentum 0.9, weight decay 1e-4, gradients clipped "
            "to norm 5.",
            "The rate is cut to a tenth after 20, 40 and 60 % of the run.",
            "SB: small batches. LB: large ones at the same rate. LR: times the root of their "
            "ratio. GBN: normalized in ghost batches of 128. RA: regime adaptation, the whole run "
            "that ratio times as long.",
        ),
        left_open=(
            "All numbers of Table 1 are believed, not found in a source; so are its batch sizes.",
            "The paper's validation accuracy is that of the 10,000 test digits, at the end.",
            "The authors' ghost batches are separate passes; here the layers normalize in parts.",
        ),
        experiments=_experiments,
        measured=_measured,
        claims=lambda form: tuple(_claims()),
        drawings=_drawings,
    )


def _experiments(form: Form) -> tuple[Experiment, ...]:
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
            seeds=5 if is_full else 3,
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


def _measured(studies: Studies, table: PublishedTable) -> Measured:
    found: dict[str, Estimate] = {}
    seen = {arm: final(ended(studies.get(arm))) for arm in _ARMS}
    for arm, values in seen.items():
        if values:
            found[arm] = level(values)
    for arm, other in (*pairwise(reversed(_ARMS)), ("LB+LR+GBN+RA", "SB")):
        if seen[arm] and seen[other]:
            found[f"{arm} less {other}"] = less(seen[arm], seen[other], n_examples=_N_TEST)
    if small := ended(studies.get("SB")):
        found["law"] = level(by_seed(small, _by_law))
    return found


def _row(arm: str) -> Key:
    return "validation_accuracy", f"F1 MNIST;{arm}"


def _less(says: str, arm: str, other: str) -> Claim:
    return Claim(
        says=says,
        measured=f"{arm} less {other}",
        measured_as=f"test accuracy of {arm} less that of {other}",
        rows=(_row(arm), _row(other)),
        matters=_MATTERS,
        quantity="accuracy",
    )


def _claims() -> Iterator[Claim]:
    yield _less("Large batches lose test accuracy", "LB", "SB")
    for before, arm in pairwise(_ARMS[1:]):
        yield _less(_HELPS[arm], arm, before)
    yield _less("With all of it large batches are better than small ones", _ARMS[-1], "SB")
    for arm in _ARMS:
        yield Claim(
            says=f"F1 ends at the published accuracy ({arm})",
            measured=arm,
            measured_as="test accuracy",
            rows=(_row(arm),),
            by="value",
            within=_WITHIN,
            at_full_size=True,
            quantity="accuracy",
        )
    yield Claim(
        says="At the first, high rate the distance grows as log t rather than as a power of t",
        measured="law",
        measured_as="root mean square error of log t less that of the power, small batches",
        rows=(("distance law", "error of log t less error of a power of t"),),
        by="value",
        at_full_size=True,
    )


def _drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    def points() -> Iterator[DrawnPoint]:
        for arm in _ARMS:
            at = arm.replace("+", "|+")
            value = level(final(ended(studies.get(arm))))
            yield DrawnPoint(series="measured", at=at, value=value)
        for arm in _ARMS:
            at, value = arm.replace("+", "|+"), Estimate.of(table.number(*_row(arm)), n=1)
            yield DrawnPoint(series="published", at=at, value=value, is_published=True)

    return (
        Drawing(
            title="Test accuracy, from small batches over large ones to all that wins it back",
            over="configuration",
            quantity="accuracy",
            points=tuple(points()),
            note="The published numbers are believed, not found in a source.",
        ),
    )
