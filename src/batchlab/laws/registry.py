"""The laws of steps to target: a table, and all of them fitted to the same runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from batchlab.laws.steps import StepsToTargetFit
from batchlab.laws.steps_curve import StepsTable, closest_curve
from batchlab.laws.steps_posterior import at_expectation
from batchlab.records.estimate import Estimate
from batchlab.records.quantities import quantity


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter of a law; `unit` is empty for a pure number."""

    name: str
    label: str
    unit: str
    value: Estimate
    _quantity: str

    @classmethod
    def of(cls, name: str, value: Estimate, *, quantity_name: str, label: str) -> Parameter:
        """A parameter that is one of a known quantity, by which its number is written."""
        unit = quantity(quantity_name).unit
        return cls(name=name, label=label, unit=unit, value=value, _quantity=quantity_name)

    @property
    def quantity(self) -> str:
        """The name in `batchlab.records.quantities` of what it is one of."""
        return self._quantity


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedLaw:
    """One of the laws that were fitted; without a curve there are no residuals.

    `residual_sd` is the standard deviation of log steps from the curve, null where there are not
    more runs than numbers that were fitted.
    """

    name: str
    formula: str
    parameters: tuple[Parameter, ...]
    residual_sd: float | None
    residuals: tuple[float | None, ...] | None


def residual_sd(residuals: Sequence[float | None] | None, *, n_fitted: int) -> float | None:
    """Standard deviation of log steps from a curve, over the runs that reached the target.

    The numbers that were fitted are taken off the runs, so that a law with more of them is not
    closer for that alone. None: no curve, or not more runs than such numbers.
    """
    away = [value for value in residuals or () if value is not None]
    if len(away) <= n_fitted:
        return None
    return math.sqrt(sum(value**2 for value in away) / (len(away) - n_fitted))


def _critical_batch_size(fit: StepsToTargetFit) -> FittedLaw:
    """The law that decisions use (McCandlish et al. 2018, arXiv:1812.06162)."""
    return FittedLaw(
        name="critical-batch-size",
        formula="S_min (1 + B_crit/B)",
        parameters=(
            Parameter.of(
                "b_crit",
                fit.b_crit,
                quantity_name="critical_batch_size",
                label="critical batch size B_crit",
            ),
            Parameter.of(
                "s_min",
                fit.s_min,
                quantity_name="steps_to_target",
                label="S_min, steps with large batches",
            ),
            Parameter.of(
                "e_min",
                fit.e_min,
                quantity_name="samples_to_target",
                label="E_min, samples with small batches",
            ),
        ),
        residual_sd=residual_sd(fit.residuals, n_fitted=2),
        residuals=fit.residuals,
    )


def _free_exponent(fit: StepsToTargetFit) -> FittedLaw:
    """The law with an exponent of its own, which is 1 in the law that decisions use."""
    residuals = None
    if fit.exponent.estimate is not None:
        table = StepsTable.of(fit.observations)
        log_steps, law = at_expectation(table)
        curve = closest_curve(table.batch_size, table.means(log_steps), law)
        residuals = table.residuals(curve.fitted)
    return FittedLaw(
        name="free-exponent",
        formula="S_min (1 + (B_crit/B)^alpha)",
        parameters=(
            Parameter.of(
                "exponent",
                fit.exponent,
                quantity_name="ratio",
                label="exponent that the points ask for (the law has 1)",
            ),
        ),
        residual_sd=residual_sd(residuals, n_fitted=3),
        residuals=residuals,
    )


LAWS = (_critical_batch_size, _free_exponent)
"""The laws, each a function that is given the fit of the first, which is the one that decides."""


def every_law(fit: StepsToTargetFit) -> tuple[FittedLaw, ...]:
    """Every law fitted to the observations of a fit; the first is the law that decisions use."""
    return tuple(law(fit) for law in LAWS)
