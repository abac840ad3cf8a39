"""Table: named columns and rows of raw values, shown as HTML, aligned text or CSV."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from batchlab.records.estimate import Estimate
from batchlab.report.text import (
    label_text,
    listed,
    quantity_text,
    spread_text,
    terminal_width,
    wrapped_lines,
    wrapped_text,
)
from batchlab.words.catalogue import TERMS
from batchlab.words.numbers import UNKNOWN

CellValue = str | float | int | None
TableCell = CellValue | Estimate


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        key: the column's header in a CSV file.
        quantity: the quantity that gives the unit and the format; if None, the quantity `key`.
        label: the header for people; if None, the quantity's label.
        of: a function that returns the column's value for an item; if None, the value is the
            item's attribute `key`.
        is_minor: whether a phone or a narrow terminal leaves the column out.
    """

    key: str
    quantity: str | None = None
    label: str | None = None
    of: Callable[[Any], TableCell] | None = None
    is_minor: bool = False

    @property
    def header(self) -> str:
        """The header for people, without a unit, because each value is shown with its unit."""
        return self.label or label_text(self.quantity or self.key)

    def value_of(self, item: object) -> TableCell:
        """Return the column's value for an item."""
        value: TableCell = getattr(item, self.key) if self.of is None else self.of(item)
        return value

    def shown(self, value: TableCell) -> str:
        """Return a value of this column as text for people, with words in place of codes."""
        if isinstance(value, str):
            return TERMS.get(value, value)
        quantity = self.quantity or self.key
        if isinstance(value, Estimate):
            shown = spread_text(quantity, value)
        else:
            shown = quantity_text(quantity, value)
        return _FEWER_DIGITS.sub(lambda number: f"{float(number[0]):#.3g}", shown)


# Matches a number of one or two digits before a unit, to append zeros: "2 ms" becomes "2.00 ms".
_FEWER_DIGITS = re.compile(
    r"(?<![\d.,])(?:[1-9]\d?|[1-9]\.\d)(?= ?(?:[kMG]?B|[kMG]?/s|[µm]?s|min|h)\b)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Named columns, and rows of raw values (None if unknown); `caption` says what a row is."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[TableCell, ...], ...]

    @property
    def by_column(self) -> list[tuple[TableCell, ...]]:
        """The values of each column, top to bottom."""
        if not self.rows:
            return [()] * len(self.columns)
        return list(zip(*self.rows, strict=True))

    def texts(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows as texts for people."""
        for row in self.rows:
            yield tuple(map(Column.shown, self.columns, row))

    def are_numbers(self) -> list[bool]:
        """Return whether each column contains numbers or estimates, which are aligned right."""
        are_numbers = []
        for values in self.by_column:
            kinds = set(map(type, values))
            are_numbers.append(str not in kinds or Estimate in kinds)
        return are_numbers

    def by_key(self) -> dict[str, Sequence[TableCell]]:
        """Return the values of each column by the column's key.

        The bounds of estimates have keys with an ending, such as `end_low` and `end_high`.
        """
        by_key: dict[str, Sequence[TableCell]] = {}
        for column, values in zip(self.columns, self.by_column, strict=True):
            by_key[column.key] = list(values)
            if Estimate in set(map(type, values)):
                for field, ending in (("estimate", ""), ("low", "_low"), ("high", "_high")):
                    by_key[column.key + ending] = [getattr(cell, field, None) for cell in values]
        return by_key

    def to_csv(self) -> str:
        """Return the table as CSV, in full precision and with empty fields for unknown values."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        by_key = self.by_key()
        writer.writerow(by_key)
        writer.writerows(zip(*by_key.values(), strict=True))
        return file.getvalue()

    def to_text(self) -> str:
        """Return the table as aligned text without its caption, at most as wide as the terminal.

        If the table is too wide, headers and words are wrapped, then minor columns are left out,
        then the last columns. A line below the table names the last columns that are left out. No
        number is wrapped.
        """
        headers = tuple(map(attrgetter("header"), self.columns))
        cells = list(zip(headers, *self.texts(), strict=True))
        are_numbers = self.are_numbers()
        widths = [max(map(len, texts)) for texts in cells]
        least = list(map(_least_width, cells, are_numbers))
        room = terminal_width() or _total(widths)
        minor = [i for i, column in enumerate(self.columns) if column.is_minor]
        major = [i for i, column in enumerate(self.columns) if not column.is_minor]
        shown = list(range(len(cells)))
        for i in reversed([*major[2:], *minor]):
            if _total([least[j] for j in shown]) > room:
                shown.remove(i)
        while _total([widths[i] for i in shown]) > room:
            wide = [i for i in shown if widths[i] > least[i]]
            if not wide:
                break
            widths[max(wide, key=widths.__getitem__)] -= 1
        lines: list[str] = []
        for row in range(len(self.rows) + 1):
            wrapped = [wrapped_lines(cells[i][row], widths[i]) for i in shown]
            for line in itertools.zip_longest(*wrapped, fillvalue=""):
                padded: list[str] = []
                for i, cell in zip(shown, line, strict=True):
                    align = str.rjust if are_numbers[i] else str.ljust
                    padded.append(align(cell, widths[i]))
                lines.append(_BETWEEN.join(padded).rstrip())
        names = [headers[i] for i in major if i not in shown and headers[i].strip()]
        if names:
            lines.append(wrapped_text(f"No room for: {', '.join(names)}."))
        return "\n".join(lines)

    def without(self, *keys: str) -> Table:
        """Return the table without the columns called `keys`."""
        places = [i for i, column in enumerate(self.columns) if column.key not in keys]
        return Table(
            caption=self.caption,
            columns=tuple(map(self.columns.__getitem__, places)),
            rows=tuple(tuple(map(row.__getitem__, places)) for row in self.rows),
        )

    def without_empty_columns(self) -> Table:
        """Return the table without the columns that are unknown in every row."""
        empty = []
        for column, cells in zip(self.columns, self.by_column, strict=True):
            if not any(map(is_known, cells)):
                empty.append(column.key)
        return self.without(*empty)


def is_known(value: TableCell) -> bool:
    """Return whether a cell has a value, or at least a bound if the cell is an estimate."""
    if isinstance(value, Estimate):
        return (value.estimate, value.low, value.high) != (None, None, None)
    return value not in (None, "", UNKNOWN)


def table_of(caption: str, items: Iterable[object], *columns: Column) -> Table:
    """Return a table with one row per item."""
    rows = []
    for item in items:
        rows.append(tuple(column.value_of(item) for column in columns))
    return Table(caption=caption, columns=columns, rows=tuple(rows))


NAMED = "▸"  # the mark before the row of the recommended or best configuration


# ---- as aligned text

_BETWEEN = "  "
_NARROWEST = 13  # the least width of a column of wrapped words


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_BETWEEN) * (len(widths) - 1)


def _least_width(texts: Sequence[str], is_number: bool) -> int:
    """Return the least width of a column: its longest word or number, or 13 for long texts."""
    header, *cells = texts
    pieces = wrapped_lines(header, 1)
    if is_number:
        return max(map(len, [*pieces, *cells]), default=0)
    for cell in cells:
        pieces += wrapped_lines(cell, 1)
    longest = max(map(len, pieces), default=0)
    return max(longest, min(_NARROWEST, max(map(len, texts))))


MOST_NOTES = 3  # the largest number of notes below a table on a screen


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A section of a report in a terminal or a notebook; its fields are in reading order."""

    title: str = ""
    facts: tuple[str, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()  # sentences below the table


def sections_text(sections: Iterable[Section]) -> str:
    """Return the sections as text for a terminal, with blank lines between all parts."""
    blocks = []
    for section in sections:
        facts = listed(section.facts)
        if len(section.facts) == 1:
            facts = wrapped_text(section.facts[0])
        blocks += [wrapped_text(section.title), facts]
        if section.table is not None:
            blocks.append(f"{wrapped_text(section.table.caption)}\n{section.table.to_text()}")
        blocks.append(listed(section.notes))
    return "\n\n".join(filter(None, blocks)) + "\n"
