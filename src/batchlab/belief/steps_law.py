"""StepsLaw: steps to a target = s_min (1 + b_crit / batch size), fitted to random draws."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from batchlab.laws.steps import law_through
from batchlab.records.estimate import Estimate, Reason

Array = NDArray[np.float64]

# Reject the law if its root mean square error against the means of log2 steps is more than this
# many times the root mean square deviation of the random draws from these means.
_LACKS_FIT = 2.0
# Also reject the law if less than this fraction of the draws agrees with every `Bound`.
_LEAST_LEFT = 0.05

Bound = tuple[int, float, NDArray[np.bool_]]
"""(batch size, log2 of a number of steps, for each draw whether the target takes more steps)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsLaw:
    """The law S = s_min (1 + b_crit / B) of the steps S to the target at batch size B.

    Source: McCandlish, Kaplan, Amodei 2018, "An Empirical Model of Large-Batch Training",
    arXiv:1812.06162, equation 2.11 in the form of steps.

    Attributes:
        s_min: steps to the target in the limit of large batches.
        e_min: examples to the target in the limit of small batches.
        b_crit: critical batch size, at which the steps are twice s_min.
        law_holds: whether the law fits the measured steps. If not, s_min, e_min and b_crit are
            unknown.
    """

    s_min: Estimate
    e_min: Estimate
    b_crit: Estimate
    law_holds: bool = False

    @classmethod
    def of(cls, batch_sizes: Array, log2_steps: Array, bounds: Iterable[Bound] = ()) -> StepsLaw:
        """Fit the law to each draw by least squares of relative errors, and judge the fit.

        Args:
            batch_sizes: at least two different batch sizes, shape (k,).
            log2_steps: draws of log2 of the steps to the target, shape (n_draws, k).
            bounds: what is known about the steps of further batch sizes; draws of the law that
                contradict it are dropped.
        """
        fewest, slope = law_through(batch_sizes, log2_steps)
        mean = log2_steps.mean(axis=0)
        one, other = law_through(batch_sizes, mean[None, :])
        law = one[0] + other[0] / batch_sizes
        holds = bool(np.all(law > 0))
        if holds and len(batch_sizes) > 2:
            off = float(np.mean((mean - np.log2(law)) ** 2))
            spread = float(np.mean((log2_steps - mean) ** 2))
            holds = off <= _LACKS_FIT**2 * spread
        agrees = np.ones(len(fewest), dtype=bool)
        for size, bound, needs_more in bounds:
            needed = np.log2(np.maximum(fewest + slope / size, 1e-9))
            agrees &= (needed > bound) == needs_more
        n = len(batch_sizes)
        if not holds or agrees.mean() < _LEAST_LEFT:
            return cls.unknown(Reason.of("steps_off_the_law"), n=n)
        fewest, slope, one = fewest[agrees], slope[agrees], np.ones(np.count_nonzero(agrees))
        return cls(
            s_min=_ratio(fewest, one, n=n),
            e_min=_ratio(slope, one, n=n),
            b_crit=_ratio(slope, fewest, n=n),
            law_holds=True,
        )

    @classmethod
    def unknown(cls, reason: Reason, *, n: int = 0) -> StepsLaw:
        """Return a law whose estimates are all unknown."""
        none = Estimate.cannot_tell(reason, n=n)
        return cls(s_min=none, e_min=none, b_crit=none)


def _ratio(above: Array, below: Array, *, n: int) -> Estimate:
    """Estimate `above` / `below` from draws; draws with `below` <= 0 count as infinite."""
    ratio = np.where(below > 0, np.maximum(above, 0.0) / np.where(below > 0, below, 1), np.inf)
    low, middle, high = np.quantile(ratio, (0.025, 0.5, 0.975), method="lower").tolist()
    bounds = (low if low > 0 else None), (high if math.isfinite(high) else None)
    if not math.isfinite(middle):
        return Estimate.cannot_tell(Reason.of("steps_still_fall"), n=n, low=bounds[0])
    return Estimate.of(middle, interval=bounds, n=n)
