"""The published numbers: one CSV file per paper, read row by row.

Each paper's table holds what was found in its sources. `statements.csv` holds what is said in
words, written so that a number can be compared with it ("> 0"), and what follows by arithmetic; its
first column names the replication.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PUBLISHED = Path(__file__).parent / "published"

Key = tuple[str, str]  # quantity and condition


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """From `low` to `high`; None: it is open there. A single number has both the same."""

    low: float | None
    high: float | None

    def holds(self, low: float, high: float) -> bool:
        """Tell whether all from `low` to `high` lies in it; the end of "> 1" itself does not."""
        if self.low is None or self.high is None:
            return (self.low is None or self.low < low) and (self.high is None or high < self.high)
        return self.low <= low and high <= self.high

    def is_apart_from(self, low: float, high: float) -> bool:
        """Tell whether nothing from `low` to `high` lies in it."""
        if self.low is None or self.high is None:
            below = self.low is not None and high <= self.low
            return below or (self.high is not None and low >= self.high)
        return high < self.low or low > self.high

    def widened(self, *, within: float, factor: float) -> Range:
        """Widen it by `within` on either side, and positive ends by `factor`."""

        def moved(end: float | None, sign: int) -> float | None:
            # For people: 0.3 - (0.1 + 0.2) is 0.0, neither -5.6e-17 nor -0.0.
            return None if end is None else round(end * factor**sign + sign * within, 12) + 0.0

        return Range(low=moved(self.low, -1), high=moved(self.high, 1))

    @property
    def number(self) -> float | None:
        """The single number that it is, None if it is a range."""
        return self.low if self.low == self.high else None


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedRow:
    """A row of a table of published numbers, as it is there.

    Attributes:
        source: the paper.
        quantity: what it is a number of.
        condition: of which runs.
        value: a number, a range ("3 to 10", "> 0"), or words.
        uncertainty: what the source says of it, "" for nothing.
        unit: "" for a pure number.
        verified: "yes": found in a source; "no": believed; "derived": made from what was found, by
            arithmetic or as a number for what is said in words.
        note: where it was found, or what it was derived from.
    """

    source: str
    quantity: str
    condition: str
    value: str
    uncertainty: str
    unit: str
    verified: str
    note: str


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """The rows of one paper, by quantity and condition."""

    name: str
    rows: Mapping[Key, PublishedRow]

    @classmethod
    def of(cls, name: str) -> PublishedTable:
        """Read the table of a replication, with its statements."""
        rows = [_row(columns) for columns in _read(f"{name}.csv")]
        for columns in _read("statements.csv"):
            if columns.pop("replication") == name:
                rows.append(_row(columns))
        return cls(name, {(row.quantity, row.condition): row for row in rows})

    def row(self, quantity: str, condition: str) -> PublishedRow:
        """Return one row.

        Raises:
            ValueError: there is none.
        """
        if (quantity, condition) not in self.rows:
            known = ", ".join(where for what, where in self.rows if what == quantity) or "none"
            raise ValueError(
                f"the published numbers of {self.name} have no {quantity!r} of {condition!r}; of "
                f"{quantity!r} there are: {known}"
            )
        return self.rows[quantity, condition]

    def number(self, quantity: str, condition: str) -> float:
        """Return the only number of a row.

        Raises:
            ValueError: there is no such row, or it does not hold one number.
        """
        numbers = self.several(quantity, condition)
        if len(numbers) != 1:
            value = self.row(quantity, condition).value
            raise ValueError(f"{self.name}: {quantity} of {condition!r} is {value!r}, not a number")
        return numbers[0]

    def several(self, quantity: str, condition: str) -> tuple[float, ...]:
        """Return the numbers of a row that has several, separated by semicolons.

        Raises:
            ValueError: there is no such row, or a part of it is no number.
        """
        value = self.row(quantity, condition).value
        numbers = [_number(part) for part in value.split(";")]
        if None in numbers:
            raise ValueError(f"{self.name}: {quantity} of {condition!r} is {value!r}, not numbers")
        return tuple(number for number in numbers if number is not None)

    def whole(self, quantity: str, condition: str) -> int:
        """Return the only number of a row, which is a count."""
        return round(self.number(quantity, condition))


def range_of(value: str) -> Range | None:
    """Return the number or range that a table's value is: "98", "3 to 10", "> 0", "2^9"."""
    text = value.strip()
    if text[:1] in ("<", ">"):
        end = _number(text[1:])
        if end is None:
            return None
        return Range(low=end, high=None) if text[0] == ">" else Range(low=None, high=end)
    ends = [_number(part) for part in text.split(" to ")]
    if len(ends) > 2 or None in ends:
        return None
    return Range(low=ends[0], high=ends[-1])


def _number(text: str) -> float | None:
    base, _, power = text.strip().partition("^")
    try:
        number = float(base) ** float(power) if power else float(base)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _read(name: str) -> Iterator[dict[str, str]]:
    file = PUBLISHED / name
    if file.is_file():
        yield from csv.DictReader(file.read_text("utf-8").splitlines())


def _row(columns: dict[str, str]) -> PublishedRow:
    """Make percent fractions, as everything is that batchlab measures."""
    if columns["unit"] == "percent":
        for name in ("value", "uncertainty"):
            number = _number(columns[name])
            if number is not None:
                columns[name] = f"{number / 100:.10g}"
        columns["unit"] = ""
    return PublishedRow(**columns)
