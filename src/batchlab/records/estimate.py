"""Estimate: a number with its 95 % interval. Reason: the key and the values of a sentence."""

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
    """An explanation for people: the code of a sentence, and the values that fill the sentence.

    Attributes:
        code: the key of the sentence in `batchlab/words/sentences.toml`.
        values: the values in the sentence, as (name, value), sorted by name; a value may be
            another reason, or a tuple of values.
    """

    code: str
    values: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(cls, code: str, /, **values: object) -> Reason:
        """Return the reason with this code and values; NumPy numbers become Python numbers.

        Raises:
            TypeError: a value is neither a text, number, truth value, reason or None, nor a
                sequence of such values.
        """
        return cls(code, tuple((name, _plain(values[name])) for name in sorted(values)))

    @classmethod
    def as_written(cls, text: str) -> Reason:
        """Return a reason that shows `text`, such as a program's error message, unchanged."""
        return cls.of("as_written", text=text)

    @property
    def named(self) -> Mapping[str, Value]:
        """The values of the reason, by name."""
        return dict(self.values)


def _plain(value: object) -> Value:
    if isinstance(value, tuple | list):
        return tuple(map(_one, value))
    return _one(value)


def _one(value: object) -> One:
    if value is None or isinstance(value, bool | Reason):
        return value
    if isinstance(value, str):
        return str(value)  # a member of a StrEnum becomes a plain text
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(f"a reason holds text, numbers and reasons, not {value!r}")


# An interval whose bounds differ by a factor of 100 (30 µs and 3 ms) is too wide to be useful.
_TOO_WIDE = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """The value of a quantity with a 95 % interval, or the reason why the value is not known.

    Attributes:
        estimate: the value, or None if it is not known.
        low: lower end of the 95 % interval, or None if that bound is not known.
        high: upper end of the 95 % interval, or None if that bound is not known.
        n: the number of independent observations behind the estimate.
        reason: why the value is not known; None if it is known.
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
        """Return an estimate from `n` observations; without `interval` both bounds are None."""
        return cls(estimate=value, low=interval[0], high=interval[1], n=n)

    @classmethod
    def of_log(cls, middle: float, half: float | None, *, n: int) -> Estimate:
        """Return exp(`middle`) with bounds exp(`middle` ± `half`); without `half`, no bounds."""
        if half is None:
            return cls.of(math.exp(middle), n=n)
        ends = math.exp(middle - half), math.exp(middle + half)
        return cls.of(math.exp(middle), interval=ends, n=n)

    @classmethod
    def cannot_tell(
        cls, reason: Reason, *, n: int = 0, low: float | None = None, high: float | None = None
    ) -> Estimate:
        """Return an estimate without a value, with only the reason and any known bounds."""
        return cls(estimate=None, low=low, high=high, n=n, reason=reason)

    @property
    def is_too_wide(self) -> bool:
        """Whether the upper bound is >= 100 times the lower; False if a bound is unknown or < 0."""
        if self.low is None or self.high is None or self.low < 0 or self.high <= 0:
            return False
        return self.high >= _TOO_WIDE * self.low

    @property
    def log_half_width(self) -> float | None:
        """Half of log(`high` / `low`); None unless both bounds are known and above 0."""
        if self.low is None or self.high is None or self.low <= 0:
            return None
        return math.log(self.high / self.low) / 2

    def times(self, factor: float) -> Estimate:
        """Return the estimate with its value and its bounds multiplied by a factor > 0."""
        return replace(
            self,
            estimate=_scaled(self.estimate, factor),
            low=_scaled(self.low, factor),
            high=_scaled(self.high, factor),
        )

    def holds(self, value: float) -> bool:
        """Return whether the interval contains `value`; an unknown bound excludes no value."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
