"""Table: named columns and rows of raw values, as HTML cells, aligned text or CSV."""

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

    key: str  # its header in a CSV file
    quantity: str | None = None  # gives unit and format; by default the one called `key`
    label: str | None = None  # its header for people; by default the quantity's label
    has_terms: bool = False  # whether its values are keys that people read as words
    # Its value for an item; by default its attribute `key`.
    of: Callable[[Any], TableCell] | None = None
    is_minor: bool = False  # whether a phone or a narrow terminal has no room for it

    @property
    def header(self) -> str:
        """Its header for people. Values carry their own unit, so the header has none."""
        return self.label or label_text(self.quantity or self.key)

    def value_of(self, item: object) -> TableCell:
        """Return its value for an item."""
        value: TableCell = getattr(item, self.key) if self.of is None else self.of(item)
        return value

    def shown(self, value: TableCell) -> str:
        """Return a value of this column as people read it."""
        if isinstance(value, str):
            return term_text(value) if self.has_terms else value
        quantity = self.quantity or self.key
        if isinstance(value, Estimate):
            shown = spread_text(quantity, value)
        else:
            shown = quantity_text(quantity, value)
        return _FEWER_DIGITS.sub(lambda number: f"{float(number[0]):#.3g}", shown)


# A number of less than three digits before a unit: in a column, "2 ms" is "2.00 ms".
_FEWER_DIGITS = re.compile(
    r"(?<![\d.,])(?:[1-9]\d?|[1-9]\.\d)(?= ?(?:[kMG]?B|[kMG]?/s|[µm]?s|min|h)\b)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of raw values, one per column, None if not known. The caption says what a row is."""

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
        """Yield the rows as people read them."""
        for row in self.rows:
            yield tuple(map(Column.shown, self.columns, row))

    def are_numbers(self) -> list[bool]:
        """Return whether each column holds numbers, which are aligned to the right."""
        are_numbers = []
        for values in self.by_column:
            kinds = set(map(type, values))
            are_numbers.append(str not in kinds or Estimate in kinds)
        return are_numbers

    def by_key(self) -> dict[str, Sequence[TableCell]]:
        """Return the values by column; an interval has columns of its own: `end`, `end_low`, ..."""
        by_key: dict[str, Sequence[TableCell]] = {}
        for column, values in zip(self.columns, self.by_column, strict=True):
            by_key[column.key] = list(values)
            if Estimate in set(map(type, values)):
                for field, ending in (("estimate", ""), ("low", "_low"), ("high", "_high")):
                    by_key[column.key + ending] = [getattr(cell, field, None) for cell in values]
        return by_key

    def to_csv(self) -> str:
        """Return the table as CSV: full precision, an empty field if a value is not known."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        by_key = self.by_key()
        writer.writerow(by_key)
        writer.writerows(zip(*by_key.values(), strict=True))
        return file.getvalue()

    def to_text(self, *, width: int | None = None) -> str:
        """Return the table as aligned text, without its caption, fitted to the terminal.

        Without a terminal it has at most `width` columns, or as many as it needs if that is None.
        A table that is too wide gets wrapped headers and words, without its minor columns if that
        is not enough. If nothing else helps it ends early, and says so. No number is wrapped.
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
        """Return the table with only the columns at some places, in that order."""
        return Table(
            caption=self.caption,
            columns=tuple(map(self.columns.__getitem__, places)),
            rows=tuple(tuple(map(row.__getitem__, places)) for row in self.rows),
        )


def is_known(value: TableCell) -> bool:
    """Return whether a cell says anything."""
    if isinstance(value, Estimate):
        return (value.estimate, value.low, value.high) != (None, None, None)
    return value not in (None, "", UNKNOWN)


def table_of(caption: str, items: Iterable[object], *columns: Column) -> Table:
    """Return a table with one row per item."""
    rows = []
    for item in items:
        rows.append(tuple(column.value_of(item) for column in columns))
    return Table(caption=caption, columns=columns, rows=tuple(rows))


NAMED = "▸"  # stands before the best row


def marked_table(table: Table) -> Table:
    """Return a table for people, with the column that marks the best row first."""
    places = range(len(table.columns))
    return table.at(sorted(places, key=lambda i: table.columns[i].key != "named"))


# ---- as aligned text

_BETWEEN = "  "
# If possible, words are not wrapped into columns that are narrower than this.
_NARROWEST = 13


@dataclass(frozen=True, slots=True)
class _TextColumn:
    of: Column
    texts: tuple[str, ...]  # the header first
    is_number: bool

    @property
    def width(self) -> int:
        return max(map(len, self.texts))

    def least(self, narrowest: int) -> int:
        """Return its width with a wrapped header, and wrapped cells if they are words."""
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
        """Return the lines of a cell in a column of this width."""
        return wrapped_lines(cell, wide) if len(cell) > wide else [cell]

    def aligned(self, line: str, wide: int) -> str:
        """Return a line of a cell in a column of this width."""
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
    # The widest columns get narrower first.
    while _total(widths) > room and widths != at_least:
        wide = [i for i in range(len(widths)) if widths[i] > at_least[i]]
        widths[max(wide, key=widths.__getitem__)] -= 1
    return shown, widths


def _aligned(columns: Sequence[_TextColumn], widths: Sequence[int]) -> Iterator[str]:
    for row in zip(*map(attrgetter("texts"), columns), strict=True):
        wrapped = map(_TextColumn.lines, columns, row, widths)
        for line in itertools.zip_longest(*wrapped, fillvalue=""):
            yield _BETWEEN.join(map(_TextColumn.aligned, columns, line, widths)).rstrip()


MOST_NOTES = 3  # on a screen, below a table


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Parts of a report that belong together, top to bottom, in a terminal or a notebook."""

    title: str = ""
    facts: tuple[str, ...] = ()
    drawing: tuple[str, ...] = ()  # lines that are not wrapped
    picture: tuple[str, str] | None = None  # an SVG and its description; not in a terminal
    table: Table | None = None
    notes: tuple[str, ...] = ()  # below the table


def sections_text(sections: Iterable[Section]) -> str:
    """Return the sections for a terminal, blank lines between all parts, a newline at the end."""
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


def headline_of(section: Section) -> str:
    """Return the title of a section, to be repeated where a long text ends."""
    return f"{wrapped_text(section.title)}\n"
