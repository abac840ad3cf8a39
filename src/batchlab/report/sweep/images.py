"""Images: every figure of a study as an SVG or PNG file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from batchlab.records.study import Study
from batchlab.report.parts.figure_files import write_figure_images
from batchlab.report.parts.figure_row import built_figures
from batchlab.report.sweep import figures as sweep_figures


def write_images(study: Study, path: Path, image_format: Literal["svg", "png"]) -> tuple[Path, ...]:
    """Write one image a figure; see `write_figure_images`."""
    return write_figure_images(built_figures(sweep_figures, study), Path(path), image_format)
