"""CSV files: the trials, every observation and the figures of a study."""

from __future__ import annotations

from pathlib import Path

from batchlab.records.study import Study
from batchlab.report.parts.figure_files import write_figure_rows
from batchlab.report.parts.figure_row import built_figures
from batchlab.report.parts.observations_table import observations_table
from batchlab.report.parts.output_file import write_output_file
from batchlab.report.sweep import figures as sweep_figures
from batchlab.report.sweep.trials_table import trials_table


def write_csv(study: Study, path: Path) -> tuple[Path, ...]:
    """Write the trials to `path`, their observations and the rows of the figures beside it.

    Args:
        study: the study.
        path: `report.csv` gets one row a trial; `report-observations.csv` one row a number seen,
            in long format, joined by `trial_id`; each figure has its rows in a file too.

    Returns:
        The files.

    Raises:
        OutputFileError: a file cannot be written.
    """
    path = Path(path)
    observations = path.with_name(f"{path.stem}-observations.csv")
    write_output_file(path, trials_table(study).to_csv().encode())
    write_output_file(observations, observations_table(study).to_csv().encode())
    return path, observations, *write_figure_rows(built_figures(sweep_figures, study), path)
