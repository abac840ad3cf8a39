"""Migration 3 to 4: an evaluation keeps what was measured there by name, not in columns."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

# SQLite before 3.35 cannot drop a column, so the table is made anew.
TABLE: Final = """
    CREATE TABLE evaluations_by_name (
        trial_id TEXT NOT NULL REFERENCES trials (trial_id),
        step INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        train_s REAL NOT NULL,
        eval_s REAL NOT NULL,
        batch_loss REAL,
        scores TEXT NOT NULL,
        measured TEXT NOT NULL DEFAULT '{}',
        PRIMARY KEY (trial_id, step)
    ) WITHOUT ROWID
"""
REPLACE: Final = (
    "DROP TABLE evaluations",
    "ALTER TABLE evaluations_by_name RENAME TO evaluations",
)


def name_measured_values(connection: sqlite3.Connection) -> None:
    """Copy the evaluations, with the gradient norm of each step but the first under its name.

    Not with SQLite's own JSON functions: they may round a number.

    Args:
        connection: in a transaction, with the table made.
    """
    rows = connection.execute(
        "SELECT trial_id, step, samples, train_s, eval_s, batch_loss, scores, gradient_norm "
        "FROM evaluations"
    )
    connection.executemany(
        "INSERT INTO evaluations_by_name VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        ((*kept, _measured(step=kept[1], norm=norm)) for *kept, norm in rows),
    )


def _measured(*, step: int, norm: float | None) -> str:
    return msgspec.json.encode({"gradient_norm": norm} if step else {}).decode()
