"""CSV files: the trials and every observation of a study."""

from __future__ import annotations

from pathlib import Path

from batchlab.records.study import Study
from batchlab.report.parts.observations_table import observations_table
from batchlab.report.parts.output_file import write_output_file
from batchlab.report.sweep.trials_table import trials_table


def write_csv(study: Study, path: Path) -> tuple[Path, Path]:
    """Write the trials to `path` and their observations beside it.

    Args:
        study: the study.
        path: `report.csv` gets one row a trial; `report-observations.csv` one row a number seen,
            in long format. The two are joined by `trial_id`.

    Returns:
        The two files.

    Raises:
        OutputFileError: a file cannot be written.
    """
    path = Path(path)
    observations = path.with_name(f"{path.stem}-observations.csv")
    write_output_file(path, trials_table(study).to_csv().encode())
    write_output_file(observations, observations_table(study).to_csv().encode())
    return path, observations
