"""FigureRow: a figure of a report as a row of its registry, the folder that its file lies in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from batchlab.registry import row_module, row_names
from batchlab.report.parts.figure import Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class FigureRow:
    """A row of the registry.

    Attributes:
        key: the letter that names the figure in text and in file names, and its place.
        name: a word for it, used on the switch and in file names.
        build: from the report's records to the figure.
    """

    key: str
    name: str
    build: Callable[..., Figure]


def built_figures(folder: ModuleType, *records: object) -> list[tuple[FigureRow, Figure]]:
    """The figures of a folder for the records of a report, each with its row, in their order."""
    return [(row, row.build(*records)) for row in figure_rows(folder)]


def figure_rows(folder: ModuleType) -> tuple[FigureRow, ...]:
    """The figures of a folder in the order of their keys; each file holds its `ROWS`."""
    rows = [row for name in row_names(folder) for row in row_module(folder, name).ROWS]
    return tuple(sorted(rows, key=lambda row: row.key))
