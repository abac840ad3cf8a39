"""Estimate: a number with its interval and count of observations, or the reason for none."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.reason import Reason

# From here on the ends of an interval, such as 30 µs and 3 ms, tell no more than its middle.
_TOO_WIDE = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A measured quantity with its 95 % interval, or the reason why it can't be told.

    Attributes:
        estimate: the value, or None when it can't be told.
        low: lower end of the 95 % interval, or None when that bound can't be told.
        high: upper end of the 95 % interval, or None when that bound can't be told.
        n: the number of independent observations behind it.
        reason: why there is no estimate; None where there is one.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    reason: Reason | None = None

    @classmethod
    def of(cls, value: float, *, interval: tuple[float | None, float | None], n: int) -> Estimate:
        """An estimate that was made from `n` observations."""
        return cls(estimate=value, low=interval[0], high=interval[1], n=n)

    @classmethod
    def cannot_tell(cls, reason: Reason, *, n: int = 0) -> Estimate:
        """No estimate; `reason` says what was seen and what would settle it."""
        return cls(estimate=None, low=None, high=None, n=n, reason=reason)

    @property
    def is_too_wide(self) -> bool:
        """Whether a positive quantity's interval spans a factor of 100 or more."""
        if self.low is None or self.high is None or self.low < 0 or self.high <= 0:
            return False
        return self.high >= _TOO_WIDE * self.low

    def holds(self, value: float) -> bool:
        """Whether `value` lies in the interval; a bound that can't be told excludes nothing."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)
