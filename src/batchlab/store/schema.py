"""The tables of a store, and the columns that hold records as JSON text."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

from batchlab.errors import StoreError
from batchlab.records.estimate import Reason
from batchlab.records.trial import Target
from batchlab.words.document import plain, plain_float, reason_of

APPLICATION_ID: Final = 0x424C4142  # "BLAB": `file` and batchlab recognize a store by it
VERSION: Final = 2

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
        asked INTEGER NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        command TEXT NOT NULL,
        workload_id TEXT NOT NULL REFERENCES workloads (workload_id),
        environment TEXT NOT NULL,
        trial_ids TEXT NOT NULL,
        spent_s REAL NOT NULL DEFAULT 0,
        target TEXT,
        margin REAL,
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
        place TEXT,
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
"""The statement that creates each table, by table name; referenced tables come first."""

INDEX: Final = "CREATE INDEX measurements_of ON measurements (workload_id, kind, device)"


T = TypeVar("T")


class UnreadableColumn(Exception):
    """A column's text was not written by `JsonColumn.encoded`; the message names the record."""


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

    def decoded(self, text: str, what: str) -> T:
        """Return the value that `encoded` turned into `text`.

        Raises:
            UnreadableColumn: `encoded` did not write the text, or it was changed since.
        """
        try:
            return self._decoder.decode(text)
        except (msgspec.DecodeError, TypeError) as error:
            raise UnreadableColumn(what) from error


PAIRS: Final = JsonColumn[tuple[tuple[str, str], ...]](tuple[tuple[str, str], ...])
TEXTS: Final = JsonColumn[tuple[str, ...]](tuple[str, ...])
TARGET: Final = JsonColumn[Target](Target)


def if_known(function: Callable[..., T], value: object, *more: str) -> T | None:
    """Return `function(value)`, or None if the value is None."""
    return None if value is None else function(value, *more)


def printable(text: str) -> str:
    """Return text that UTF-8 can hold; other bytes of a command line are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def now() -> str:
    """Return the current time as a store writes it: ISO 8601, UTC, in whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def kept_reason(reason: Reason) -> str:
    """Return a reason as JSON text, with its code, values and words; surrogates are escaped."""
    return msgspec.json.encode(plain(_printable(reason))).decode()


def reason_kept(text: str) -> Reason:
    """Return the reason that `kept_reason` wrote; any other text becomes a reason as written."""
    try:
        reason = reason_of(msgspec.json.decode(text))
    except (msgspec.DecodeError, TypeError):
        return Reason.as_written(text)
    return reason if isinstance(reason, Reason) else Reason.as_written(text)


def _printable(value: Any) -> Any:
    """Make the texts of a reason, or of one of its values, printable."""
    if isinstance(value, Reason):
        return Reason(value.code, _printable(value.values))
    if isinstance(value, tuple):
        return tuple(map(_printable, value))
    if isinstance(value, str):
        return printable(value)
    return value
