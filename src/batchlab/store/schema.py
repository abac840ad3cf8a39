"""Schema of a store: its tables, and the version that they have.

`docs/store.md` describes the tables for readers. To change one, raise the version: a store of
another version is refused and left as it is.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x424C4142  # "BLAB": in the file's header, so `file` and we know our own
VERSION: Final = 1

# WITHOUT ROWID keeps the evaluations of a trial side by side on disk, which is how they are read.
# Neither STRICT tables nor RETURNING: the SQLite of a Python 3.11 can be older than they are.
TABLES: Final = {
    "workloads": """
    CREATE TABLE workloads (
        workload_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        summary TEXT NOT NULL
    )
    """,
    "studies": """
    CREATE TABLE studies (
        study_id TEXT PRIMARY KEY,
        asked INTEGER NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        command TEXT NOT NULL,
        workload_id TEXT NOT NULL REFERENCES workloads (workload_id),
        environment TEXT NOT NULL,
        trial_ids TEXT NOT NULL,
        spent_s REAL NOT NULL DEFAULT 0,
        target TEXT,
        decisions TEXT NOT NULL DEFAULT '[]'
    )
    """,
    "advices": """
    CREATE TABLE advices (
        study_id TEXT PRIMARY KEY REFERENCES studies (study_id),
        payload TEXT NOT NULL
    )
    """,
    "trials": """
    CREATE TABLE trials (
        trial_id TEXT PRIMARY KEY,
        workload_id TEXT NOT NULL REFERENCES workloads (workload_id),
        trial TEXT NOT NULL,
        engine TEXT NOT NULL,
        threads INTEGER NOT NULL,
        versions TEXT NOT NULL,
        target TEXT,
        status TEXT,
        reason TEXT,
        traceback TEXT,
        peak_bytes INTEGER,
        resumed_from_steps TEXT NOT NULL,
        notes TEXT NOT NULL
    )
    """,
    "evaluations": """
    CREATE TABLE evaluations (
        trial_id TEXT NOT NULL REFERENCES trials (trial_id),
        step INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        train_s REAL NOT NULL,
        eval_s REAL NOT NULL,
        batch_loss REAL,
        scores TEXT NOT NULL,
        measured TEXT NOT NULL,
        PRIMARY KEY (trial_id, step)
    ) WITHOUT ROWID
    """,
    "measurements": """
    CREATE TABLE measurements (
        measurement_id INTEGER PRIMARY KEY,
        workload_id TEXT NOT NULL REFERENCES workloads (workload_id),
        kind TEXT NOT NULL,
        device TEXT NOT NULL,
        batch_size INTEGER NOT NULL,
        micro_batch_size INTEGER NOT NULL,
        measured_at TEXT NOT NULL,
        value TEXT NOT NULL
    )
    """,
}
"""The statement that makes each table, by its name, in the order that references ask for."""

INDEX: Final = "CREATE INDEX measurements_of ON measurements (workload_id, kind, device)"
