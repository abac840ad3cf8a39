"""shallue2019: steps to a result by batch size, the rate tuned at each: three regions."""

from __future__ import annotations

from statistics import fmean

from batchlab.errors import FitError
from batchlab.laws.steps import fit_steps_to_target
from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, Form
from batchlab.records.study import Study
from batchlab.records.trial import Setting, TrialRecord
from batchlab.replications.arms import (
    Seeds,
    drawing,
    each_seed,
    exponent,
    level,
    times,
)
from batchlab.replications.experiment import Experiment, Measured, Studies
from batchlab.replications.steps import at_chosen_rates, rates_chosen, steps_by_rate
from batchlab.replications.tables import PublishedTable

_TABLE = PublishedTable.of("shallue2019")
_QUICK_SIZES = (2, 8, 32, 128, 512, 2048, 8192)
_FULL_SIZES = tuple(
    int(size) for size in _TABLE.several("batch_sizes", "Simple CNN on MNIST;Nesterov momentum")
)
_GOAL = 1 - _TABLE.number("goal", "Simple CNN on MNIST")
_QUICK_GOAL = 0.96
_N_TRAIN = 50_000
# From 128 at 0.113, which is about the best there, what a rule makes of it for a larger batch.
_RULED = 2048
_RULES = {"linear": 1.8, "root": 0.45}
_MOST_EPOCHS = {"mnist-mlp": 60, "mnist-cnn": 200}  # of a run of that size
_HALVED = 4.0  # times B_crit, twice the batch saves a tenth of the steps and no more


def _rates(batch_size: int, *, n: int) -> tuple[float, ...]:
    """So many around one that grows with the batch size to 0.16."""
    middle = min(0.16, 0.00088 * batch_size)
    return tuple(float(f"{middle * 2.0 ** (step - n // 2):.3g}") for step in range(n))


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
    is_full = form == "full"
    workload = "mnist-cnn" if is_full else "mnist-mlp"
    settings: dict[str, Setting] = {"nesterov": True}
    if is_full:
        settings |= {"channels": 32, "hidden": 1024, "halved": "max"}

    def of(name: str, size: int, rates: tuple[float, ...]) -> Experiment:
        return Experiment(
            name=name,
            workload=workload,
            settings=settings,
            batch_sizes=("full" if size >= _N_TRAIN else size,),
            learning_rates=rates,
            seeds=5,
            epochs=_MOST_EPOCHS[workload] if is_full or size > 1024 else 12,
            target=("accuracy", _GOAL if is_full else _QUICK_GOAL),
        )

    tuned = (
        of(_name(size), size, _rates(size, n=5 if is_full else 3))
        for size in (_FULL_SIZES if is_full else _QUICK_SIZES)
    )
    ruled = (of(_ruled(name), _RULED, (rate,)) for name, rate in _RULES.items())
    return (*tuned, *ruled)


def _name(batch_size: int) -> str:
    return f"B = {batch_size}"


def _ruled(rule: str) -> str:
    return f"{_name(_RULED)}, {rule} rule"


def _tuned(studies: Studies) -> dict[int, Study]:
    """The sweeps with tuned rates by batch size, ascending."""
    found = {study.batch_sizes[0]: study for name, study in studies.items() if "rule" not in name}
    return dict(sorted(found.items()))


def _steps(studies: Studies) -> dict[int, Seeds]:
    """The steps of each seed at its rate, by batch size, where every seed got to the goal."""
    found: dict[int, Seeds] = {}
    for size, study in _tuned(studies).items():
        by_rate = steps_by_rate(study, size)
        if chosen := rates_chosen(study, size):
            found[size] = {seed: by_rate[rate][seed] for seed, rate in chosen.items()}
    return found


def _at_least(study: Study) -> Seeds:
    """The steps to the goal of each seed; of one that never got there, as many as it was given."""
    target = study.target
    assert target is not None, "these have a goal"

    def steps(record: TrialRecord) -> float:
        crossing = record.crossing(target)
        planned = float(record.trial.plan.steps_in(_MOST_EPOCHS[study.workload.name]))
        return planned if crossing is None else crossing.middle

    return {record.trial.seed: steps(record) for record in study.records}


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    steps, sizes = _steps(studies), tuple(_tuned(studies))
    found: dict[str, Estimate] = {}
    middle = len(sizes) // 2
    parts = {"small": sizes[:2], "middle": sizes[middle : middle + 2], "large": sizes[-2:]}
    for name, part in parts.items():
        if all(size in steps for size in part):
            found[f"slope {name}"] = exponent(part, [steps[size] for size in part])
    first, last = sizes[0], sizes[-1]
    if first in steps and last in steps:
        found["steps"] = times(steps[last], steps[first])
        examples = (each_seed(lambda v, n=n: n * v, steps[n]) for n in (last, first))
        found["examples"] = times(*examples)
    for rule in _RULES:
        if _RULED in steps:
            found[f"{rule} rule"] = times(_at_least(studies[_ruled(rule)]), steps[_RULED])
    observations = [
        observation for study in _tuned(studies).values() for observation in at_chosen_rates(study)
    ]
    try:
        found["useful"] = fit_steps_to_target(observations).b_crit.times(_HALVED)
    except FitError:
        return found
    return found


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    steps = _steps(studies)
    return (
        drawing(
            "Steps to the goal by batch size, the rate tuned at each",
            "steps_to_target",
            {"measured": {size: level(values) for size, values in steps.items()}},
        ),
        drawing(
            "The tuned rate by batch size",
            "learning_rate",
            {
                "measured": {
                    size: Estimate.of(fmean(rates_chosen(study, size).values()), n=1)
                    for size, study in _tuned(studies).items()
                    if size in steps
                }
            },
            note="The mean over the seeds of what the others chose for each; of a few rates alone.",
        ),
    )
