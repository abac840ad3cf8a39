"""StoreConnection: a store file held open, read in snapshots and written in transactions."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from batchlab.errors import StoreError
from batchlab.store.file import explained, open_store_file


class StoreConnection:
    """An open store file; `Store` adds what is in it, one noun a file."""

    path: Path

    def __init__(self, path: str | Path) -> None:
        self._open(Path(path), create=True)

    @classmethod
    def existing(cls, path: str | Path) -> Self:
        """The store at `path`, which must be there already."""
        store = cls.__new__(cls)
        store._open(Path(path), create=False)
        return store

    def _open(self, path: Path, *, create: bool) -> None:
        self._connection: sqlite3.Connection | None = None
        self.path = path.absolute()
        self._connection = open_store_file(path, create=create)
        self._owner = (os.getpid(), threading.get_ident())
        journal = self._connection.execute("PRAGMA journal_mode").fetchone()[0]
        self._uses_wal: bool = journal == "wal"

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self._connection is not None and self._is_ours():
            with explained(self.path):
                self._connection.close()
        self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _writing(self, *, wait_for_disk: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is stored when the block ends, nothing when it raises."""
        connection = self._usable_connection()
        with explained(self.path):
            _undo(connection)
            # Only WAL stays whole in a power cut when the disk was not waited for.
            synchronous = "FULL" if wait_for_disk or not self._uses_wal else "NORMAL"
            connection.execute(f"PRAGMA synchronous={synchronous}")
            try:
                # IMMEDIATE waits for the other writer now; a later upgrade could only fail.
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _undo(connection)  # nothing to undo when the disk is full: SQLite has done it
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One snapshot: what others write meanwhile is not seen."""
        connection = self._usable_connection()
        with explained(self.path):
            _undo(connection)
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                _undo(connection)

    def _is_ours(self) -> bool:
        # SQLite's locks do not pass a fork: a child that wrote through it would corrupt the file.
        return self._owner == (os.getpid(), threading.get_ident())

    def _usable_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"the store {self.path} is closed; open it again with Store(path)")
        if not self._is_ours():
            raise StoreError(
                f"the store {self.path} was opened by another process or thread; open it again here"
            )
        return self._connection


def _undo(connection: sqlite3.Connection) -> None:
    """End a transaction that is still open.

    Ctrl-C can come where no block sees it, between a block's entry and its first line; so what it
    left open is undone before the next transaction, too, which could not begin otherwise.
    """
    if connection.in_transaction:
        connection.execute("ROLLBACK")
