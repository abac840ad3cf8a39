"""RecordPage: the page of a record that is in somebody's hands, an advice or a sweep's study."""

from __future__ import annotations

from pathlib import Path

from batchlab.advice.advice import Advice
from batchlab.commands.report import stored, write_page
from batchlab.errors import UsageError
from batchlab.records.study import Study
from batchlab.report.parts.output_file import check_output_file


def write_record_page(record: Advice | Study, path: Path) -> Path:
    """Write the page of an advice or a study.

    Args:
        record: the advice, whose runs are read from its store, or the study.
        path: the file; one that is there is replaced.

    Returns:
        The file.

    Raises:
        UsageError: no file can be written to `path`, it is a store, or nobody knows where the runs
            of the advice are.
        StoreError: the runs of the advice cannot be read any more.
        OutputFileError: the file cannot be written; an old one is left as it is.
    """
    if isinstance(record, Study):
        check_output_file(path, store=None, option="report")
        write_page(record, path)
        return path
    if record.kept_in is None:
        raise UsageError(
            "this advice does not know where its runs are; ask batchlab.advise again, which "
            "answers at once from its store"
        )
    store, study_id = record.kept_in
    check_output_file(path, store=Path(store), option="report")
    write_page(stored(Path(store), study_id), path)
    return path
