"""The tables of a store, and the columns that contain records as JSON text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

from batchlab.errors import StoreError
from batchlab.records.estimate import Reason
from batchlab.records.trial import TrialRecord
from batchlab.words.document import plain_float

APPLICATION_ID: Final = 0x424C4142  # "BLAB"; marks an SQLite file as a batchlab store
VERSION: Final = 4

# WITHOUT ROWID stores the evaluations of a trial next to each other on disk, for fast reading.
# STRICT tables and RETURNING are not used, because Python 3.11 can come with an older SQLite.
TABLES: Final = {
    "workloads": """
    CREATE TABLE workloads (
        workload_id TEXT PRIMARY KEY,
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
        spent_s REAL NOT NULL DEFAULT 0,
        decisions TEXT,
        advice TEXT
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
    "timings": """
    CREATE TABLE timings (
        timing_id INTEGER PRIMARY KEY,
        workload_id TEXT NOT NULL REFERENCES workloads (workload_id),
        device TEXT NOT NULL,
        timing TEXT NOT NULL
    )
    """,
}
"""The statement that creates each table, by table name; referenced tables come first."""


T = TypeVar("T")


class JsonColumn(Generic[T]):
    """A converter between values of one type and JSON text for a column; floats stay exact.

    Args:
        kind: the type of the values, made of frozen dataclasses, tuples and scalars.
    """

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def encoded(self, value: T, what: str) -> str:
        """Return JSON text that decodes to a value equal to `value`.

        JSON has no NaN or infinity: msgspec writes null for both, and null does not equal `value`.
        The error message describes `value` by the text `what`.

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
            f"{what} was not stored, because it would not be read back unchanged; give values of "
            "the types that its class declares, and None for an unknown number"
        )

    def decoded(self, text: str) -> T:
        """Return the value that `encoded` turned into `text`.

        Raises:
            msgspec.DecodeError: the text was not written by `encoded`, or was changed since.
        """
        try:
            return self._decoder.decode(text)
        except TypeError as error:  # another program has stored a number as `text`
            raise msgspec.DecodeError(str(error)) from error


def printable(text: str) -> str:
    """Return `text` with escapes for characters that UTF-8 cannot encode (lone surrogates)."""
    return text.encode("utf-8", "backslashreplace").decode()


def now() -> str:
    """Return the current time as a store writes it: ISO 8601, UTC, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def printable_record(record: TrialRecord) -> TrialRecord:
    """Return a record with printable texts and without evaluations, which have their own table."""
    return replace(
        record,
        evaluations=(),
        reason=_printable(record.reason),
        traceback=_printable(record.traceback),
        notes=_printable(record.notes),
    )


def _printable(value: Any) -> Any:
    if isinstance(value, Reason):
        return Reason(value.code, _printable(value.values))
    if isinstance(value, tuple):
        return tuple(map(_printable, value))
    if isinstance(value, str):
        return printable(value)
    return value
