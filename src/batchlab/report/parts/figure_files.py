"""Figure files: the figures of a report as images, and their rows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from batchlab.errors import BatchlabError
from batchlab.report.output_file import write_output_file
from batchlab.report.parts.figure import LAYOUT, Figure, Row
from batchlab.report.parts.figure_row import FigureRow
from batchlab.report.parts.vega import paper_image

Built = Sequence[tuple[FigureRow, Figure]]


class NothingToDrawError(BatchlabError):
    """A report without anything that a figure could show."""


def write_figure_images(
    built: Built, path: Path, image_format: Literal["svg", "png"]
) -> tuple[Path, ...]:
    """Write one image a figure; figures that have nothing to show are left out.

    Args:
        built: the figures of a report with their rows of the registry.
        path: names the files: `report.svg` gives `report-a-epochs.svg`, `report-d-gap.svg`, ...
        image_format: "svg" or "png"; the suffix of `path` is replaced by it.

    Returns:
        The files that were written.

    Raises:
        NothingToDrawError: no figure has anything to show; the message says why for each.
        OutputFileError: a file cannot be written.
    """
    if all(figure.absent for _, figure in built):
        raise NothingToDrawError(
            "no figure has anything to show: "
            + " ".join(f"({row.key}) {figure.absent}" for row, figure in built)
        )
    written = []
    for row, figure in built:
        if figure.absent is None:
            file = path.with_name(f"{path.stem}-{row.key}-{row.name}.{image_format}")
            write_output_file(file, paper_image(figure, image_format))
            written.append(file)
    return tuple(written)


def write_figure_rows(built: Built, path: Path) -> tuple[Path, ...]:
    """Write the rows of each figure beside `path`: `report.csv` gives `report-objective.csv`, ...

    Figures that share their rows share a file.

    Raises:
        OutputFileError: a file cannot be written.
    """
    rows = {figure.data: figure.rows for _, figure in built if figure.absent is None}
    written = []
    for data, its_rows in rows.items():
        file = path.with_name(f"{path.stem}-{data}.csv")
        write_output_file(file, rows_csv(its_rows).encode())
        written.append(file)
    return tuple(written)


def rows_csv(rows: Iterable[Row]) -> str:
    """Rows of charts as CSV, each field a column; empty where a row has none."""
    rows = list(rows)
    fields = list(dict.fromkeys(field for row in rows for field in row if field not in LAYOUT))
    file = io.StringIO()
    writer = csv.DictWriter(file, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
