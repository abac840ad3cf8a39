"""convex: does full batch reach the optimum, and how far from it do small batches stay?"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import fmean

from batchlab.laws.least_squares import LeastSquares
from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, Form
from batchlab.records.study import Study
from batchlab.records.trial import Setting, TrialRecord
from batchlab.replications.arms import (
    Place,
    Records,
    Seeds,
    by_seed,
    drawing,
    ended,
    exponent,
    level,
    times,
)
from batchlab.replications.experiment import Experiment, Measured, Studies
from batchlab.replications.tables import PublishedTable

# The loss of the training set is looked at as often as that of other validation data would be.
_SETTINGS: dict[str, Setting] = {
    "n": 256,
    "dimension": 4,
    "condition_number": 4.0,
    "validation": "train",
}
_BOUNCING = (4, 16, 64)
_SMALL, _FULL = 4, 256
_BOUNCING_RATE, _RATE = 0.2, 0.5
_BURN_IN_STEPS = 400  # even the flattest direction has forgotten its start
_ON_THE_WAY_EPOCHS = 30  # later what is left is rounding


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
    is_full = form == "full"
    return (
        Experiment(
            name="bouncing",
            workload="least-squares",
            settings=_SETTINGS,
            batch_sizes=_BOUNCING,
            learning_rates=(_BOUNCING_RATE,),
            seeds=24 if is_full else 12,
            steps=40_000 if is_full else 9_000,
            sampling="replacement",
        ),
        Experiment(
            name="full batch",
            workload="least-squares",
            settings=_SETTINGS,
            batch_sizes=("full",),
            learning_rates=(_RATE,),
            seeds=5 if is_full else 3,
            epochs=100,
        ),
        Experiment(
            name="growing",
            workload="least-squares",
            settings=_SETTINGS,
            batch_sizes=(_SMALL, _FULL),
            learning_rates=(_RATE,),
            seeds=5 if is_full else 3,
            epochs=100,
            plans=("small", "grow"),
            cuts=(0.2, 0.4),
            cut=8.0,
        ),
    )


@lru_cache(maxsize=4)
def _problem(settings: tuple[tuple[str, Setting], ...]) -> LeastSquares:
    from batchlab.workload.builtin.least_squares import workload  # it loads torch

    x, y = workload(**dict(settings)).train  # type: ignore[arg-type]
    return LeastSquares(x.numpy(), y.numpy())


def _problem_of(study: Study) -> LeastSquares:
    return _problem(study.workload.settings)


def _excess(record: TrialRecord, problem: LeastSquares) -> dict[int, float]:
    """The training loss above the least one, by step."""
    return {
        each.step: loss - problem.least_loss for each, loss in record.curve("validation", "loss")
    }


def _left(records: Records, problem: LeastSquares, epochs: float = math.inf) -> Seeds:
    """At the last evaluation up to an epoch, over that of the untrained model."""

    def value(record: TrialRecord) -> float | None:
        excess = _excess(record, problem)
        most = record.trial.plan.steps_in(min(epochs, record.epochs))
        return excess[max(step for step in excess if step <= most)] / excess[0]

    return by_seed(records, value)


def _over_descent(records: Records, problem: LeastSquares) -> Seeds:
    """At the last evaluation before little is left, over that of the closed form."""

    def value(record: TrialRecord) -> float | None:
        excess = _excess(record, problem)
        most = record.trial.plan.steps_in(_ON_THE_WAY_EPOCHS)
        step = max(step for step in excess if step <= most)
        return excess[step] / problem.excess_loss_of_descent(learning_rate=_RATE, steps=step)

    return by_seed(records, value)


def _bounce(study: Study, batch_size: int) -> Seeds:
    """The mean after the start is forgotten."""
    problem = _problem_of(study)

    def value(record: TrialRecord) -> float | None:
        late = [v for step, v in _excess(record, problem).items() if step > _BURN_IN_STEPS]
        return fmean(late) if late else None

    return by_seed(ended(study, batch_size=batch_size), value)


def _closed_form(study: Study, batch_size: int) -> float:
    return _problem_of(study).stationary_excess_loss(
        learning_rate=_BOUNCING_RATE, batch_size=batch_size
    )


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    found: dict[str, Estimate] = {}
    full = ended(studies.get("full batch"))
    if study := studies.get("bouncing"):
        bounces = {size: _bounce(study, size) for size in _BOUNCING}
        for size, bounce in bounces.items():
            expected = _closed_form(study, size)
            found[f"bounce {size}"] = level({seed: v / expected for seed, v in bounce.items()})
        found["bounce exponent"] = exponent(_BOUNCING, bounces.values())
    if full:
        problem = _problem_of(studies["full batch"])
        found["full"] = level(_left(full, problem))
        found["full on the way"] = level(_over_descent(full, problem))
    if study := studies.get("growing"):
        problem = _problem_of(study)
        small = ended(study, grows=False)
        found["grown"] = level(_left(ended(study, grows=True), problem))
        found["small"] = level(_left(small, problem))
        if full:
            found["early"] = times(_left(small, problem, 1.0), _left(full, problem, 1.0))
    return found


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    study = studies.get("bouncing")
    if study is None:
        return ()
    bounces: dict[Place, Estimate] = {size: level(_bounce(study, size)) for size in _BOUNCING}
    return (
        drawing(
            "How far above the optimum the loss stays",
            "loss",
            {"measured": bounces},
            published=[(size, _closed_form(study, size)) for size in _BOUNCING],
            note="The loss of the training set less the least possible one, at rate 0.2; hollow: "
            "the closed form.",
        ),
    )
