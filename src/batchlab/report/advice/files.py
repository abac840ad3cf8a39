"""Files of an advice: its figures as images, its tables as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from batchlab.advice.advice import Advice
from batchlab.records.study import Study
from batchlab.report.advice import figures as advice_figures
from batchlab.report.advice.tables import candidates_table, tried_table
from batchlab.report.parts.figure_files import write_figure_images, write_figure_rows
from batchlab.report.parts.figure_row import built_figures
from batchlab.report.parts.observations_table import observations_table
from batchlab.report.parts.output_file import write_output_file

if TYPE_CHECKING:
    from batchlab.measure.profile import Profile


def write_advice_images(
    advice: Advice,
    study: Study,
    profile: Profile | None,
    path: Path,
    image_format: Literal["svg", "png"],
) -> tuple[Path, ...]:
    """Write one image a figure of the advice; see `write_figure_images`."""
    built = built_figures(advice_figures, advice, study, profile)
    return write_figure_images(built, path, image_format)


def write_advice_csv(
    advice: Advice, study: Study, profile: Profile | None, path: Path
) -> tuple[Path, ...]:
    """Write the batch sizes in question to `path`, and what else was seen beside it.

    Args:
        advice: the advice.
        study: its runs.
        profile: where step times and memory are from; None: only what the advice says of them.
        path: `report.csv` gets one row a batch size, `report-runs.csv` one a training run,
            `report-observations.csv` one a number seen; each figure has its rows in a file too.

    Returns:
        The files.

    Raises:
        OutputFileError: a file cannot be written.
    """
    tables = (
        (path, candidates_table(advice)),
        (path.with_name(f"{path.stem}-runs.csv"), tried_table(advice)),
        (path.with_name(f"{path.stem}-observations.csv"), observations_table(study)),
    )
    for file, table in tables:
        write_output_file(file, table.to_csv().encode())
    built = built_figures(advice_figures, advice, study, profile)
    return (*(file for file, _ in tables), *write_figure_rows(built, path))
