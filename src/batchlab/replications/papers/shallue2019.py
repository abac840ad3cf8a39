"""shallue2019: steps to a result by batch size, the rate tuned at each: three regions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from batchlab.errors import FitError
from batchlab.laws.steps import fit_steps_to_target
from batchlab.laws.steps_curve import StepsObservation
from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, DrawnPoint, Form
from batchlab.records.trial import Setting
from batchlab.replications.arms import Seeds, each_seed, exponent, level, times
from batchlab.replications.claims import Claim
from batchlab.replications.experiment import Experiment, Measured, Paper, Studies
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


def paper() -> Paper:
    """All of it."""
    return Paper(
        title="Steps to a result by batch size, the rate tuned at each: are there three regions?",
        paper=(
            "Shallue, Lee, Antognini, Sohl-Dickstein, Frostig, Dahl 2019, Measuring the Effects of "
            "Data Parallelism on Neural Network Training, https://arxiv.org/abs/1811.03600: MNIST, "
            "Nesterov momentum"
        ),
        protocol=(
            "Until a goal in validation accuracy holds, SGD with Nesterov momentum 0.9 at rates a "
            "factor 2 apart, at each batch size around its own best.",
            "For each seed the rate is the one with the fewest steps in the mean of the others.",
        ),
        left_open=(
            "The paper also tunes momentum and a decay of the rate, by 100 quasi-random trials a "
            "batch size: here the rate alone, on a lattice.",
            "The paper counts the best trial of all: here the mean over seeds at a rate that other "
            "seeds chose.",
            "Its steps are told as images only: no number of them is held against ours.",
            "The maximum useful batch size is told of several workloads, and not how it is read "
            "off: here from where twice the batch saves less than a tenth of the steps.",
            "Not run: subsets of the data, other optimizers.",
        ),
        experiments=_experiments,
        measured=_measured,
        claims=lambda form: tuple(_claims()),
        drawings=_drawings,
    )


def _rates(batch_size: int) -> tuple[float, ...]:
    """Around a rate that grows with the root of the batch size up to 0.16 at 1024."""
    middle = 0.005 * math.sqrt(min(batch_size, 1024))
    return tuple(float(f"{middle * 2.0**step:.3g}") for step in range(-2, 3))


def _experiments(form: Form) -> tuple[Experiment, ...]:
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
            learning_rates=_rates(size),
            seeds=5 if is_full else 3,
            epochs=200 if is_full else (40 if size > 1024 else 12),
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


def _by_linear_rule(studies: Studies, steps: dict[int, Seeds]) -> Estimate:
    """Steps of the largest size at the rate of the linear rule, over the tuned ones.

    The rule starts from the smallest size; the nearest rate of the lattice that does well counts
    for it, which favors it.
    """
    smallest, largest = min(steps), max(steps)
    study_of = {study.batch_sizes[0]: study for study in studies.values()}
    base = rates_chosen(study_of[smallest], smallest)
    at = steps_by_rate(study_of[largest], largest)
    ruled = {}
    for seed, rate in base.items():
        meant = rate * largest / smallest
        nearest = min(at, key=lambda known: abs(math.log(known / meant)))
        ruled[seed] = at[nearest][seed]
    return times(ruled, steps[largest])


def _measured(studies: Studies, table: PublishedTable) -> Measured:
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
    found["rule"] = _by_linear_rule(studies, steps)
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


def _claims() -> Iterator[Claim]:
    for part, which, says in (
        ("small", "smallest", "Small batches scale perfectly: half the steps for twice the batch"),
        ("middle", "middle", "Then the returns diminish"),
        ("large", "largest", "In the end a larger batch saves no steps"),
    ):
        yield Claim(
            says=says,
            measured=f"slope {part}",
            measured_as=f"exponent of the steps in the batch size, {which} two of them"
            if part != "middle"
            else "exponent of the steps in the batch size, two in the middle",
            rows=(("slope", f"{which} batch sizes"),),
            by="value",
            within=0.0 if part == "middle" else _WITHIN,
        )
    yield Claim(
        says="The best rate grows with the batch size",
        measured="rate",
        measured_as="exponent of the tuned rate in the batch size",
        rows=(("exponent of the best rate", "smallest to largest batch size"),),
        by="value",
    )
    yield Claim(
        says="It does not follow linear scaling",
        measured="rate",
        measured_as="exponent of the tuned rate in the batch size",
        rows=(("exponent of the best rate", "against linear scaling"),),
        by="value",
    )
    yield Claim(
        says="The linear rule from the smallest batch costs steps at the largest",
        measured="rule",
        measured_as="steps at the rate of the rule, or the nearest one that does well, over tuned",
        rows=(("steps at the rate of the linear rule", "over the tuned ones;largest batch size"),),
        by="value",
    )
    yield Claim(
        says="By steps the largest batch is better",
        measured="steps",
        measured_as="steps of the largest batch over those of the smallest",
        rows=(("steps", "largest over smallest batch size"),),
        by="value",
    )
    yield Claim(
        says="By examples the smallest batch is better",
        measured="examples",
        measured_as="examples of the largest batch over those of the smallest",
        rows=(("examples", "largest over smallest batch size"),),
        by="value",
    )
    yield Claim(
        says="The largest useful batch lies within the range of the paper's workloads",
        measured="useful",
        measured_as="batch size from which twice as large saves less than a tenth of the steps",
        rows=(("max_useful_batch_size", "range over workloads"),),
        by="value",
        quantity="critical_batch_size",
    )


def _drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    steps = _steps(studies)
    counts = (
        DrawnPoint(series="measured", at=size, value=level(values))
        for size, values in steps.items()
    )
    rates = (
        DrawnPoint(series="measured", at=size, value=level(values))
        for size, values in zip(steps, _chosen_rates(studies, tuple(steps)), strict=True)
    )
    return (
        Drawing(
            title="Steps to the goal by batch size, the rate tuned at each",
            over="batch_size",
            quantity="steps_to_target",
            points=tuple(counts),
        ),
        Drawing(
            title="The tuned rate by batch size",
            over="batch_size",
            quantity="learning_rate",
            points=tuple(rates),
        ),
    )
