"""MetricScale: on which scale the seeds of a metric scatter evenly, and its bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from batchlab.laws.plateau import FRACTION_METRICS
from batchlab.laws.seed_scatter import OwnScatter

__all__ = ["MetricScale"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricScale:
    """Log odds for a share between 0 and 1, the metric itself for any other.

    Attributes:
        n_examples: how many examples the share is of; None: the metric is no share.
    """

    n_examples: int | None

    @classmethod
    def of(cls, metric: str, values: Iterable[float], *, n_examples: int) -> MetricScale:
        """The scale of a metric by its name, unless its values contradict it.

        Args:
            metric: its name.
            values: all that will be on this scale; a user's accuracy may be in percent.
            n_examples: how many examples each value is a mean of.
        """
        share = metric in FRACTION_METRICS and all(0 <= value <= 1 for value in values)
        return cls(n_examples=n_examples if share and n_examples else None)

    def own_scatter(self, values: Sequence[float]) -> OwnScatter:
        """The scatter of one cell's seeds on this scale, at least what rounding hides."""
        level = float(np.mean(values))
        variance = float(np.var(values, ddof=1)) if len(values) > 1 else 0.0
        variance = max(variance, self._resolution(level) ** 2 / 12)
        return OwnScatter(variance=variance * self._slope(level) ** 2, n=len(values))

    def mean_bounds(self, level: float, half: float) -> tuple[float, float]:
        """The interval around the mean of a cell.

        Args:
            level: the mean, in the metric's unit.
            half: half of the interval's width, on this scale.

        Returns:
            Bounds in the metric's unit; those of a share lie within 0 and 1.
        """
        place = self._place(level)
        return min(level, self._level(place - half)), max(level, self._level(place + half))

    def _resolution(self, level: float) -> float:
        """The least step between two values: an example, or a float of single precision."""
        if self.n_examples is None:
            return float(np.spacing(np.float32(abs(level))))
        return 1 / self.n_examples

    def _kept_off_the_ends(self, level: float) -> float:
        """A share with half an example on either side: at 0 and 1 log odds are infinite."""
        assert self.n_examples is not None
        half_example = 0.5 / self.n_examples
        return min(max(level, half_example), 1 - half_example)

    def _place(self, level: float) -> float:
        return level if self.n_examples is None else float(logit(self._kept_off_the_ends(level)))

    def _slope(self, level: float) -> float:
        if self.n_examples is None:
            return 1.0
        share = self._kept_off_the_ends(level)
        return 1 / (share * (1 - share))

    def _level(self, place: float) -> float:
        return place if self.n_examples is None else float(expit(place))
