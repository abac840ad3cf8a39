"""Steps parameters: S_min, E_min and B_crit as estimates, or as bounds outside the range."""

from __future__ import annotations

import numpy as np

from batchlab.laws.lack_of_fit import LackOfFit
from batchlab.laws.steps_curve import StepsLine
from batchlab.laws.steps_table import Array
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

_BOTH = (0.025, 0.975)
_ONE_SIDED = 0.05


def withheld_parameters(exponent: Estimate, test: LackOfFit, *, n: int) -> dict[str, Estimate]:
    """s_min, e_min and b_crit of a law that does not hold: the reason alone."""
    reason = Reason.of(
        "law_does_not_hold",
        p_value=test.p_value,
        exponent=exponent.estimate,
        low=_bound(exponent.low),
        high=_bound(exponent.high),
    )
    return dict.fromkeys(("s_min", "e_min", "b_crit"), Estimate.cannot_tell(reason, n=n))


def steps_parameters(line: StepsLine, draws: StepsLine, *, n: int) -> dict[str, Estimate]:
    """s_min, e_min and b_crit with their intervals, one-sided where only one bound is known.

    Args:
        line: the least-squares curve.
        draws: the curves that the observations leave possible.
        n: observations.
    """
    smallest, largest = line.smallest, line.largest
    return {
        "s_min": _positive(
            float(line.s_min[0]),
            draws.s_min,
            n=n,
            why=Reason.of("s_min_not_told", largest=largest),
        ),
        "e_min": _positive(
            float(line.e_min[0]),
            draws.e_min,
            n=n,
            why=Reason.of("e_min_not_told", smallest=smallest),
        ),
        "b_crit": _b_crit(float(line.b_crit[0]), draws.b_crit, smallest, largest, n=n),
    }


def _positive(value: float, draws: Array, *, n: int, why: Reason) -> Estimate:
    """A parameter above 0; its upper bound alone, one-sided, where it may be 0."""
    low, high = (float(bound) for bound in np.quantile(draws, _BOTH))
    if low > 0 and value > 0:
        return Estimate.of(value, interval=(low, high), n=n)
    high = float(np.quantile(draws, 1 - _ONE_SIDED))
    if value > 0:
        return Estimate.of(value, interval=(None, high if high > 0 else None), n=n)
    return Estimate(
        estimate=None,
        low=None,
        high=high if high > 0 else None,
        n=n,
        reason=why,
    )


def _b_crit(value: float, draws: Array, smallest: float, largest: float, *, n: int) -> Estimate:
    """B_crit, or its bound where it lies outside the measured batch sizes."""
    low, high = (float(bound) for bound in np.quantile(draws, _BOTH, method="nearest"))
    one_low, one_high = (
        float(bound) for bound in np.quantile(draws, (_ONE_SIDED, 1 - _ONE_SIDED), method="nearest")
    )
    below, above = low <= 0, not np.isfinite(high)
    if below and above:
        return Estimate.cannot_tell(
            Reason.of("steps_scatter", smallest=smallest, largest=largest), n=n
        )
    if value > largest or (above and value >= smallest):
        bound = min(one_low, largest) if not np.isfinite(one_low) else one_low
        if smallest <= value <= largest:
            return Estimate.of(value, interval=(bound, None), n=n)
        return Estimate(
            estimate=None,
            low=bound,
            high=None,
            n=n,
            reason=Reason.of("b_crit_beyond_largest", largest=largest, low=bound),
        )
    if value < smallest or below:
        bound = one_high if one_high > 0 else smallest
        if smallest <= value <= largest:
            return Estimate.of(value, interval=(None, bound), n=n)
        return Estimate(
            estimate=None,
            low=None,
            high=bound,
            n=n,
            reason=Reason.of("b_crit_below_smallest", smallest=smallest, high=bound),
        )
    return Estimate.of(value, interval=(low, high), n=n)


def _bound(value: float | None) -> Reason:
    return Reason.of("no_bound") if value is None else Reason.of("bound", value=value)
