"""Tables: the published numbers that come with batchlab, a CSV file a paper, read row by row.

Each paper's table is what was found in its sources. `statements.csv` has what is said in words, as
a number can be held against it ("> 0"), and what follows by arithmetic; its first column says
whose.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import msgspec

from batchlab.errors import BatchlabError
from batchlab.records.replication import PublishedRow, range_of

Sure = Literal["yes", "no", "derived"]
Key = tuple[str, str]  # quantity and condition


class PublishedTableError(BatchlabError):
    """A table of published numbers lacks what a replication reads."""


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """The rows of one paper, by quantity and condition."""

    name: str
    rows: Mapping[Key, PublishedRow]

    @classmethod
    def of(cls, name: str) -> PublishedTable:
        """The table of a replication, with its statements."""
        found = [_row(each) for each in _read(f"{name}.csv")]
        found += [_row(each) for each in _read("statements.csv") if each["replication"] == name]
        return cls(name, {(row.quantity, row.condition): row for row in found})

    def row(self, quantity: str, condition: str) -> PublishedRow:
        """One row.

        Raises:
            PublishedTableError: there is none.
        """
        try:
            return self.rows[quantity, condition]
        except KeyError:
            known = ", ".join(where for what, where in self.rows if what == quantity) or "none"
            raise PublishedTableError(
                f"the published numbers of {self.name} have no {quantity!r} of {condition!r}; of "
                f"{quantity!r} there are: {known}"
            ) from None

    def number(self, quantity: str, condition: str) -> float:
        """The number of a row, that a protocol needs.

        Raises:
            PublishedTableError: there is no such row, or it holds no number.
        """
        numbers = self.several(quantity, condition)
        if len(numbers) != 1:
            raise PublishedTableError(
                f"the published numbers of {self.name}: {quantity} of {condition!r} is "
                f"{self.row(quantity, condition).value!r}, not one number"
            )
        return numbers[0]

    def several(self, quantity: str, condition: str) -> tuple[float, ...]:
        """The numbers of a row that has some, separated by semicolons.

        Raises:
            PublishedTableError: there is no such row, or one of them is no number.
        """
        row = self.row(quantity, condition)
        found = [range_of(part) for part in row.value.split(";")]
        numbers = tuple(
            each.number for each in found if each is not None and each.number is not None
        )
        if len(numbers) != len(found):
            raise PublishedTableError(
                f"the published numbers of {self.name}: {quantity} of {condition!r} is "
                f"{row.value!r}, no numbers"
            )
        return numbers

    def whole(self, quantity: str, condition: str) -> int:
        """The same of a count."""
        return round(self.number(quantity, condition))


def _read(name: str) -> Iterator[dict[str, str]]:
    file = resources.files("batchlab.replications.published").joinpath(name)
    if file.is_file():
        yield from csv.DictReader(file.read_text("utf-8").splitlines())


def _row(read: Mapping[str, str]) -> PublishedRow:
    """A row as it is; percent are fractions here, as all that batchlab measures."""
    value, unit = read["value"], read["unit"]
    uncertainty = read["uncertainty"]
    if unit == "percent":
        value, uncertainty, unit = _of_hundred(value), _of_hundred(uncertainty), ""
    return PublishedRow(
        source=read["source"],
        quantity=read["quantity"],
        condition=read["condition"],
        value=value,
        uncertainty=uncertainty,
        unit=unit,
        verified=msgspec.convert(read["verified"], Sure),
        note=read["note"],
    )


def _of_hundred(text: str) -> str:
    try:
        return f"{float(text) / 100:.10g}"
    except ValueError:
        return text
