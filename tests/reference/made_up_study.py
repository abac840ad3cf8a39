"""A store with one study in it that has not been told anything yet."""

from pathlib import Path

from tests.reference import made_up

from batchlab.records.study import StudyName, WorkloadSummary
from batchlab.runs.replay import Journal
from batchlab.store.store import Store

STUDY = StudyName(
    study_id="study", command="batchlab advise small", workload_id="made-up-id", environment=()
)


def made_up_summary() -> WorkloadSummary:
    return made_up.made_up_summary(
        name="small", n_train=40, n_validation=20, n_test=20, batch_size=10, learning_rate=0.05
    )


def store_with_study(path: Path) -> Store:
    """The store, opened; the study is in it, with what it was told before if anything was."""
    store = Store(path)
    store.put_workload(made_up_summary())
    if store.document(STUDY.study_id, "decisions") is None:
        Journal(store, STUDY).put_study(None)
    return store
