"""MetricScale: the scale on which seeds of good and bad configurations scatter about alike."""

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
# This number keeps log odds finite if the number of examples is unknown.
_EXAMPLES = 10_000
# This bound keeps values far out in a tail finite.
_HIGHEST = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricScale:
    """Log odds for a share, the logarithm for a positive loss, the metric itself for any other."""

    kind: ScaleKind
    whole: float = 1.0  # the largest share: 1, or 100 if it is in percent
    n_examples: int | None = None  # that a value is a mean of, if known

    @classmethod
    def of(
        cls, metric: str, values: Iterable[float], *, better: Better, n_examples: int | None
    ) -> MetricScale:
        """Choose the scale of a metric by its name, direction and values.

        Args:
            metric: its name; "accuracy" and "error" are shares, in percent if a value is above 1.
            values: all that are compared.
            better: its direction; a metric that goes up within 0 and 1 is a share by any name, and
                one that goes down and stays above 0 is a loss.
            n_examples: how many examples each value is a mean of, if known.
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
        """Return where a value in the metric's unit lies on this scale."""
        if self.kind == "share":
            return float(logit(self._inside(value)))
        if self.kind == "loss":
            return math.log(value)
        return value

    def values(self, places: Array) -> Array:
        """Return places on this scale in the metric's unit."""
        if self.kind == "share":
            return np.asarray(self.whole * expit(places))
        if self.kind == "loss":
            return np.asarray(np.exp(np.minimum(places, _HIGHEST)))
        return places

    def variance(self, values: Sequence[float]) -> float:
        """Return the unbiased variance of two or more seeds, at least what rounding hides."""
        level = float(np.mean(values))
        variance = max(float(np.var(values, ddof=1)), self._resolution(level) ** 2 / 12)
        return variance * self.slope(level) ** 2

    def slope(self, level: float) -> float:
        """Return the slope of this scale over the metric's unit at a value, above 0."""
        if self.kind == "share":
            share = self._inside(level)
            return 1 / (share * (1 - share) * self.whole)
        if self.kind == "loss":
            return 1 / level
        return 1.0

    def _resolution(self, level: float) -> float:
        """Return the least step between two values: one example, or one single-precision float."""
        if self.kind == "share" and self.n_examples is not None:
            return self.whole / self.n_examples
        return float(np.spacing(np.float32(abs(level))))

    def _inside(self, value: float) -> float:
        """Return the share, at least half an example off 0 and 1, where log odds are infinite."""
        half_example = 0.5 / (self.n_examples or _EXAMPLES)
        return min(max(value / self.whole, half_example), 1 - half_example)
