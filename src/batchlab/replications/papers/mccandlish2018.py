"""mccandlish2018: the trade of steps for examples, and the noise scale beside its turning point."""

from __future__ import annotations

import math

from batchlab.errors import FitError
from batchlab.laws.steps import StepsToTargetFit, fit_steps_to_target
from batchlab.records.estimate import Estimate
from batchlab.records.replication import Drawing, Form
from batchlab.records.trial import Setting
from batchlab.replications.arms import (
    Place,
    Records,
    Seeds,
    by_seed,
    drawing,
    ended,
    last_measured,
    mean_measured,
    middle,
    over,
    times,
)
from batchlab.replications.experiment import Experiment, Measured, Studies
from batchlab.replications.steps import at_chosen_rates
from batchlab.replications.tables import PublishedTable

_SIZES = (4, 16, 64, 256, 1024, 4096)
_FULL_SIZES = tuple(2**power for power in range(2, 14))
_TARGET = ("accuracy", 0.95)
_NOISE_SIZE, _NOISE_RATE = 128, 0.1


def _rates(batch_size: int) -> tuple[float, ...]:
    """Around a rate that grows with the root of the batch size, to 0.88 at 512."""
    middle = 0.11 * math.sqrt(min(batch_size, 512) / 8)
    return tuple(float(f"{middle * 2.0**step:.3g}") for step in (-1, 0, 1))


def experiments(form: Form) -> tuple[Experiment, ...]:
    """The sweeps of a form."""
    is_full = form == "full"
    settings: dict[str, Setting] = {"momentum": 0.0}
    arms = [
        Experiment(
            name=f"B = {size}",
            settings=settings,
            batch_sizes=(size,),
            learning_rates=_rates(size),
            seeds=5,
            epochs=60 if is_full else 30,
            target=_TARGET,
        )
        for size in (_FULL_SIZES if is_full else _SIZES)
    ]
    noise = Experiment(
        name="noise",
        settings=settings,
        batch_sizes=(_NOISE_SIZE,),
        learning_rates=(_NOISE_RATE,),
        seeds=5,
        epochs=20 if is_full else 4,
        measure=("noise_scale",),
    )
    return (*arms, noise)


def _fit(studies: Studies) -> StepsToTargetFit | None:
    seen = [
        observation
        for name, study in studies.items()
        if name != "noise"
        for observation in at_chosen_rates(study)
    ]
    try:
        return fit_steps_to_target(seen)
    except FitError:
        return None


def _along(noise: Records) -> Seeds:
    """The mean noise scale over the ends of the epochs."""
    return mean_measured(noise, "noise_scale", at_epoch_ends=True)


def measured(studies: Studies, table: PublishedTable) -> Measured:
    """What they show, by name."""
    found: dict[str, Estimate] = {}
    fit = _fit(studies)
    if fit is not None:
        found["exponent"], found["b_crit"] = fit.exponent, fit.b_crit
    if noise := ended(studies.get("noise")):
        found["b_simple"] = middle(_along(noise))
        first = by_seed(noise, lambda r: r.evaluations[0].measurement("noise_scale"))
        found["growth"] = times(last_measured(noise, "noise_scale"), first)
        if fit is not None:
            found["over"] = over(found["b_simple"], fit.b_crit)
    return found


def drawings(studies: Studies, table: PublishedTable) -> tuple[Drawing, ...]:
    """The figures."""
    fit = _fit(studies)
    scales: dict[Place, Estimate] = {"B_simple": middle(_along(ended(studies.get("noise"))))}
    steps: dict[Place, Estimate] = {}
    if fit is not None:
        scales["B_crit"] = fit.b_crit
        steps = {size: fit.steps(size) for size in fit.batch_sizes}
    return (
        drawing(
            "Steps to 95 % by batch size",
            "steps_to_target",
            {"fitted law": steps},
            note="Of the fitted law, with the interval of its joint draws.",
        ),
        drawing(
            "Noise scale and critical batch size",
            "critical_batch_size",
            {"measured": scales},
            published=[(of, table.number(f"{of}_average", "MNIST")) for of in scales],
        ),
    )
