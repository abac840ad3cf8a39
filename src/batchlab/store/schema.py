"""The tables of a store, and the columns that hold records as JSON text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

from batchlab.errors import StoreError
from batchlab.records.estimate import Reason
from batchlab.words.document import plain_float

APPLICATION_ID: Final = 0x424C4142  # "BLAB": `file` and batchlab recognize a store by it
VERSION: Final = 3

# WITHOUT ROWID keeps the evaluations of a trial side by side on disk, which is how they are read.
# STRICT tables and RETURNING are not used, because a Python 3.11 can have an older SQLite.
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
        workload_id TEXT NOT NULL REFERENCES workloads (workload_id),
        asked INTEGER NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        study TEXT NOT NULL,
        trial_ids TEXT NOT NULL,
        target TEXT,
        spent_s REAL NOT NULL DEFAULT 0,
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
        record TEXT NOT NULL
    )
    """,
    "evaluations": """
    CREATE TABLE evaluations (
        trial_id TEXT NOT NULL REFERENCES trials (trial_id),
        step INTEGER NOT NULL,
        evaluation TEXT NOT NULL,
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
"""The statement that creates each table, by table name; referenced tables come first."""

INDEX: Final = "CREATE INDEX measurements_of ON measurements (workload_id, kind, device)"


T = TypeVar("T")


class JsonColumn(Generic[T]):
    """A column of values of one type as JSON; floats are exact, and reading is strict.

    Args:
        kind: the type, built of frozen dataclasses, tuples and scalars.
    """

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def encoded(self, value: T, what: str) -> str:
        """Return the JSON text of `value`, which must read back equal; errors call it `what`.

        JSON has no NaN or infinity. msgspec writes null for them, which the comparison detects.

        Raises:
            StoreError: `value` contains NaN, infinity, or types other than those of `kind`.
        """
        try:
            encoded = msgspec.json.encode(value, enc_hook=plain_float)
            if self._decoder.decode(encoded) == value:
                return encoded.decode()
        except (msgspec.ValidationError, TypeError, UnicodeEncodeError, OverflowError):
            pass
        raise StoreError(
            f"{what} was not stored, because it would not read back as it is; give it the types "
            f"that its class states, and None for a number that is not known"
        )

    def decoded(self, text: str) -> T:
        """Return the value that `encoded` turned into `text`.

        Raises:
            msgspec.DecodeError: `encoded` did not write the text, or it was changed since.
        """
        try:
            return self._decoder.decode(text)
        except TypeError as error:  # another program has put a number there
            raise msgspec.DecodeError(str(error)) from error


TEXTS: Final = JsonColumn[tuple[str, ...]](tuple[str, ...])


def printable(text: str) -> str:
    """Return text that UTF-8 can hold; other bytes of a command line are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def now() -> str:
    """Return the current time as a store writes it: ISO 8601, UTC, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def printable_reason(value: Any) -> Any:
    """Return a reason, or one of its values, with texts that UTF-8 can hold."""
    if isinstance(value, Reason):
        return Reason(value.code, printable_reason(value.values))
    if isinstance(value, tuple):
        return tuple(map(printable_reason, value))
    if isinstance(value, str):
        return printable(value)
    return value
