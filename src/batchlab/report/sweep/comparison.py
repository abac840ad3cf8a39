"""Comparison: is one cell better than another, by the seeds' scatter of all cells?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from batchlab.records.estimate import Estimate
from batchlab.report.parts.quantity_text import quantity_text
from batchlab.words.catalogue import text
from batchlab.words.reasons import reason_text

Difference = Literal["better", "worse", "same", "cannot_tell"]
Seeds = Mapping[int, float]  # seed -> value
ONE_SEED = "one seed: this may be chance"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The difference of two cells.

    Attributes:
        difference: first less second, turned so that positive means that the first is better.
        tolerance: a difference below it does not matter, in the metric's unit.
    """

    difference: Estimate
    tolerance: float

    @property
    def outcome(self) -> Difference:
        """What the interval says of the first; "same" where all of it is within the tolerance."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return "cannot_tell"
        if -self.tolerance < low and high < self.tolerance:
            return "same"
        if low > 0:
            return "better"
        return "worse" if high < 0 else "cannot_tell"

    @property
    def missing(self) -> str | None:
        """Why there is no interval; None where there is one."""
        if self.difference.low is not None:
            return None
        return reason_text(self.difference.reason) or text(ONE_SEED)

    @property
    def at_most_slightly_worse(self) -> bool:
        """Whether the interval rules out that the first is worse by more than the tolerance."""
        return self.difference.low is not None and self.difference.low > -self.tolerance


def difference_text(metric: str, comparison: Comparison) -> str:
    """The size of the difference: "0.0120 (95 %: 0.0101 to 0.0139)"."""
    found = comparison.difference
    if found.estimate is None:
        return text("an unknown amount ({reason})", reason=reason_text(found.reason))
    size = quantity_text(metric, abs(found.estimate))
    if found.low is None or found.high is None:
        return text("{size} (one seed: no interval)", size=size)
    low, high = found.low, found.high
    if found.estimate < 0:
        low, high = -high, -low
    return text(
        "{size} (95 %: {low} to {high})",
        size=size,
        low=quantity_text(metric, low),
        high=quantity_text(metric, high),
    )
