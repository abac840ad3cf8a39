"""Migration 1 to 2: the answer of a study moves from its journal into a table of its own."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

TABLE: Final = """
    CREATE TABLE advices (
        study_id TEXT NOT NULL REFERENCES studies (study_id),
        version INTEGER NOT NULL,
        payload TEXT NOT NULL,
        PRIMARY KEY (study_id, version)
    )
"""


def move_advice_out_of_journals(connection: sqlite3.Connection) -> None:
    """Make rows of the table `advices` of what the journals hold of answers.

    A journal that another program changed stays as it is: who reads it is told.

    Args:
        connection: in a transaction, with the table made.
    """
    rows = connection.execute("SELECT study_id, decisions FROM studies").fetchall()
    for study_id, decisions in rows:
        entries = _entries(decisions)
        advices = [entry["advice"] for entry in entries if entry.get("advice") is not None]
        if not any(entry.keys() & {"advice", "pace"} for entry in entries):
            continue
        for advice in advices[-1:]:
            connection.execute(
                "INSERT INTO advices (study_id, version, payload) VALUES (?, 1, ?)",
                (study_id, msgspec.json.encode(advice).decode()),
            )
        facts = [_fact(entry) for entry in entries]
        connection.execute(
            "UPDATE studies SET decisions = ? WHERE study_id = ?",
            (msgspec.json.encode(facts).decode(), study_id),
        )


def _fact(entry: dict[str, object]) -> dict[str, object]:
    """An entry without the answer; what it calls the pace of runs is their cost model now."""
    return {"cost_model" if key == "pace" else key: entry[key] for key in entry if key != "advice"}


def _entries(decisions: object) -> list[dict[str, object]]:
    """The entries of a journal as plain values; none where it does not read."""
    try:
        return msgspec.json.decode(str(decisions), type=list[dict[str, object]])
    except msgspec.DecodeError:
        return []
