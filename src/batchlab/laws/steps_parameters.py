"""Steps parameters: S_min, E_min and B_crit as estimates, or as bounds outside the range."""

from __future__ import annotations

import numpy as np

from batchlab.laws.free_lines import FreeLines
from batchlab.laws.lack_of_fit import LackOfFit
from batchlab.laws.steps_curve import StepsLine
from batchlab.laws.steps_table import Array
from batchlab.records.estimate import Estimate
from batchlab.records.reason import Reason

_BOTH = (0.025, 0.975)
_ONE_SIDED = 0.05


def law_does_not_hold(exponent: Estimate, test: LackOfFit) -> Reason:
    """Why what belongs to the law alone is withheld."""
    return Reason.of(
        "law_does_not_hold",
        p_value=test.p_value,
        exponent=exponent.estimate,
        low=_bound(exponent.low),
        high=_bound(exponent.high),
    )


def free_parameters(
    point: StepsLine | FreeLines, draws: FreeLines, *, n: int
) -> tuple[Estimate, Estimate]:
    """S_min and B_crit with their intervals, one-sided where only one bound is known.

    Args:
        point: the law where it holds, else the closest curve of any exponent.
        draws: the curves that the observations leave possible, of any exponent.
        n: observations.
    """
    smallest, largest = point.smallest, point.largest
    s_min = _positive(
        float(point.s_min[0]), draws.s_min, n=n, why=Reason.of("s_min_not_told", largest=largest)
    )
    b_crit = _b_crit(float(point.b_crit[0]), draws.b_crit, smallest, largest, n=n)
    return _holding_its_estimate(s_min), _holding_its_estimate(b_crit)


def e_min_of(line: StepsLine, draws: StepsLine, *, n: int) -> Estimate:
    """E_min, the samples in the limit of small batches: only a law with exponent 1 has it.

    Args:
        line: the least-squares curve.
        draws: the curves that the observations leave possible, of exponent 1.
        n: observations.
    """
    why = Reason.of("e_min_not_told", smallest=line.smallest)
    return _positive(float(line.e_min[0]), draws.e_min, n=n, why=why)


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


def _holding_its_estimate(found: Estimate) -> Estimate:
    """The interval reaches to the law's own figure where other exponents alone would leave it."""
    if found.estimate is None:
        return found
    low = None if found.low is None else min(found.low, found.estimate)
    high = None if found.high is None else max(found.high, found.estimate)
    return Estimate.of(found.estimate, interval=(low, high), n=found.n)


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
