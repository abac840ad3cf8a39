"""Images: every figure of a study as an SVG or PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from batchlab.errors import BatchlabError
from batchlab.records.study import Study
from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.parts.output_file import write_output_file
from batchlab.report.parts.vega import paper_image
from batchlab.report.sweep import figures as sweep_figures


class NothingToDrawError(BatchlabError):
    """A study without anything that a figure could show."""


def write_images(study: Study, path: Path, image_format: Literal["svg", "png"]) -> tuple[Path, ...]:
    """Write one image a figure; figures that have nothing to show are left out.

    Args:
        study: the study.
        path: names the files: `report.svg` gives `report-a-epochs.svg`, `report-d-gap.svg`, ...
        image_format: "svg" or "png"; the suffix of `path` is replaced by it.

    Returns:
        The files that were written.

    Raises:
        NothingToDrawError: no figure has anything to show; the message says why for each.
        OutputFileError: a file cannot be written.
    """
    path = Path(path)
    figures = [(row, row.build(study)) for row in figure_rows(sweep_figures)]
    if all(figure.absent for _, figure in figures):
        raise NothingToDrawError(
            "no figure has anything to show: "
            + " ".join(f"({row.key}) {figure.absent}" for row, figure in figures)
        )
    written = []
    for row, figure in figures:
        if figure.absent is None:
            file = path.with_name(f"{path.stem}-{row.key}-{row.name}.{image_format}")
            write_output_file(file, paper_image(figure, image_format))
            written.append(file)
    return tuple(written)
