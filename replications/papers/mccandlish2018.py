"""mccandlish2018: the trade of steps for examples, and the noise scale beside its turning point."""

from __future__ import annotations

import math

from replications.experiment import Experiment, Measured, Studies
from replications.seeds import (
    by_seed,
    geometric_mean,
    last_measured,
    mean_measured,
    ratio,
    ratio_of_estimates,
    trials,
)
from replications.steps import law_of_steps

_QUICK_SIZES = (4, 16, 64, 256, 1024, 4096)
_SIZES = tuple(2**power for power in range(2, 14))
_NOISE_SIZE, _NOISE_RATE = 128, 0.1


def _rates(batch_size: int) -> tuple[float, ...]:
    """Return rates around one that grows with the root of the batch size, to 0.88 at 512."""
    middle = 0.11 * math.sqrt(min(batch_size, 512) / 8)
    return tuple(float(f"{middle * 2.0**step:.3g}") for step in (-1, 0, 1))


def experiments(is_quick: bool) -> tuple[Experiment, ...]:
    """Return the sweeps."""
    tuned = (
        Experiment(
            name=f"B = {size}",
            settings={"momentum": 0.0},
            batch_sizes=(size,),
            learning_rates=_rates(size),
            seeds=6,
            epochs=30 if is_quick else 60,
            target=("accuracy", 0.95),
        )
        for size in (_QUICK_SIZES if is_quick else _SIZES)
    )
    noise = Experiment(
        name="noise",
        settings={"momentum": 0.0},
        batch_sizes=(_NOISE_SIZE,),
        learning_rates=(_NOISE_RATE,),
        seeds=5,
        epochs=4 if is_quick else 20,
        measure=("noise_scale",),
    )
    return (*tuned, noise)


def measured(studies: Studies) -> Measured:
    """Return what they show, by name."""
    exponent, b_crit = law_of_steps(study for name, study in studies.items() if name != "noise")
    noise = trials(studies["noise"])
    along = geometric_mean(mean_measured(noise, "noise_scale", at_epoch_ends=True))
    first = by_seed(noise, lambda record: record.evaluations[0].measurement("noise_scale"))
    return {
        "exponent": exponent,
        "b_crit": b_crit,
        "b_simple": along,
        "growth": ratio(last_measured(noise, "noise_scale"), first),
        "over": ratio_of_estimates(along, b_crit),
    }
