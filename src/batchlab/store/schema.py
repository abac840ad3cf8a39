"""Schema of a store: the tables of every version, as the migrations that lead there.

`docs/store.md` describes the tables for readers. To change one, append a migration that brings a
store of the version before up to date, and touch none that stands: users hold stores made by them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from batchlab.store import advice_apart, measured_by_name, trial_ids

APPLICATION_ID = 0x424C4142  # "BLAB": in the file's header, so that `file` and we know our own

# WITHOUT ROWID keeps the evaluations of a trial side by side on disk, which is how they are read.
# Neither STRICT tables nor RETURNING: the SQLite of a Python 3.11 can be older than they are.
_VERSION_1 = (
    """
    CREATE TABLE workloads (
        workload_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        summary TEXT NOT NULL
    )
    """,
    """
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
    """
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
    """
    CREATE TABLE evaluations (
        trial_id TEXT NOT NULL REFERENCES trials (trial_id),
        step INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        train_s REAL NOT NULL,
        eval_s REAL NOT NULL,
        batch_loss REAL,
        gradient_norm REAL,
        scores TEXT NOT NULL,
        PRIMARY KEY (trial_id, step)
    ) WITHOUT ROWID
    """,
    """
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
    "CREATE INDEX measurements_of ON measurements (workload_id, kind, device)",
)

_VERSION_2 = (advice_apart.TABLE, advice_apart.move_advice_out_of_journals)
_VERSION_3 = (trial_ids.COLUMN, trial_ids.renew_trial_ids)
_VERSION_4 = (
    measured_by_name.TABLE,
    measured_by_name.name_measured_values,
    *measured_by_name.REPLACE,
)

Migration = str | Callable[[sqlite3.Connection], None]
"""A statement, or what statements alone cannot do, inside the same transaction."""

MIGRATIONS: tuple[tuple[Migration, ...], ...] = (
    _VERSION_1,
    _VERSION_2,
    _VERSION_3,
    _VERSION_4,
)
"""What leads from version n to n + 1, at index n; a store's version is their count."""
