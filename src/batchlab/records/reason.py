"""Reason: why something is so, as a code with values; the words room turns it into text."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

One = Union[str, int, float, bool, "Reason", None]
Value = One | tuple[One, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is so: a code, and the values that its sentence names.

    Attributes:
        code: the key of its sentence in the tables of `batchlab.words`.
        values: what the sentence names, as (name, value), sorted by name; a value may be a reason
            that this one quotes, or several values.
    """

    code: str
    values: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(cls, code: str, /, **values: object) -> Reason:
        """The reason called `code` with its values by name; NumPy's numbers become plain ones.

        Raises:
            TypeError: a value that is no text, number, truth value, reason, None or several of
                these.
        """
        return cls.with_values(code, values)

    @classmethod
    def with_values(cls, code: str, values: Mapping[str, object]) -> Reason:
        """The same with the values as a mapping, for a reason that is read.

        Raises:
            TypeError: as for `of`.
        """
        return cls(code, tuple((name, _plain(values[name])) for name in sorted(values)))

    @classmethod
    def as_written(cls, text: str) -> Reason:
        """A text that somebody else wrote, as it is."""
        return cls.of("as_written", text=text)

    def quotes(self, other: Reason) -> bool:
        """Whether it is the other, or quotes it."""
        return self == other or any(
            isinstance(value, Reason) and value.quotes(other) for _, value in self.values
        )

    @property
    def named(self) -> Mapping[str, Value]:
        """The values by name."""
        return dict(self.values)


def _plain(value: object) -> Value:
    if isinstance(value, tuple | list):
        return tuple(_one(part) for part in value)
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
