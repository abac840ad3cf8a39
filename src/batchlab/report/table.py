"""Table: named columns and rows of raw values, as HTML cells, aligned text or CSV."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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

Value = str | float | int | None
Cell = Value | Estimate


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    key: str  # its header in a CSV file
    quantity: str | None = None  # gives unit and format; by default the one called `key`
    label: str | None = None  # its header for people; by default the quantity's label
    has_terms: bool = False  # whether its values are keys that people read as words
    of: Callable[[Any], Cell] | None = None  # its value for an item; by default its attribute `key`
    is_minor: bool = False  # whether a phone has no room for it

    @property
    def header(self) -> str:
        """Its header for people. Values carry their own unit, so the header has none."""
        return self.label or label_text(self.quantity or self.key)

    def shown(self, value: Cell) -> str:
        """Return a value of this column as people read it."""
        if self.has_terms and isinstance(value, str):
            return term_text(value)
        quantity = self.key if self.quantity is None else self.quantity
        if isinstance(value, Estimate):
            return spread_text(quantity, value)
        return quantity_text(quantity, value)

    def parts(self, values: Sequence[Cell]) -> Iterator[tuple[str, Sequence[Cell]]]:
        """Yield its key and values, followed by those of the bounds if a value has an interval."""
        if not any(isinstance(value, Estimate) for value in values):
            yield self.key, values
            return
        for part, key in (("estimate", ""), ("low", "_low"), ("high", "_high")):
            yield (
                f"{self.key}{key}",
                [getattr(each, part) if isinstance(each, Estimate) else None for each in values],
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of raw values, one per column, None if not known. The caption says what a row is."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def texts(self) -> Iterator[tuple[str, ...]]:
        """Yield the rows as people read them."""
        for row in self.rows:
            yield tuple(
                column.shown(value) for column, value in zip(self.columns, row, strict=True)
            )

    def are_numbers(self) -> list[bool]:
        """Return whether each column holds numbers, which are aligned to the right."""
        found = [
            any(isinstance(value, Estimate) for value in each)
            or not any(isinstance(value, str) for value in each)
            for each in zip(*self.rows, strict=True)
        ]
        return found or [True] * len(self.columns)

    def by_key(self) -> dict[str, Sequence[Cell]]:
        """Return the values by column; an interval has columns of its own: `end`, `end_low`, ..."""
        values = list(zip(*self.rows, strict=True)) or [()] * len(self.columns)
        return dict(
            part
            for column, found in zip(self.columns, values, strict=True)
            for part in column.parts(found)
        )

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
        """
        return aligned_text(
            [tuple(column.header for column in self.columns), *self.texts()],
            is_number=self.are_numbers(),
            width=table_width() or width,
        )

    def only(self, keys: Iterable[str]) -> Table:
        """Return the table with only the columns called `keys`, in that order."""
        place = {column.key: i for i, column in enumerate(self.columns)}
        return self._at([place[key] for key in keys])

    def without_empty_columns(self) -> Table:
        """Return the table without the columns that are unknown in every row."""
        known = [i for i in range(len(self.columns)) if any(is_known(row[i]) for row in self.rows)]
        return self._at(known)

    def _at(self, kept: Sequence[int]) -> Table:
        return replace(
            self,
            columns=tuple(self.columns[i] for i in kept),
            rows=tuple(tuple(row[i] for i in kept) for row in self.rows),
        )


def is_known(value: Cell) -> bool:
    """Return whether a cell says anything."""
    if isinstance(value, Estimate):
        return (value.estimate, value.low, value.high) != (None, None, None)
    return value not in (None, "", UNKNOWN)


def table_of(caption: str, items: Iterable[object], *columns: Column) -> Table:
    """Return a table with one row per item."""
    rows = tuple(
        tuple(
            getattr(item, column.key) if column.of is None else column.of(item)
            for column in columns
        )
        for item in items
    )
    return Table(caption=caption, columns=columns, rows=rows)


NAMED = "▸"  # stands before the best row


def marked_table(table: Table) -> Table:
    """Return a table for people, with the column that marks the best row first."""
    return table.only(sorted((column.key for column in table.columns), key="named".__ne__))


# ---- aligned, however narrow the terminal is

_BETWEEN = "  "
# A column of words is not made narrower than its longest word, or this.
_NARROWEST = 9
# Up to this many columns stay side by side, with their words wrapped.
_FEW = 3


def aligned_text(
    rows: Sequence[Sequence[str]], *, is_number: Sequence[bool], width: int | None
) -> str:
    """Return the rows as lines, the header first, with numbers to the right, words to the left.

    If they are too wide, headers are wrapped, and words too if there are few columns. A table that
    is still too wide becomes several tables below each other, each with the columns that tell its
    rows apart. If `width` is None, a table is as wide as it needs.
    """
    columns = [tuple(column) for column in zip(*rows, strict=True)]
    whole = [max(map(len, column)) for column in columns]
    if width is None:
        return "\n".join(_lines(rows, whole, is_number))
    headers_wrapped = [_least(column, wraps_words=False) for column in columns]
    all_wrapped = [
        _least(column, wraps_words=not number)
        for column, number in zip(columns, is_number, strict=True)
    ]
    tables = []
    for group in _groups(headers_wrapped, width, n_keys=_n_keys(rows)):
        least = [headers_wrapped[i] for i in group]
        if _total(least) > width:
            least = [all_wrapped[i] for i in group]
        widths = _narrowed([whole[i] for i in group], least, width)
        cells = [[row[i] for i in group] for row in rows]
        tables.append("\n".join(_lines(cells, widths, [is_number[i] for i in group])))
    return "\n\n".join(tables)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_BETWEEN) * (len(widths) - 1)


def _least(column: Sequence[str], *, wraps_words: bool) -> int:
    """Return the width of a column with a wrapped header, and wrapped cells if they are words."""
    header, *cells = column
    pieces = [_NARROWEST, *map(_longest_piece, cells)] if wraps_words else map(len, cells)
    least: int = max([_longest_piece(header), *pieces])
    return min(least, max(map(len, column)))


def _longest_piece(cell: str) -> int:
    return max(map(len, wrapped_lines(cell, 1)), default=0)


def _n_keys(rows: Sequence[Sequence[str]]) -> int:
    """Count the first columns that it takes to tell the rows apart; 1 if none do."""
    for n in range(1, len(rows[0])):
        if len({tuple(row[:n]) for row in rows}) == len(rows):
            return n
    return 1


def _groups(least: Sequence[int], width: int, *, n_keys: int) -> list[list[int]]:
    """Return which columns stand together, each group behind those that tell the rows apart."""
    if len(least) <= max(_FEW, n_keys + 1):
        return [list(range(len(least)))]
    keys = list(range(n_keys))
    groups = [keys]
    for i in range(n_keys, len(least)):
        if len(groups[-1]) > n_keys and _total([least[j] for j in (*groups[-1], i)]) > width:
            groups.append(keys)
        groups[-1] = [*groups[-1], i]
    return groups


def _narrowed(whole: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Narrow the columns, the widest first, as far as needed and possible."""
    narrow = list(whole)
    while _total(narrow) > width and narrow != list(least):
        narrow[max(range(len(narrow)), key=lambda i: narrow[i] > least[i] and narrow[i])] -= 1
    return narrow


def _lines(
    rows: Sequence[Sequence[str]], widths: Sequence[int], is_number: Sequence[bool]
) -> Iterator[str]:
    for row in rows:
        cells = [
            wrapped_lines(cell, wide) if len(cell) > wide else [cell]
            for cell, wide in zip(row, widths, strict=True)
        ]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            aligned = [
                part.rjust(wide) if number else part.ljust(wide)
                for part, wide, number in zip(parts, widths, is_number, strict=True)
            ]
            yield _BETWEEN.join(aligned).rstrip()


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
    said = []
    for section in sections:
        facts = wrapped_text(section.facts[0]) if len(section.facts) == 1 else listed(section.facts)
        said += [wrapped_text(section.title), facts, "\n".join(section.drawing)]
        if section.table is not None:
            said.append(f"{wrapped_text(section.table.caption)}\n{section.table.to_text()}")
        said.append(listed(section.notes))
    return "\n\n".join(filter(None, said)) + "\n"


def headline_of(section: Section) -> str:
    """Return the title of a section, to be repeated where a long text ends."""
    return f"{wrapped_text(section.title)}\n"
