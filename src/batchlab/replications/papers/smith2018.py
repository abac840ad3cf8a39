"""smith2018: does growing the batch do what cutting the rate does, in fewer updates?"""

from __future__ import annotations

from statistics import fmean

from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, Form
from batchlab.records.run import PlanName
from batchlab.records.trial import TrialRecord
from batchlab.replications.arms import (
    Place,
    Seeds,
    by_seed,
    drawing,
    ended,
    final,
    less,
    level,
    times,
)
from batchlab.replications.experiment import Experiment, Measured, Studies
from batchlab.replications.tables import PublishedTable

_TABLE = PublishedTable.of("smith2018")
_EPOCHS = _TABLE.whole("epochs_total", "CIFAR-10")
_CUTS = tuple(at / _EPOCHS for at in _TABLE.several("epoch_boundaries", "CIFAR-10"))
_CUT = _TABLE.number("schedule_factor", "each step")
_MOST_OF_DATA = _TABLE.number("max_batch_size", "CIFAR-10") / _TABLE.number(
    "train_examples", "CIFAR-10"
)
_N_TRAIN = 50_000
_N_TEST = 10_000
_CAP = round(_N_TRAIN * _MOST_OF_DATA)
# The network has no batch normalization: at the paper's rates it diverges. The ratios are theirs.
_RATE_FACTOR = 0.1
_QUICK_EPOCHS = 20
_ORIGINAL, _GROWING, _HIGHER, _MOMENTUM = (
    "original", "increasing batch size", "increased initial learning rate", "increased momentum"
)  # fmt: skip
_BASE = "original;increasing batch size"


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
    is_full = form == "full"

    def arm(name: str, condition: str, plan: PlanName, momentum: str) -> Experiment:
        rate = _TABLE.number("initial_learning_rate", condition)
        return Experiment(
            name=name,
            workload="mnist-cnn",
            settings={
                "momentum": _TABLE.number("momentum", momentum),
                **({"channels": 32, "hidden": 1024, "halved": "max"} if is_full else {}),
            },
            batch_sizes=(_TABLE.whole("initial_batch_size", condition), _CAP),
            learning_rates=(round(_RATE_FACTOR * rate, 6),),
            seeds=5 if is_full else 3,
            epochs=_EPOCHS if is_full else _QUICK_EPOCHS,
            plans=(plan,),
            cuts=_CUTS,
            cut=_CUT,
        )

    usual = "original;increasing batch size;increased lr"
    return (
        arm(_ORIGINAL, _BASE, "decay", usual),
        arm(_GROWING, _BASE, "grow", usual),
        arm(_HIGHER, _HIGHER, "grow", usual),
        arm(_MOMENTUM, _MOMENTUM, "grow", _MOMENTUM),
    )


def _course(studies: Studies, arm: str) -> Seeds:
    """The mean validation accuracy at the ends of the epochs from the first cut on."""

    def value(record: TrialRecord) -> float | None:
        known = record.at_epoch_ends("validation", "accuracy")
        late = [found for epoch, found in known.items() if epoch > _CUTS[0] * record.epochs]
        return fmean(late) if late else None

    return by_seed(ended(studies.get(arm)), value)


def _updates(studies: Studies, arm: str) -> Seeds:
    return by_seed(ended(studies.get(arm)), lambda record: float(record.steps))


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    found: dict[str, Estimate] = {}
    original = final(ended(studies.get(_ORIGINAL)))
    for arm in (_GROWING, _HIGHER, _MOMENTUM):
        found[arm] = less(final(ended(studies.get(arm))), original, n_examples=_N_TEST)
        found[f"updates {arm}"] = times(*(_updates(studies, of) for of in (_ORIGINAL, arm)))
    found["course"] = less(_course(studies, _GROWING), _course(studies, _ORIGINAL))
    return found


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    names = {
        _ORIGINAL: "original",
        _GROWING: "growing",
        _HIGHER: "growing,|higher rate",
        _MOMENTUM: "growing,|momentum",
    }
    ends: dict[Place, Estimate] = {}
    updates: dict[Place, Estimate] = {}
    for arm, at in names.items():
        ends[at] = level(final(ended(studies.get(arm))))
        updates[at] = level(_updates(studies, arm))
    return (
        drawing(
            "Test accuracy at the end",
            "accuracy",
            {"measured": ends},
            note="The published accuracies are of another network on other data.",
        ),
        drawing(
            "Updates",
            "step",
            {"measured": updates},
            note="Their ratios are held against the published ones.",
        ),
    )
