"""Table: named columns and rows of raw values, as HTML cells, aligned text or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from batchlab.report.text import label_text, quantity_text, table_width, term_text, wrapped_lines
from batchlab.words.numbers import UNKNOWN

_BETWEEN = "  "
# A column of words is not made narrower than its longest word, or this.
_NARROWEST = 9
# So many columns stay side by side, their words wrapped.
_FEW = 3


def aligned_text(
    rows: Sequence[Sequence[str]], *, is_number: Sequence[bool], width: int | None
) -> str:
    """The rows as lines: numbers to the right, words to the left.

    Where they are too wide, headers are wrapped, and words where there are few columns. What is
    still too wide becomes several tables below each other, each with the columns that tell its
    rows apart.

    Args:
        rows: the header, then the others; one cell per column.
        is_number: for each column; numbers are not wrapped.
        width: in characters; None: as wide as it gets.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(is_number))]
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
    least = [
        _least(rows, i, is_number=number, wide=wide)
        for i, (wide, number) in enumerate(zip(widths, is_number, strict=True))
    ]
    narrow = list(widths)
    while _total(narrow) > width:
        i = max(range(len(narrow)), key=lambda i: narrow[i] - least[i] and narrow[i])
        if narrow[i] == least[i]:
            break
        narrow[i] -= 1
    return narrow


def _least(rows: Sequence[Sequence[str]], i: int, *, is_number: bool, wide: int) -> int:
    header, *cells = (row[i] for row in rows)
    if is_number:
        return min(wide, max([_longest_piece(header), *map(len, cells)]))
    return min(wide, max(_NARROWEST, *map(_longest_piece, (header, *cells))))


def _longest_piece(cell: str) -> int:
    return max((len(line) for line in wrapped_lines(cell, 1)), default=0)


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
) -> list[str]:
    lines = []
    for row in rows:
        cells = [
            wrapped_lines(cell, wide) if len(cell) > wide else [cell]
            for cell, wide in zip(row, widths, strict=True)
        ]
        for n in range(max(map(len, cells))):
            parts = [cell[n] if n < len(cell) else "" for cell in cells]
            lines.append(
                _BETWEEN.join(
                    part.rjust(wide) if number else part.ljust(wide)
                    for part, wide, number in zip(parts, widths, is_number, strict=True)
                ).rstrip()
            )
    return lines


Value = str | float | int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        key: its header in a CSV file.
        quantity: the quantity of its values: unit and format come from there.
        label: its header for people; None: the quantity's label.
        has_terms: whether its values are keys that people read as words.
    """

    key: str
    quantity: str
    label: str | None = None
    has_terms: bool = False

    @property
    def header(self) -> str:
        """Its header for people. Values carry their unit themselves, so it has none."""
        return self.label or label_text(self.quantity)


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Raw values in rows.

    Attributes:
        caption: one line that says what the rows are.
        columns: the columns.
        rows: one value per column; None: not known.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def texts(self) -> Iterator[tuple[str, ...]]:
        """The rows as people read them."""
        for row in self.rows:
            yield tuple(
                term_text(value)
                if column.has_terms and isinstance(value, str)
                else quantity_text(column.quantity, value)
                for column, value in zip(self.columns, row, strict=True)
            )

    def is_number(self, column: Column) -> bool:
        """Whether a column holds numbers, which are aligned to the right."""
        values = [row[self.columns.index(column)] for row in self.rows]
        return all(value is None or not isinstance(value, str) for value in values)

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
        return self._at(
            [
                i
                for i in range(len(self.columns))
                if any(row[i] not in (None, "", UNKNOWN) for row in self.rows)
            ]
        )

    def _at(self, kept: list[int]) -> Table:
        return Table(
            caption=self.caption,
            columns=tuple(self.columns[i] for i in kept),
            rows=tuple(tuple(row[i] for i in kept) for row in self.rows),
        )
