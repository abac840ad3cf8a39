"""any-power: steps as a power of the batch size, a law that batchlab does not have."""

from __future__ import annotations

import math

from batchlab.laws.lines import fit_power_law
from batchlab.laws.registry import FittedLaw, Parameter, residual_sd
from batchlab.laws.steps import StepsToTargetFit


def any_power(fit: StepsToTargetFit) -> FittedLaw:
    """S_1 B^p through the runs that reached the target."""
    reached = [(seen.batch_size, seen.steps) for seen in fit.observations if seen.steps is not None]
    power = fit_power_law([size for size, _ in reached], [steps for _, steps in reached])
    at_1, exponent = power.coefficient.estimate or math.nan, power.exponent.estimate or math.nan
    away = tuple(
        None if seen.steps is None else math.log(seen.steps / (at_1 * seen.batch_size**exponent))
        for seen in fit.observations
    )
    return FittedLaw(
        name="any-power",
        formula="S_1 B^p",
        parameters=(
            Parameter.of(
                "steps_at_1",
                power.coefficient,
                quantity_name="steps_to_target",
                label="S_1 of the power law S_1 B^p",
            ),
            Parameter.of(
                "power",
                power.exponent,
                quantity_name="ratio",
                label="p of the power law S_1 B^p",
            ),
        ),
        residual_sd=residual_sd(away, n_fitted=2),
        residuals=away,
    )
