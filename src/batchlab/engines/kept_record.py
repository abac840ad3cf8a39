"""keep_record: a record into the store, where the engine that gave it keeps none itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchlab.records.trial import TrialRecord

if TYPE_CHECKING:
    from batchlab.store.store import Store


def keep_record(store: Store, record: TrialRecord) -> None:
    """Store a record, unless the store holds it already or another process is at its trial.

    Args:
        store: it knows the workload.
        record: of a run that has ended.
    """
    with store.claim(record.trial.trial_id) as is_ours:
        if not is_ours or (not record.evaluations and not record.has_failed):
            return  # it is being trained, and kept, elsewhere; or its turn never came
        stored = store.record(record.trial.trial_id)
        if stored is not None and stored.status is not None and stored.steps >= record.steps:
            return
        assert record.status is not None
        # What an earlier, shorter answer had stays: it is what that answer is replayed from.
        store.put_record(record)
