"""shallue2019: steps to a result by batch size, the rate tuned at each: three regions."""

from __future__ import annotations

from collections.abc import Sequence

from batchlab.errors import FitError
from batchlab.laws.steps import fit_steps_to_target
from batchlab.laws.steps_curve import StepsObservation
from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, Form
from batchlab.records.trial import Setting
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
_WITHIN = 0.2
_HALVED = 4.0  # times B_crit, twice the batch saves a tenth of the steps and no more


def _rates(batch_size: int, *, n: int) -> tuple[float, ...]:
    """So many around one that grows with the batch size to 0.16."""
    middle = min(0.16, 0.00088 * batch_size)
    return tuple(float(f"{middle * 2.0 ** (step - n // 2):.3g}") for step in range(n))


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
    is_full = form == "full"
    settings: dict[str, Setting] = {"nesterov": True}
    if is_full:
        settings |= {"channels": 32, "hidden": 1024, "halved": "max"}
    n_train = 50_000
    return tuple(
        Experiment(
            name=f"B = {size}",
            workload="mnist-cnn" if is_full else "mnist-mlp",
            settings=settings,
            batch_sizes=("full" if size >= n_train else size,),
            learning_rates=_rates(size, n=5 if is_full else 3),
            seeds=5,
            epochs=200 if is_full else (60 if size > 1024 else 12),
            target=("accuracy", _GOAL if is_full else _QUICK_GOAL),
        )
        for size in (_FULL_SIZES if is_full else _QUICK_SIZES)
    )


def _steps(studies: Studies) -> dict[int, Seeds]:
    """The steps of each seed at its rate, by batch size, ascending."""
    found = {}
    for study in studies.values():
        (size,) = study.batch_sizes
        by_rate, chosen = steps_by_rate(study, size), rates_chosen(study, size)
        if chosen:
            found[size] = {seed: by_rate[rate][seed] for seed, rate in chosen.items()}
    return dict(sorted(found.items()))


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    steps = _steps(studies)
    found: dict[str, Estimate] = {}
    if len(steps) < 5 or len(steps) < len(studies):
        return found
    sizes = tuple(steps)
    middle = len(sizes) // 2
    parts = {"small": sizes[:2], "middle": sizes[middle : middle + 2], "large": sizes[-2:]}
    for name, part in parts.items():
        found[f"slope {name}"] = exponent(part, [steps[size] for size in part])
    found["rate"] = exponent(sizes, _chosen_rates(studies, sizes))
    found["steps"] = times(steps[sizes[-1]], steps[sizes[0]])
    examples = (
        each_seed(lambda value, n=size: n * value, steps[size]) for size in (sizes[-1], sizes[0])
    )
    found["examples"] = times(*examples)
    observations = [
        StepsObservation(batch_size=size, after_steps=crossing.after_step, steps=crossing.step)
        for study in studies.values()
        for crossing, size in at_chosen_rates(study)
    ]
    try:
        found["useful"] = fit_steps_to_target(observations).b_crit.times(_HALVED)
    except FitError:
        return found
    return found


def _chosen_rates(studies: Studies, sizes: Sequence[int]) -> list[Seeds]:
    study_of = {study.batch_sizes[0]: study for study in studies.values()}
    return [rates_chosen(study_of[size], size) for size in sizes]


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    steps = _steps(studies)
    rates = _chosen_rates(studies, tuple(steps))
    return (
        drawing(
            "Steps to the goal by batch size, the rate tuned at each",
            "steps_to_target",
            {"measured": {size: level(values) for size, values in steps.items()}},
        ),
        drawing(
            "The tuned rate by batch size",
            "learning_rate",
            {"measured": {n: level(of) for n, of in zip(steps, rates, strict=True)}},
        ),
    )
