"""smith2018: does growing the batch do what cutting the rate does, in fewer updates?"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, DrawnPoint, Form
from batchlab.records.run import PlanName
from batchlab.records.trial import TrialRecord
from batchlab.replications.arms import Seeds, by_seed, each_seed, ended, final, less, level, times
from batchlab.replications.claims import Claim
from batchlab.replications.experiment import Experiment, Measured, Paper, Studies
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
_WITHIN = 0.005
_ORIGINAL, _GROWING, _HIGHER, _MOMENTUM = (
    "original", "increasing batch size", "increased initial learning rate", "increased momentum"
)  # fmt: skip
_ACCURACY = {_ORIGINAL: "original (decaying lr)"}  # what the table calls it there
_BASE = "original;increasing batch size"


def paper() -> Paper:
    """All of it."""
    return Paper(
        title="Does growing the batch do what cutting the rate does, in fewer updates?",
        paper=(
            "Smith, Kindermans, Ying, Le 2018, Don't Decay the Learning Rate, Increase the Batch "
            "Size, https://arxiv.org/abs/1711.00489"
        ),
        protocol=(
            "A small convolutional network on 50,000 training digits, SGD with momentum.",
            "Original: the rate is divided by 5 after 30, 60 and 80 % of the run. Increasing batch "
            "size: the batch grows by 5 there instead, to a tenth of the data; then the rate is "
            "cut. Increased initial learning rate: five times rate and batch from the start. "
            "Increased momentum: 0.98 in place of 0.9 and five times that batch.",
        ),
        left_open=(
            "The paper trains a Wide ResNet on CIFAR-10: here the schedules are the same, the "
            "network and the data are not, so differences are compared, not accuracies.",
            "The rates are a tenth of the paper's: this network has no batch normalization.",
            "Where the rate is cut is believed; it gives the published numbers of updates.",
        ),
        experiments=_experiments,
        measured=_measured,
        claims=lambda form: tuple(_claims()),
        drawings=_drawings,
    )


def _experiments(form: Form) -> tuple[Experiment, ...]:
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
            learning_rates=(_RATE_FACTOR * rate,),
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


def _measured(studies: Studies, table: PublishedTable) -> Measured:
    found: dict[str, Estimate] = {}
    original = ended(studies.get(_ORIGINAL))
    for arm in (_GROWING, _HIGHER, _MOMENTUM):
        records = ended(studies.get(arm))
        if not (original and records):
            continue
        found[arm] = less(final(records), final(original), n_examples=_N_TEST)
        steps = (by_seed(each, lambda record: float(record.steps)) for each in (original, records))
        found[f"updates {arm}"] = times(*steps)
    if _ORIGINAL in studies and _GROWING in studies:
        apart = each_seed(
            lambda grown, cut: grown - cut, _course(studies, _GROWING), _course(studies, _ORIGINAL)
        )
        found["course"] = level(apart)
    return found


def _claims() -> Iterator[Claim]:
    def accuracy(arm: str) -> tuple[str, str]:
        return "test_accuracy", _ACCURACY.get(arm, arm)

    for arm, says in (
        (_GROWING, "Growing the batch ends as cutting the rate does"),
        (_HIGHER, "So it does with five times rate and batch from the start"),
        (_MOMENTUM, "So it does, but for a point, with a momentum of 0.98"),
    ):
        yield Claim(
            says=says,
            measured=arm,
            measured_as=f"test accuracy, {arm} less original",
            rows=(accuracy(arm), accuracy(_ORIGINAL)),
            by="value",
            within=_WITHIN,
            quantity="accuracy",
        )
    yield Claim(
        says="Along the epochs, too, growing the batch does as cutting the rate does",
        measured="course",
        measured_as="mean validation accuracy from the first cut on, growing less original",
        rows=(("course", "increasing batch size less original"),),
        by="value",
        within=_WITHIN,
        quantity="accuracy",
    )
    for arm in (_GROWING, _HIGHER, _MOMENTUM):
        yield Claim(
            says=f"It takes fewer updates ({arm})",
            measured=f"updates {arm}",
            measured_as=f"updates of original over those of {arm}",
            rows=(("updates_published", _ORIGINAL), ("updates_published", arm)),
            by="value",
            of_two="ratio",
            factor=1.1,
        )


def _drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    names = {_ORIGINAL: "original", _GROWING: "growing", _HIGHER: "growing,|higher rate",
             _MOMENTUM: "growing,|momentum"}  # fmt: skip

    def points() -> Iterator[DrawnPoint]:
        for arm, at in names.items():
            steps = by_seed(ended(studies.get(arm)), lambda record: float(record.steps))
            yield DrawnPoint(series="measured", at=at, value=level(steps))

    def ends() -> Iterator[DrawnPoint]:
        for arm, at in names.items():
            value = level(final(ended(studies.get(arm))))
            yield DrawnPoint(series="measured", at=at, value=value)

    return (
        Drawing(
            title="Test accuracy at the end",
            over="configuration",
            quantity="accuracy",
            points=tuple(ends()),
            note="The published accuracies are of another network on other data.",
        ),
        Drawing(
            title="Updates",
            over="configuration",
            quantity="step",
            points=tuple(points()),
            note="Their ratios are held against the published ones.",
        ),
    )
