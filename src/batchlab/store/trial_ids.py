"""Migration 2 to 3: trials get the ids that their identity has now; their files keep their names.

Checkpoints lie beside the store, where no transaction reaches: so they are not renamed, and the
store remembers under which id a trial's files were first made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

import msgspec

from batchlab.records.trial import Trial
from batchlab.store.column import JsonColumn, NewerPayload, UnreadableColumn

COLUMN: Final = "ALTER TABLE trials ADD COLUMN files_id TEXT"

_TRIAL: Final = JsonColumn[Trial](Trial, format=1)


def renew_trial_ids(connection: sqlite3.Connection) -> None:
    """Give every trial the id that it has today, wherever the store names it.

    A trial that another program changed keeps its id: who reads it is told.

    Args:
        connection: in a transaction, with the column made.
    """
    connection.execute("PRAGMA defer_foreign_keys=ON")  # until the transaction ends
    rows = connection.execute("SELECT trial_id, trial FROM trials").fetchall()
    renewed = {former: _id_of(trial, former) for former, trial in rows}
    for former, trial_id in renewed.items():
        if trial_id == former:
            continue
        connection.execute(
            "UPDATE trials SET trial_id = ?, files_id = coalesce(files_id, trial_id) "
            "WHERE trial_id = ?",
            (trial_id, former),
        )
        connection.execute(
            "UPDATE evaluations SET trial_id = ? WHERE trial_id = ?", (trial_id, former)
        )
    _renew_in_studies(connection, renewed)


def _id_of(trial: object, former: str) -> str:
    try:
        return _TRIAL.decoded(str(trial), "trial").trial_id
    except (UnreadableColumn, NewerPayload):
        return former


def _renew_in_studies(connection: sqlite3.Connection, renewed: dict[str, str]) -> None:
    def new(trial_id: object) -> object:
        return renewed.get(trial_id, trial_id) if isinstance(trial_id, str) else trial_id

    def entry_with_new_ids(entry: dict[str, object]) -> dict[str, object]:
        runs = entry.get("runs")
        if not isinstance(runs, list):
            return entry
        return entry | {"runs": [run | {"trial_id": new(run.get("trial_id"))} for run in runs]}

    rows = connection.execute("SELECT study_id, trial_ids, decisions FROM studies").fetchall()
    for study_id, trial_ids, decisions in rows:
        connection.execute(
            "UPDATE studies SET trial_ids = ?, decisions = ? WHERE study_id = ?",
            (
                _mapped(trial_ids, list[str], new),
                _mapped(decisions, list[dict[str, object]], entry_with_new_ids),
                study_id,
            ),
        )


def _mapped(text: object, kind: object, change: Callable[..., object]) -> object:
    """A JSON list with every item changed; a text that is no such list stays as it is."""
    try:
        items = msgspec.json.decode(str(text), type=kind)
        changed = [change(item) for item in items]
        return text if changed == items else msgspec.json.encode(changed).decode()
    except (msgspec.DecodeError, TypeError, AttributeError):
        return text
