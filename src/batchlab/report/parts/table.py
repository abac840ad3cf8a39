"""Table: named columns and rows of raw values, as HTML cells, aligned text or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from batchlab.report.parts.aligned_text import aligned_text
from batchlab.report.parts.quantity_text import label_text, quantity_text
from batchlab.report.parts.term_text import term_text
from batchlab.report.parts.text_width import table_width
from batchlab.words.numbers import UNKNOWN

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
