"""StepsLine: the curve S(B) = S_min (1 + (B_crit/B)^alpha), given by its two ends.

Between the smallest and the largest measured batch size the law is a straight line in B^-alpha:
S(B) = S(B_max) (1 + place (e^fall - 1)), where `place` goes from 1 at B_min to 0 at B_max and
`fall` = log S(B_min) / S(B_max). Where B_crit is far outside the range, S_min or E_min is unknown,
and the fall still well posed. Scatter may push it below 0 (steps that grow with B) or above
log B_max / B_min (faster than perfect scaling); an interval that reaches there is one-sided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepsLine:
    """Steps to target by its level at the largest measured batch size and its fall to there.

    Attributes:
        level: log steps at the largest measured batch size, shape (m,) or a number.
        fall: log of the steps at the smallest over those at the largest, the same shape.
        smallest: the smallest measured batch size.
        largest: the largest.
    """

    level: Array
    fall: Array
    smallest: float
    largest: float

    @classmethod
    def over(cls, batch_sizes: ArrayLike, *, level: ArrayLike, fall: ArrayLike) -> StepsLine:
        """One curve, or one for each level and fall, over the measured batch sizes (ascending)."""
        sizes = np.asarray(batch_sizes, dtype=float)
        return cls(
            level=np.atleast_1d(level),
            fall=np.atleast_1d(fall),
            smallest=float(sizes[0]),
            largest=float(sizes[-1]),
        )

    @property
    def steepest(self) -> float:
        """The fall of perfect scaling: steps in proportion to 1/B."""
        return float(np.log(self.largest / self.smallest))

    @property
    def s_min(self) -> Array:
        """Steps in the limit of large batches; not above 0 beyond perfect scaling."""
        rise = np.expm1(self.fall) / (1 / self.smallest - 1 / self.largest)
        return np.asarray(np.exp(self.level) * (1 - rise / self.largest))

    @property
    def e_min(self) -> Array:
        """Samples in the limit of small batches; not above 0 where steps do not fall."""
        rise = np.expm1(self.fall) / (1 / self.smallest - 1 / self.largest)
        return np.asarray(np.exp(self.level) * rise)

    @property
    def b_crit(self) -> Array:
        """E_min / S_min; infinite from perfect scaling on, 0 where steps do not fall."""
        s_min, e_min = self.s_min, self.e_min
        ratio = np.divide(e_min, s_min, out=np.full_like(e_min, np.inf), where=s_min > 0)
        return np.asarray(np.where(e_min > 0, ratio, 0.0))

    def log_steps(self, batch_size: ArrayLike) -> Array:
        """Log steps at batch sizes of shape (j,), shape (m, j).

        Outside the measured range the fall is first brought between none and perfect scaling: no
        training takes more steps, or fewer samples, at a larger batch.
        """
        at = np.asarray(batch_size, dtype=float)
        outside = (at < self.smallest) | (at > self.largest)
        fall = np.atleast_1d(self.fall)[:, None]
        fall = np.where(outside, np.clip(fall, 0.0, self.steepest), fall)
        place = places(at, self.smallest, self.largest)
        edge = np.where(at < self.smallest, np.atleast_1d(self.fall)[:, None] - fall, 0.0)
        rise = np.log1p(place * np.expm1(fall))
        return np.asarray(np.atleast_1d(self.level)[:, None] + edge + rise)


def places(
    batch_size: Array, smallest: float, largest: float, exponent: float | Array = 1.0
) -> Array:
    """Where batch sizes lie in B^-alpha, from 1 at the smallest to 0 at the largest."""
    at = np.asarray(batch_size, dtype=float)
    share = (at**-exponent - largest**-exponent) / (smallest**-exponent - largest**-exponent)
    # Exactly 0: a rounding error would be multiplied by the whole fall.
    return np.asarray(np.where(at == largest, 0.0, share))
