"""free-exponent: the law with an exponent of its own, which is 1 in the law that decisions use."""

from __future__ import annotations

from batchlab.laws.steps import LawFit, LawParameter, StepsLaw, StepsToTargetFit
from batchlab.laws.steps_curve import StepsTable
from batchlab.laws.steps_posterior import at_expectation, closest_curve


def _with_its_curve(fit: StepsToTargetFit) -> LawFit:
    if fit.exponent.estimate is None:
        return LawFit(estimates=(fit.exponent,), residuals=None)
    table = StepsTable.of(fit.observations)
    log_steps, law = at_expectation(table)
    curve = closest_curve(table, table.means(log_steps), law)
    return LawFit(estimates=(fit.exponent,), residuals=table.residuals(curve.fitted))


LAW = StepsLaw(
    place=1,
    formula="S_min (1 + (B_crit/B)^alpha)",
    parameters=(
        LawParameter(
            name="exponent",
            quantity="ratio",
            label="exponent that the points ask for (the law has 1)",
        ),
    ),
    n_fitted=3,
    fit=_with_its_curve,
)
