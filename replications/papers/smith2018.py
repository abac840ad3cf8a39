"""smith2018: does growing the batch do what cutting the rate does, in fewer updates?"""

from __future__ import annotations

from statistics import fmean
from typing import Literal

from batchlab import Estimate, TrialRecord, plans
from replications.experiment import Experiment, Measured, Studies
from replications.papers.networks import digits, simple_cnn
from replications.seeds import Seeds, by_seed, difference, final, trials
from replications.tables import PublishedTable

_TABLE = PublishedTable.of("smith2018")
_EPOCHS = _TABLE.whole("epochs_total", "CIFAR-10")
_N_PUBLISHED = _TABLE.whole("train_examples", "CIFAR-10")
_MOST = _TABLE.whole("max_batch_size", "CIFAR-10")
_N_TRAIN = 50_000
_CAP = round(_N_TRAIN * _MOST / _N_PUBLISHED)
_FIRST_CUT = 0.4  # of the run: where a sweep's plans grow the batch, or cut the rate, at first
# The network has no batch normalization: it diverges at the paper's rates. The ratios are theirs.
_RATE_FACTOR = 0.1
_QUICK_EPOCHS = 20
_ORIGINAL, _GROWING, _HIGHER, _MOMENTUM = (
    "original", "increasing batch size", "increased initial learning rate", "increased momentum"
)  # fmt: skip
# The rows of the first batch size and rate, and of the momentum.
_BASE = "original;increasing batch size"
_USUAL = "original;increasing batch size;increased lr"
_ROWS = {
    _ORIGINAL: (_BASE, _USUAL),
    _GROWING: (_BASE, _USUAL),
    _HIGHER: (_HIGHER, _USUAL),
    _MOMENTUM: (_MOMENTUM, _MOMENTUM),
}


def experiments(is_quick: bool) -> tuple[Experiment, ...]:
    """Return the sweeps."""

    def arm(name: str, plan: Literal["grow", "decay"]) -> Experiment:
        condition, momentum = _ROWS[name]
        rate = _TABLE.number("initial_learning_rate", condition)
        settings = {"momentum": _TABLE.number("momentum", momentum)}
        workload = digits("simple-cnn", simple_cnn, n_validation=10_000, settings=settings)
        return Experiment(
            name=name,
            workload="mnist-cnn" if is_quick else workload,
            settings=settings if is_quick else {},
            batch_sizes=(_TABLE.whole("initial_batch_size", condition), _CAP),
            learning_rates=(round(_RATE_FACTOR * rate, 6),),
            seeds=3 if is_quick else 5,
            epochs=_QUICK_EPOCHS if is_quick else _EPOCHS,
            plans=(plan,),
        )

    grown = (arm(name, "grow") for name in (_GROWING, _HIGHER, _MOMENTUM))
    return (arm(_ORIGINAL, "decay"), *grown)


def _course(studies: Studies, arm: str) -> Seeds:
    """Return the mean validation accuracy at the ends of the epochs after the first cut."""

    def late_mean(record: TrialRecord) -> float | None:
        known = record.at_epoch_ends("validation", "accuracy")
        late = [value for epoch, value in known.items() if epoch > _FIRST_CUT * record.epochs]
        return fmean(late) if late else None

    return by_seed(trials(studies[arm]), late_mean)


def updates(arm: str) -> int:
    """Count the updates of the paper's own schedule, on the paper's data."""
    size = _TABLE.whole("initial_batch_size", _ROWS[arm][0])
    plan = plans.constant(size, epochs=_EPOCHS)
    if arm != _ORIGINAL:
        cuts = [at / _EPOCHS for at in _TABLE.several("epoch_boundaries", "CIFAR-10")]
        factor = _TABLE.number("schedule_factor", "each step")
        plan = plans.instead_of_decay(size, cuts, cap=_MOST, epochs=_EPOCHS, factor=factor)
    return plan.for_data(_N_PUBLISHED).steps_in(_EPOCHS)


def measured(studies: Studies) -> Measured:
    """Return what they show, by name."""
    numbers: dict[str, Estimate] = {}
    original = final(trials(studies[_ORIGINAL]))
    for arm in (_GROWING, _HIGHER, _MOMENTUM):
        numbers[arm] = difference(final(trials(studies[arm])), original, n_examples=10_000)
        fewer = updates(_ORIGINAL) / updates(arm)
        numbers[f"updates {arm}"] = Estimate.of(fewer, interval=(fewer, fewer), n=1)
    numbers["course"] = difference(_course(studies, _GROWING), _course(studies, _ORIGINAL))
    return numbers
