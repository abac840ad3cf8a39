"""StepsLaw: S(B) = S_min (1 + B_crit / B), fitted to joint draws of the steps to a target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from batchlab.laws.steps import law_through
from batchlab.records.estimate import Estimate, Reason

Array = NDArray[np.float64]

# The law does not hold if the mean log2 steps deviate from it by more than this many times the
# deviation of the draws from their mean (both root mean squares).
_LACKS_FIT = 2.0
# The law does not hold either if fewer than this fraction of draws pass `StepsLaw.where`.
_LEAST_LEFT = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsLaw:
    """The law fitted to each draw of the steps, by least squares of relative errors.

    Source: McCandlish, Kaplan, Amodei 2018, "An Empirical Model of Large-Batch Training",
    arXiv:1812.06162, equation 2.11 in the form of steps.
    """

    fewest: Array  # S_min of each draw, shape (n_draws,)
    slope: Array  # S_min B_crit of each draw
    holds: bool  # whether the law fits the mean steps of all batch sizes
    n: int  # the number of batch sizes

    @classmethod
    def of(cls, batch_sizes: Array, log2_steps: Array) -> StepsLaw:
        """Fit the law to each draw, and judge whether it holds.

        Args:
            batch_sizes: at least two different batch sizes, shape (k,).
            log2_steps: draws of log2 of the steps to the target, shape (n_draws, k).
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
        return cls(fewest=fewest, slope=slope, holds=holds, n=len(batch_sizes))

    def where(self, is_possible: Array) -> StepsLaw:
        """Return the law of only the possible draws; it does not hold if under 5 % are possible."""
        holds = self.holds and bool(is_possible.mean() >= _LEAST_LEFT)
        if not holds:
            return replace(self, holds=False)
        return replace(self, fewest=self.fewest[is_possible], slope=self.slope[is_possible])

    @property
    def s_min(self) -> Estimate:
        """Steps to the target in the limit of large batches."""
        return self._estimate(self.fewest, np.ones_like(self.fewest))

    @property
    def e_min(self) -> Estimate:
        """Examples to the target in the limit of small batches."""
        return self._estimate(self.slope, np.ones_like(self.slope))

    @property
    def b_crit(self) -> Estimate:
        """The critical batch size, at which the steps are twice `s_min`."""
        return self._estimate(self.slope, self.fewest)

    def _estimate(self, above: Array, below: Array) -> Estimate:
        """Estimate `above` / `below` from the draws; draws with `below` <= 0 count as infinite."""
        if not self.holds:
            return Estimate.cannot_tell(Reason.of("steps_off_the_law"), n=self.n)
        ratio = np.where(below > 0, np.maximum(above, 0.0) / np.where(below > 0, below, 1), np.inf)
        low, middle, high = np.quantile(ratio, (0.025, 0.5, 0.975), method="lower").tolist()
        bounds = (low if low > 0 else None), (high if math.isfinite(high) else None)
        if not math.isfinite(middle):
            return Estimate.cannot_tell(Reason.of("steps_still_fall"), n=self.n, low=bounds[0])
        return Estimate.of(middle, interval=bounds, n=self.n)


def log2_steps_between(log2_steps: Sequence[float], worse: Sequence[Array], level: float) -> Array:
    """Return draws of log2(steps) of a training that would end at `level`, by interpolation.

    Args:
        log2_steps: log2 of the steps of two trainings, the first of which ends worse than `level`.
        worse: draws of the final value of each training, in margins, where less is better.
        level: the value at which the training would end, in margins.
    """
    short, long = worse
    # In a few draws the longer training hardly ends better, or `level` is outside, so clip.
    fraction = np.clip((short - level) / np.maximum(short - long, 1e-6), -1, 2)
    return np.asarray(log2_steps[0] + fraction * (log2_steps[1] - log2_steps[0]))
