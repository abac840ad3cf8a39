"""MetricScale: a scale on which a metric's variance over seeds hardly depends on its value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from batchlab.records.quantities import FRACTION_METRICS, Better

Array = NDArray[np.float64]
ScaleKind = Literal["share", "loss", "plain"]

_PERCENT = 100.0
# The number of examples to assume if unknown. An accuracy is kept half an example away from 0 and
# 1, where its log odds would be infinite.
_EXAMPLES = 10_000
# A loss is computed as exp(x) with x at most this, so that extreme random draws stay finite.
_HIGHEST = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricScale:
    """A conversion of a metric: log odds of a share (0 to 1), logarithm of a loss, or none."""

    kind: ScaleKind
    whole: float = 1.0  # The largest share: 1, or 100 for percent.
    n_examples: int | None = None  # The number of examples that a value is a mean over, if known.

    @classmethod
    def of(
        cls, metric: str, values: Iterable[float], *, better: Better, n_examples: int | None
    ) -> MetricScale:
        """Choose the scale of a metric by its name, direction and values.

        Args:
            metric: the metric's name; "accuracy" and "error" are shares, in percent if above 1.
            values: all values that are compared.
            better: whether "higher" or "lower" is better. Any metric within 0 and 1 is a share if
                higher is better; a positive metric is a loss if lower is better.
            n_examples: the number of examples that each value is a mean over, if known.
        """
        numbers = list(values)
        low, high = min(numbers, default=0.0), max(numbers, default=0.0)
        is_named = metric in FRACTION_METRICS
        if 0 <= low and high <= 1 and (is_named or better == "higher"):
            return cls(kind="share", n_examples=n_examples or None)
        if is_named and 0 <= low and 1 < high <= _PERCENT:
            return cls(kind="share", whole=_PERCENT, n_examples=n_examples or None)
        if better == "lower" and low > 0:
            return cls(kind="loss")
        return cls(kind="plain")

    def place(self, value: float) -> float:
        """Convert a value from the metric's unit to this scale."""
        if self.kind == "share":
            return float(logit(self._inside(value)))
        if self.kind == "loss":
            return math.log(value)
        return value

    def values(self, places: Array) -> Array:
        """Convert numbers from this scale to the metric's unit."""
        if self.kind == "share":
            return np.asarray(self.whole * expit(places))
        if self.kind == "loss":
            return np.asarray(np.exp(np.minimum(places, _HIGHEST)))
        return places

    def variance(self, values: Sequence[float]) -> float:
        """Return the variance of metric values on this scale, at least that due to rounding."""
        level = float(np.mean(values))
        variance = max(float(np.var(values, ddof=1)), self._resolution(level) ** 2 / 12)
        return variance * self.slope(level) ** 2

    def slope(self, level: float) -> float:
        """Return the derivative (above 0) of the conversion `place` at the metric value `level`."""
        if self.kind == "share":
            share = self._inside(level)
            return 1 / (share * (1 - share) * self.whole)
        if self.kind == "loss":
            return 1 / level
        return 1.0

    def _resolution(self, level: float) -> float:
        """Return the smallest step between values near `level`: one example or float32 rounding."""
        if self.kind == "share" and self.n_examples is not None:
            return self.whole / self.n_examples
        return float(np.spacing(np.float32(abs(level))))

    def _inside(self, value: float) -> float:
        """Convert a value to a fraction, and keep it half an example away from 0 and 1."""
        half_example = 0.5 / (self.n_examples or _EXAMPLES)
        return min(max(value / self.whole, half_example), 1 - half_example)
