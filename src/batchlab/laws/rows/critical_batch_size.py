"""critical-batch-size: the law that decisions use (McCandlish et al. 2018, arXiv:1812.06162)."""

from __future__ import annotations

from batchlab.laws.steps import LawFit, LawParameter, StepsLaw, StepsToTargetFit


def _as_fitted(fit: StepsToTargetFit) -> LawFit:
    return LawFit(estimates=(fit.b_crit, fit.s_min, fit.e_min), residuals=fit.residuals)


LAW = StepsLaw(
    place=0,
    formula="S_min (1 + B_crit/B)",
    parameters=(
        LawParameter(
            name="b_crit",
            quantity="critical_batch_size",
            label="critical batch size B_crit",
        ),
        LawParameter(
            name="s_min",
            quantity="steps_to_target",
            label="S_min, steps with large batches",
        ),
        LawParameter(
            name="e_min",
            quantity="samples_to_target",
            label="E_min, samples with small batches",
        ),
    ),
    n_fitted=2,
    fit=_as_fitted,
)
