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
    table_width,
    wrapped_lines,
    wrapped_text,
)
from batchlab.words.catalogue import term_text
from batchlab.words.numbers import UNKNOWN

CellValue = str | float | int | None
TableCell = CellValue | Estimate


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    key: str  # the column's header in a CSV file
    quantity: str | None = None  # gives unit and format; default: the quantity `key`
    label: str | None = None  # the header for people; default: the quantity's label
    has_terms: bool = False  # whether texts are codes to show as words
    # Returns the column's value for an item; by default the item's attribute `key`.
    of: Callable[[Any], TableCell] | None = None
    is_minor: bool = False  # whether a phone or a narrow terminal leaves the column out

    @property
    def header(self) -> str:
        """The header for people, without a unit, because each value is shown with its unit."""
        return self.label or label_text(self.quantity or self.key)

    def value_of(self, item: object) -> TableCell:
        """Return the column's value for an item."""
        value: TableCell = getattr(item, self.key) if self.of is None else self.of(item)
        return value

    def shown(self, value: TableCell) -> str:
        """Return a value of this column as text for people."""
        if isinstance(value, str):
            return term_text(value) if self.has_terms else value
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
    """Rows with a raw value for each column, None if not known. `caption` says what a row is."""

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
        """Return for each column whether it has numbers or estimates, to be aligned right."""
        are_numbers = []
        for values in self.by_column:
            kinds = set(map(type, values))
            are_numbers.append(str not in kinds or Estimate in kinds)
        return are_numbers

    def by_key(self) -> dict[str, Sequence[TableCell]]:
        """Return the values by column key; estimates also give bounds (`end_low`, `end_high`)."""
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

    def to_text(self, *, width: int | None = None) -> str:
        """Return the table as aligned text, without its caption, fitted to the terminal.

        Without a terminal the limit is `width` characters, or none if `width` is None. If the table
        is too wide, headers and words are wrapped, then minor columns are left out, then the last
        columns; a line below the table names the omitted last columns. No number is wrapped.
        """
        texts = zip(map(attrgetter("header"), self.columns), *self.texts(), strict=True)
        columns = list(map(_TextColumn, self.columns, texts, self.are_numbers()))
        room = table_width() or width
        if room is None:
            return "\n".join(_aligned(columns, list(map(attrgetter("width"), columns))))
        shown, widths = _fitted(columns, room)
        lines = list(_aligned(shown, widths))
        names = []
        for column in columns:
            if column not in shown and not column.of.is_minor and column.of.header.strip():
                names.append(column.of.header)
        if names:
            lines.append(wrapped_text(f"No room for: {', '.join(names)}."))
        return "\n".join(lines)

    def without(self, *keys: str) -> Table:
        """Return the table without the columns called `keys`."""
        return self.at([i for i, column in enumerate(self.columns) if column.key not in keys])

    def without_empty_columns(self) -> Table:
        """Return the table without the columns that are unknown in every row."""
        filled = [i for i, cells in enumerate(self.by_column) if any(map(is_known, cells))]
        return self.at(filled)

    def at(self, places: Sequence[int]) -> Table:
        """Return the table with only the columns at the given positions, in that order."""
        return Table(
            caption=self.caption,
            columns=tuple(map(self.columns.__getitem__, places)),
            rows=tuple(tuple(map(row.__getitem__, places)) for row in self.rows),
        )


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


NAMED = "▸"  # the mark before the best row


def marked_table(table: Table) -> Table:
    """Return a table for people, in which the column that marks the best row is first."""
    places = range(len(table.columns))
    return table.at(sorted(places, key=lambda i: table.columns[i].key != "named"))


# ---- as aligned text

_BETWEEN = "  "
# Columns of wrapped words have at least this many characters if the table then fits.
_NARROWEST = 13


@dataclass(frozen=True, slots=True)
class _TextColumn:
    of: Column
    texts: tuple[str, ...]  # the header, then the cells
    is_number: bool

    @property
    def width(self) -> int:
        return max(map(len, self.texts))

    def least(self, narrowest: int) -> int:
        """Return the least width: the longest word or number; >= `narrowest` for long texts."""
        header, *cells = self.texts
        pieces = wrapped_lines(header, 1)
        if self.is_number:
            narrowest = 0
            pieces += cells
        else:
            for cell in cells:
                pieces += wrapped_lines(cell, 1)
        least = max(map(len, pieces), default=0)
        return min(max(least, narrowest), self.width)

    def lines(self, cell: str, wide: int) -> list[str]:
        """Return the lines of a cell, wrapped at `wide` characters."""
        return wrapped_lines(cell, wide) if len(cell) > wide else [cell]

    def aligned(self, line: str, wide: int) -> str:
        """Return a line padded to `wide` characters, on the left if the column has numbers."""
        return line.rjust(wide) if self.is_number else line.ljust(wide)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_BETWEEN) * (len(widths) - 1)


def _fitted(columns: Sequence[_TextColumn], room: int) -> tuple[list[_TextColumn], list[int]]:

    def least(narrowest: int) -> list[int]:
        return [column.least(narrowest) for column in shown]

    shown, narrowest = list(columns), _NARROWEST
    minor = list(filter(attrgetter("of.is_minor"), columns))
    while minor and _total(least(narrowest)) > room:
        shown.remove(minor.pop())
    if _total(least(narrowest)) > room:
        narrowest = 1
    while len(shown) > 2 and _total(least(narrowest)) > room:
        shown.pop()
    widths, at_least = list(map(attrgetter("width"), shown)), least(narrowest)
    # Narrow the widest columns first.
    while _total(widths) > room and widths != at_least:
        wide = [i for i in range(len(widths)) if widths[i] > at_least[i]]
        widths[max(wide, key=widths.__getitem__)] -= 1
    return shown, widths


def _aligned(columns: Sequence[_TextColumn], widths: Sequence[int]) -> Iterator[str]:
    for row in zip(*map(attrgetter("texts"), columns), strict=True):
        wrapped = map(_TextColumn.lines, columns, row, widths)
        for line in itertools.zip_longest(*wrapped, fillvalue=""):
            yield _BETWEEN.join(map(_TextColumn.aligned, columns, line, widths)).rstrip()


MOST_NOTES = 3  # the most notes below a table on a screen


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A section of a report in a terminal or a notebook; its fields are in reading order."""

    title: str = ""
    facts: tuple[str, ...] = ()
    drawing: tuple[str, ...] = ()  # lines of a drawing, not to be wrapped
    picture: tuple[str, str] | None = None  # an SVG and its description, only for notebooks
    table: Table | None = None
    notes: tuple[str, ...] = ()  # below the table


def sections_text(sections: Iterable[Section]) -> str:
    """Return the sections as text for a terminal, with blank lines between all parts."""
    blocks = []
    for section in sections:
        facts = listed(section.facts)
        if len(section.facts) == 1:
            facts = wrapped_text(section.facts[0])
        blocks += [wrapped_text(section.title), facts, "\n".join(section.drawing)]
        if section.table is not None:
            blocks.append(f"{wrapped_text(section.table.caption)}\n{section.table.to_text()}")
        blocks.append(listed(section.notes))
    return "\n\n".join(filter(None, blocks)) + "\n"
