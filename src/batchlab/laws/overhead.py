"""Overhead: the largest batch size that needs at most a given share more samples than a reference.

The samples E(B) = E_min + S_min B grow in a straight line, so it has a closed form. It is not
B_crit: as the reference goes to 0 it becomes overhead × B_crit.
"""

from __future__ import annotations

import math

import numpy as np

from batchlab.errors import UsageError
from batchlab.laws.steps_to_target import StepsToTargetFit
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason


def batch_at_overhead(
    fit: StepsToTargetFit,
    *,
    overhead_fraction: float = 0.2,
    reference_batch_size: float | None = None,
) -> Estimate:
    """The largest B with E(B) <= (1 + overhead) E(reference), on the fitted curve, in examples.

    Args:
        fit: the law.
        overhead_fraction: share of samples accepted above the reference's, > 0.
        reference_batch_size: in examples, >= 1; None: the smallest measured one.

    Returns:
        (1 + overhead) reference + overhead × B_crit, not rounded; a bound where B_crit is one, the
        reason where the law does not hold.

    Raises:
        UsageError: an overhead or a reference that is not a finite number in its range.
    Source: Zhang et al. 2024, arXiv:2410.21676 (20 % over linear scaling from B = 256).
    """
    reference = float(fit.batch_sizes[0] if reference_batch_size is None else reference_batch_size)
    check_overhead(overhead_fraction, reference)
    n = len(fit.observations)
    point, draws = fit.line(), fit.line_draws()
    if point is None or draws is None:
        return Estimate.cannot_tell(fit.e_min.reason or Reason.of("no_law_fitted"), n=n)

    def at(b_crit: float) -> float:
        return (1 + overhead_fraction) * reference + overhead_fraction * b_crit

    value = at(float(point.b_crit[0]))
    low, high = (at(float(q)) for q in np.quantile(draws.b_crit, (0.025, 0.975), method="nearest"))
    if math.isfinite(value) and math.isfinite(high):
        return Estimate.of(value, interval=(low, high), n=n)
    # Some of the curves that fit never level off: only a lower bound is known, one-sided.
    low = at(float(np.quantile(draws.b_crit, 0.05, method="nearest")))
    low = low if math.isfinite(low) else at(float(fit.batch_sizes[-1]))
    if math.isfinite(value):
        return Estimate.of(value, interval=(low, None), n=n)
    return Estimate(
        estimate=None,
        low=low,
        high=None,
        n=n,
        reason=Reason.of("samples_do_not_grow", largest=fit.batch_sizes[-1], low=low),
    )


def check_overhead(overhead_fraction: float, reference_batch_size: float | None) -> None:
    """Refuse an overhead that is not above 0 and a reference below 1.

    Raises:
        UsageError: naming it and what is possible.
    """
    if not (math.isfinite(overhead_fraction) and overhead_fraction > 0):
        raise UsageError(
            f"overhead {overhead_fraction}: expected a finite share above 0, such as 0.2 for 20 %"
        )
    if reference_batch_size is not None and not (
        math.isfinite(reference_batch_size) and reference_batch_size >= 1
    ):
        raise UsageError(f"reference batch size {reference_batch_size}: expected at least 1")
