"""any-power: steps as a power of the batch size, a law that batchlab does not have."""

from __future__ import annotations

import math

from batchlab.laws.lines import fit_power_law
from batchlab.laws.steps import LawFit, LawParameter, StepsLaw, StepsToTargetFit


def _power(fit: StepsToTargetFit) -> LawFit:
    reached = [(seen.batch_size, seen.steps) for seen in fit.observations if seen.steps is not None]
    power = fit_power_law([size for size, _ in reached], [steps for _, steps in reached])
    at_1, exponent = power.coefficient.estimate or math.nan, power.exponent.estimate or math.nan
    away = tuple(
        None if seen.steps is None else math.log(seen.steps / (at_1 * seen.batch_size**exponent))
        for seen in fit.observations
    )
    return LawFit(estimates=(power.coefficient, power.exponent), residuals=away)


LAW = StepsLaw(
    place=9,
    formula="S_1 B^p",
    parameters=(
        LawParameter(
            name="steps_at_1", quantity="steps_to_target", label="S_1 of the power law S_1 B^p"
        ),
        LawParameter(name="power", quantity="ratio", label="p of the power law S_1 B^p"),
    ),
    n_fitted=2,
    fit=_power,
)
