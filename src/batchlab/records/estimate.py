"""Estimate and Reason: a number with its interval, or the reason why there is none."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Union

One = Union[str, int, float, bool, "Reason", None]
Value = One | tuple[One, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """The cause of something: a code, and the values that its sentence names.

    Attributes:
        code: the key of its sentence in the tables of `batchlab.words`.
        values: the values in the sentence, as (name, value), sorted by name; a value may be a
            reason that the sentence quotes, or several values.
    """

    code: str
    values: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(cls, code: str, /, **values: object) -> Reason:
        """Return the reason called `code` with its values; NumPy's numbers become plain ones.

        Raises:
            TypeError: a value is not a text, number, truth value, reason, None or a sequence of
                these.
        """
        return cls.with_values(code, values)

    @classmethod
    def with_values(cls, code: str, values: Mapping[str, object]) -> Reason:
        """Do the same as `of`, with the values as a mapping, to read a stored reason.

        Raises:
            TypeError: as for `of`.
        """
        return cls(code, tuple((name, _plain(values[name])) for name in sorted(values)))

    @classmethod
    def as_written(cls, text: str) -> Reason:
        """Return a reason that consists of a text from elsewhere, unchanged."""
        return cls.of("as_written", text=text)

    def quotes(self, other: Reason) -> bool:
        """Return whether this reason is the other reason, or quotes it."""
        return self == other or any(
            isinstance(value, Reason) and value.quotes(other) for _, value in self.values
        )

    @property
    def named(self) -> Mapping[str, Value]:
        """The values by name."""
        return dict(self.values)


def _plain(value: object) -> Value:
    if isinstance(value, tuple | list):
        return tuple(map(_one, value))
    return _one(value)


def _one(value: object) -> One:
    if value is None or isinstance(value, bool | Reason):
        return value
    if isinstance(value, str):
        return str(value)  # a member of an enum becomes its text
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"a reason holds text, numbers and reasons, not {value!r}")


# An interval with ends a factor of 100 apart (30 µs and 3 ms) is too wide to be useful.
_TOO_WIDE = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A measured quantity with its 95 % interval, or the reason why there is none.

    Attributes:
        estimate: the value, or None if it is not known.
        low: lower end of the 95 % interval, or None if that bound is not known.
        high: upper end of the 95 % interval, or None if that bound is not known.
        n: the number of independent observations behind it.
        reason: why there is no estimate; None where there is one.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    reason: Reason | None = None

    @classmethod
    def of(
        cls, value: float, *, interval: tuple[float | None, float | None] = (None, None), n: int
    ) -> Estimate:
        """Return an estimate from `n` observations; without an interval it has no bounds."""
        return cls(estimate=value, low=interval[0], high=interval[1], n=n)

    @classmethod
    def of_log(cls, middle: float, half: float | None, *, n: int) -> Estimate:
        """Return exp(`middle` ± `half`), without an interval if `half` is None."""
        if half is None:
            return cls.of(math.exp(middle), n=n)
        ends = math.exp(middle - half), math.exp(middle + half)
        return cls.of(math.exp(middle), interval=ends, n=n)

    @classmethod
    def cannot_tell(
        cls, reason: Reason, *, n: int = 0, low: float | None = None, high: float | None = None
    ) -> Estimate:
        """Return only bounds, if any; `reason` says what was seen and what is missing."""
        return cls(estimate=None, low=low, high=high, n=n, reason=reason)

    @property
    def is_too_wide(self) -> bool:
        """Whether a positive quantity's interval spans a factor of 100 or more."""
        if self.low is None or self.high is None or self.low < 0 or self.high <= 0:
            return False
        return self.high >= _TOO_WIDE * self.low

    @property
    def log_half_width(self) -> float | None:
        """Half the interval's width on a log scale; None unless both bounds are above 0."""
        if self.low is None or self.high is None or self.low <= 0:
            return None
        return math.log(self.high / self.low) / 2

    def times(self, factor: float) -> Estimate:
        """Return the estimate times a known factor > 0, also its bounds if only these are known."""
        return replace(
            self,
            estimate=_scaled(self.estimate, factor),
            low=_scaled(self.low, factor),
            high=_scaled(self.high, factor),
        )

    def holds(self, value: float) -> bool:
        """Return whether `value` lies in the interval; an unknown bound excludes no value."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
