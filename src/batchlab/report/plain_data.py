"""PlainData: a record as Python's own dicts and lists, or as a data frame."""

from __future__ import annotations

import json
from typing import Any

from batchlab.advice.advice import Advice
from batchlab.errors import MissingLibraryError
from batchlab.records.study import Study
from batchlab.report.advice.tables import candidates_table
from batchlab.report.sweep.document import sweep_document
from batchlab.report.sweep.trials_table import trials_table


def study_dict(study: Study) -> dict[str, Any]:
    """What `batchlab sweep --json` prints of a study; its store and its page are None."""
    document: dict[str, Any] = json.loads(sweep_document(study, store=None, report=None))
    return document


def data_frame(record: Advice | Study) -> Any:
    """The table of a record as a pandas DataFrame.

    Args:
        record: an advice: a row a batch size in question; a study: a row a trial.

    Raises:
        MissingLibraryError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingLibraryError(
            "to_pandas needs pandas, which is not installed: pip install pandas"
        ) from error
    table = trials_table(record) if isinstance(record, Study) else candidates_table(record)
    return pandas.DataFrame(list(table.rows), columns=[column.key for column in table.columns])
