"""Table: named columns and rows of raw values, as HTML cells, aligned text or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchlab.report.text import (
    label_text,
    quantity_text,
    table_width,
    term_text,
    wrapped_lines,
)
from batchlab.words.numbers import UNKNOWN

Value = str | float | int | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    key: str  # its header in a CSV file
    quantity: str | None = None  # unit and format come from there; None: the one called `key`
    label: str | None = None  # its header for people; None: the quantity's label
    has_terms: bool = False  # whether its values are keys that people read as words
    of: Callable[[Any], Value] | None = None  # its value of an item; None: its attribute `key`

    @property
    def header(self) -> str:
        """Its header for people. Values carry their unit themselves, so it has none."""
        return self.label or label_text(self.quantity or self.key)

    def shown(self, value: Value) -> str:
        """A value of it as people read it."""
        if self.has_terms and isinstance(value, str):
            return term_text(value)
        return quantity_text(self.key if self.quantity is None else self.quantity, value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Raw values in rows, one a column; None: not known. The caption says what the rows are."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def texts(self) -> Iterator[tuple[str, ...]]:
        """The rows as people read them."""
        for row in self.rows:
            yield tuple(
                column.shown(value) for column, value in zip(self.columns, row, strict=True)
            )

    def is_number(self, column: Column) -> bool:
        """Whether a column holds numbers, which are aligned to the right."""
        values = [row[self.columns.index(column)] for row in self.rows]
        return not any(isinstance(value, str) for value in values)

    def to_csv(self) -> str:
        """The table as CSV: full precision, an empty field where a value is not known."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.key for column in self.columns])
        writer.writerows(self.rows)
        return file.getvalue()

    def to_text(self) -> str:
        """The table as aligned text, without its caption; it fits the terminal it is for."""
        return aligned_text(
            [tuple(column.header for column in self.columns), *self.texts()],
            is_number=[self.is_number(column) for column in self.columns],
            width=table_width(),
        )

    def only(self, keys: Iterable[str]) -> Table:
        """The same table with the columns called `keys`, in that order."""
        place = {column.key: i for i, column in enumerate(self.columns)}
        return self._at([place[key] for key in keys])

    def without_empty_columns(self) -> Table:
        """The same table without the columns that know nothing in any row."""
        known = [
            i
            for i in range(len(self.columns))
            if any(row[i] not in (None, "", UNKNOWN) for row in self.rows)
        ]
        return self._at(known)

    def _at(self, kept: Sequence[int]) -> Table:
        return replace(
            self,
            columns=tuple(self.columns[i] for i in kept),
            rows=tuple(tuple(row[i] for i in kept) for row in self.rows),
        )


def table_of(caption: str, items: Iterable[object], *columns: Column) -> Table:
    """A row an item."""
    rows = tuple(
        tuple(
            getattr(item, column.key) if column.of is None else column.of(item)
            for column in columns
        )
        for item in items
    )
    return Table(caption=caption, columns=columns, rows=rows)


# ---- aligned, however narrow the terminal is

_BETWEEN = "  "
# A column of words is not made narrower than its longest word, or this.
_NARROWEST = 9
# So many columns stay side by side, their words wrapped.
_FEW = 3


def aligned_text(
    rows: Sequence[Sequence[str]], *, is_number: Sequence[bool], width: int | None
) -> str:
    """The rows as lines, the header first: numbers to the right, words to the left.

    Where they are too wide, headers are wrapped, and words where there are few columns. What is
    still too wide becomes several tables below each other, each with the columns that tell its
    rows apart. With None as its width a table is as wide as it gets.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is None or _total(widths) <= width:
        return "\n".join(_lines(rows, widths, is_number))
    by_header = _narrowed(rows, widths, is_number=[True] * len(widths), width=width)
    if _total(by_header) <= width:
        return "\n".join(_lines(rows, by_header, is_number))
    n_keys = _n_keys(rows)
    if len(widths) <= max(_FEW, n_keys + 1):
        narrow = _narrowed(rows, widths, is_number=is_number, width=width)
        return "\n".join(_lines(rows, narrow, is_number))
    return "\n\n".join(
        aligned_text(
            [[row[i] for i in group] for row in rows],
            is_number=[is_number[i] for i in group],
            width=width,
        )
        for group in _groups(by_header, width, n_keys=n_keys)
    )


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_BETWEEN) * (len(widths) - 1)


def _narrowed(
    rows: Sequence[Sequence[str]], widths: Sequence[int], *, is_number: Sequence[bool], width: int
) -> list[int]:
    """Columns made narrower, the widest first, as far as is needed; numbers are not wrapped."""
    columns = zip(zip(*rows, strict=True), widths, is_number, strict=True)
    least = [_least(column, wide, is_number=number) for column, wide, number in columns]
    narrow = list(widths)
    while _total(narrow) > width:
        i = max(range(len(narrow)), key=lambda i: narrow[i] - least[i] and narrow[i])
        if narrow[i] == least[i]:
            break
        narrow[i] -= 1
    return narrow


def _least(column: Sequence[str], wide: int, *, is_number: bool) -> int:
    header, *cells = column
    pieces = [*map(len, cells)] if is_number else [_NARROWEST, *map(_longest_piece, cells)]
    return min(wide, max(_longest_piece(header), *pieces))


def _longest_piece(cell: str) -> int:
    return max(map(len, wrapped_lines(cell, 1)), default=0)


def _n_keys(rows: Sequence[Sequence[str]]) -> int:
    """How many of the first columns it takes to tell the rows apart; 1 where they never do."""
    for n in range(1, len(rows[0])):
        if len({tuple(row[:n]) for row in rows}) == len(rows):
            return n
    return 1


def _groups(widths: Sequence[int], width: int, *, n_keys: int) -> list[list[int]]:
    """Which columns stand together, each time behind those that tell the rows apart."""
    keys = list(range(n_keys))
    groups = [keys]
    for i in range(n_keys, len(widths)):
        if len(groups[-1]) > n_keys and _total([widths[j] for j in (*groups[-1], i)]) > width:
            groups.append(keys)
        groups[-1] = [*groups[-1], i]
    return groups


def _lines(
    rows: Sequence[Sequence[str]], widths: Sequence[int], is_number: Sequence[bool]
) -> Iterator[str]:
    for row in rows:
        cells = [
            wrapped_lines(cell, wide) if len(cell) > wide else [cell]
            for cell, wide in zip(row, widths, strict=True)
        ]
        for n in range(max(map(len, cells))):
            parts = [cell[n] if n < len(cell) else "" for cell in cells]
            yield _BETWEEN.join(
                part.rjust(wide) if number else part.ljust(wide)
                for part, wide, number in zip(parts, widths, is_number, strict=True)
            ).rstrip()
