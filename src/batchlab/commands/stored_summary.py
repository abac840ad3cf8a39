"""StoredSummary: what a store knows of a workload or a command, before anything is looked at."""

from __future__ import annotations

from pathlib import Path

from batchlab.errors import NoStoreError
from batchlab.records.study import WorkloadSummary
from batchlab.store.file import check_store_folder
from batchlab.store.store import Store


def stored_summary(store: Path, workload_id: str) -> WorkloadSummary | None:
    """The summary of a workload; None: the store does not know it, or is not there yet.

    Args:
        store: the file; it is not made.
        workload_id: of the workload.

    Raises:
        StoreError: the store cannot be read, or its folder cannot hold one.
    """
    try:
        with Store.existing(store) as opened:
            return opened.workload(workload_id)
    except NoStoreError:  # its place is looked at without making it
        check_store_folder(store)
        return None
