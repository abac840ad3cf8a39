"""shallue2019: steps to a result by batch size, the rate tuned at each: three regions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from batchlab import Estimate, Study, TrialRecord
from replications.experiment import Experiment, Measured, Studies
from replications.papers.networks import digits, mlp, simple_cnn
from replications.seeds import (
    Seeds,
    each_seed,
    exponent,
    geometric_mean,
    ratio,
    ratio_of_estimates,
)
from replications.steps import at_best_rate, law_of_steps, steps_to_target
from replications.tables import PublishedTable

_TABLE = PublishedTable.of("shallue2019")
_QUICK_SIZES = (2, 8, 32, 128, 512, 2048, 8192)
_SIZES = tuple(
    int(size) for size in _TABLE.several("batch_sizes", "Simple CNN on MNIST;Nesterov momentum")
)
_GOAL = 1 - _TABLE.number("goal", "Simple CNN on MNIST")
_QUICK_GOAL = 0.96
_N_TRAIN = 50_000
# A rule for the rate starts from 0.113 at 128, which is about the best there.
_RULED = 2048
_RULES = {"linear": 1.8, "root": 0.45}
_MOST_EPOCHS = {"perceptron": 60, "simple-cnn": 200}  # of a run of that size
_HALVED = 4.0  # times B_crit, twice the batch saves a tenth of the steps and no more


def _rates(batch_size: int, *, n: int) -> tuple[float, ...]:
    """Return `n` rates around one that grows with the batch size to 0.16."""
    middle = min(0.16, 0.00088 * batch_size)
    return tuple(float(f"{middle * 2.0 ** (step - n // 2):.3g}") for step in range(n))


def experiments(is_quick: bool) -> tuple[Experiment, ...]:
    """Return the sweeps."""
    settings = {"momentum": 0.9, "nesterov": True}
    model = partial(mlp, width=128) if is_quick else simple_cnn
    name = "perceptron" if is_quick else "simple-cnn"
    workload = digits(name, model, n_validation=10_000, settings=settings)

    def of(name: str, size: int, rates: tuple[float, ...]) -> Experiment:
        return Experiment(
            name=name,
            workload=workload,
            batch_sizes=("full" if size >= _N_TRAIN else size,),
            learning_rates=rates,
            seeds=6,
            epochs=12 if is_quick and size <= 1024 else _MOST_EPOCHS[workload.name],
            target=("accuracy", _QUICK_GOAL if is_quick else _GOAL),
        )

    tuned = (
        of(f"B = {size}", size, _rates(size, n=3 if is_quick else 5))
        for size in (_QUICK_SIZES if is_quick else _SIZES)
    )
    ruled = (of(_ruled(name), _RULED, (rate,)) for name, rate in _RULES.items())
    return (*tuned, *ruled)


def _ruled(rule: str) -> str:
    return f"B = {_RULED}, {rule} rule"


def _tuned(studies: Studies) -> dict[int, Study]:
    """Return the sweeps with tuned rates by batch size, in ascending order."""
    tuned = {study.batch_sizes[0]: study for name, study in studies.items() if "rule" not in name}
    return dict(sorted(tuned.items()))


def cost_of_rule(ruled: Study, tuned: Seeds) -> Estimate:
    """Return the steps at the rate of a rule over the tuned ones.

    A run that never got to the goal took more steps than it was given. With one of those only a
    lower bound is known: that of the interval in which it counts as its whole length. No seed chose
    the rate of a rule, so all of them count.
    """

    def at_least(record: TrialRecord) -> float:
        crossing = None if record.target is None else record.crossing(record.target)
        if crossing is not None:
            return crossing.middle
        return float(record.trial.plan.steps_in(_MOST_EPOCHS[ruled.workload.name]))

    steps = {record.trial.seed: at_least(record) for record in ruled.records}
    cost = ratio_of_estimates(geometric_mean(steps), geometric_mean(tuned))
    if steps_to_target(ruled.records).keys() == steps.keys():
        return cost
    return replace(cost, estimate=None, high=None)


def measured(studies: Studies) -> Measured:
    """Return what they show, by name."""
    tuned = _tuned(studies)
    steps = {size: steps_to_target(at_best_rate(study)) for size, study in tuned.items()}
    sizes = tuple(tuned)
    middle, first, last = len(sizes) // 2, sizes[0], sizes[-1]
    numbers: dict[str, Estimate] = {}
    parts = {"small": sizes[:2], "middle": sizes[middle : middle + 2], "large": sizes[-2:]}
    for name, part in parts.items():
        numbers[f"slope {name}"] = exponent(part, [steps[size] for size in part])
    numbers["steps"] = ratio(steps[last], steps[first])
    examples = (each_seed(lambda v, n=n: n * v, steps[n]) for n in (last, first))
    numbers["examples"] = ratio(*examples)
    for rule in _RULES:
        numbers[f"{rule} rule"] = cost_of_rule(studies[_ruled(rule)], steps[_RULED])
    numbers["useful"] = _times(law_of_steps(tuned.values())[1], _HALVED)
    return numbers


def _times(number: Estimate, factor: float) -> Estimate:
    value, low, high = (
        None if part is None else part * factor
        for part in (number.estimate, number.low, number.high)
    )
    return Estimate(estimate=value, low=low, high=high, n=number.n)
