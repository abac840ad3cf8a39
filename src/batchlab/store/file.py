"""The SQLite file of a store: checked when it is opened, and written in transactions."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import msgspec

from batchlab.errors import NoStoreError, StoreError
from batchlab.store import schema as store_schema

BUSY_TIMEOUT_S = 10.0  # the longest wait for a lock; writers lock the file for milliseconds

# If the disk has less free space than this, an I/O error is reported as a full disk.
_LITTLE_SPACE_BYTES = 256 * 1024


def _opened(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open the store at `path` in autocommit mode, with a write-ahead log (WAL).

    A missing or empty file becomes a new store if `create` is True. A file is refused and not
    changed if it is damaged, or was written by another program or another version of batchlab.
    """
    with explained(path):
        _check_place(path, create=create)
        mode = "rwc" if create else "rw"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
        )
        try:
            _check_content(path, connection)
            connection.execute("PRAGMA foreign_keys=ON")
            # Do not wait for the disk at each change, because waiting would slow small trials. If
            # the process is killed, nothing is lost; a power cut may lose the last transactions.
            connection.execute("PRAGMA synchronous=NORMAL")
            _make_tables(connection)
            _turn_wal_on(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def check_store_folder(path: Path) -> None:
    """Refuse the path of a store if its folder is read-only; create no file.

    Raises:
        StoreError: the folder of `path` is read-only.
    """
    # SQLite keeps its write-ahead log next to the file, so the folder must be writable too.
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK, effective_ids=True):
        raise _read_only(path)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite, of decoding and of files into a `StoreError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or path} cannot be used ({error.strerror}); see that the folder of "
            "the store can be read and written, and has space"
        ) from error
    except sqlite3.Error as error:
        raise _explanation(error, path) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_whole(path, "its content cannot be read") from error


def _check_place(path: Path, *, create: bool) -> None:
    """Refuse a path that cannot be a store; if `create` is False, also a missing or empty file."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise StoreError(f"{path}: there is no folder {folder}; make it first (mkdir -p {folder})")
    try:
        there = path.stat()  # one call, because other processes may create or delete the file
    except FileNotFoundError:
        there = None
    if there is not None and not stat.S_ISREG(there.st_mode):
        raise StoreError(
            f"{path} is not a file; a store is a file, for example {path.parent / 'lab.db'}"
        )
    if not create and (there is None or there.st_size == 0):
        raise NoStoreError(
            f"no store at {path}; check the path, or run a sweep with --store {path} to make one"
        )
    check_store_folder(path)
    if there is not None and not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise _read_only(path)


def _check_content(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a file that is no store, is damaged or has another version; accept an empty file.

    Raises:
        StoreError: the file cannot be used.
        sqlite3.Error: the file could not be read.
    """
    connection.execute("BEGIN")  # one snapshot, because another process may be creating tables
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = _version(connection)
    state = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    connection.execute("ROLLBACK")
    if not tables:
        return
    if application_id != store_schema.APPLICATION_ID:
        raise not_whole(path, "it is the SQLite file of another program")
    if state != "ok":
        raise not_whole(path, "its pages do not fit together")
    # Before the first release, the tables changed but not the version: check the table names too.
    if version != store_schema.VERSION or not store_schema.TABLES.keys() <= tables:
        raise StoreError(
            f"{path} was written by another version of batchlab (schema {version} of its own; "
            f"this one reads its schema {store_schema.VERSION}); use that version, or give "
            "another file. It was left as it is"
        )


def _make_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of a new store, all of them or none."""
    if _version(connection):
        return
    # If a statement fails, the caller closes the connection, which undoes the transaction.
    connection.execute("BEGIN IMMEDIATE")
    # Check again under the lock: another process may have made the tables meanwhile.
    if not _version(connection):
        for statement in store_schema.TABLES.values():
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={store_schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={store_schema.VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _turn_wal_on(connection: sqlite3.Connection) -> None:
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            # Retry: SQLite's busy timeout does not apply to a change that needs exclusive access.
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)


def _primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, or 0 if the error did not come from SQLite."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _explanation(error: sqlite3.Error, path: Path) -> StoreError:
    code = _primary_code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"{path} is in use: another program has held it for {BUSY_TIMEOUT_S:g} s; close that "
            "program or wait for it, then run the same command again"
        )
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and is_disk_full(path.parent)):
        return StoreError(
            f"{path}: the disk is full; free some space, then run the same command again (what "
            "was stored before is kept)"
        )
    if code == sqlite3.SQLITE_READONLY:
        return _read_only(path)
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return StoreError(
            f"{path} cannot be read or written; check that its disk is mounted and sound, and "
            f"that {path}-wal and {path}-shm, where they exist, belong to you"
        )
    return not_whole(path, f"SQLite says {error}")


def is_disk_full(folder: Path) -> bool:
    """Return whether writing to a folder may fail because its disk has hardly any free space."""
    try:
        return shutil.disk_usage(folder).free < _LITTLE_SPACE_BYTES
    except OSError:  # the folder does not exist any more
        return False


def _read_only(path: Path) -> StoreError:
    return StoreError(
        f"{path} is read-only (the file or its folder); copy it to a folder that you can write "
        "to, or change its permissions"
    )


def not_whole(path: Path, found: str) -> StoreError:
    """Return the error for a file that is no store or is damaged; `found` says why."""
    return StoreError(
        f"{path} is not a whole batchlab store: {found}; put back a copy of it, or give another "
        "file. It was left as it is"
    )


class StoreFile:
    """An open store file, and the folders next to the file; subclasses read and write tables."""

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        self.path = Path(path).absolute()
        self._connection: sqlite3.Connection | None = _opened(Path(path), create=create)
        self._owner = (os.getpid(), threading.get_ident())
        self._has_snapshot = False

    @classmethod
    def existing(cls, path: str | Path) -> Self:
        """Open the store at `path`, which must exist already."""
        return cls(path, create=False)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._connection is not None and self._is_ours():
            with explained(self.path):
                self._connection.close()
        self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run the block in one transaction, which is rolled back if the block raises an error."""
        connection = self._usable_connection()
        with explained(self.path):
            _undo(connection)
            try:
                # IMMEDIATE waits here for other writers; a plain BEGIN could fail at a later write.
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                _undo(connection)  # does nothing on a full disk: SQLite has rolled back
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Run the `with` block on a snapshot of the file, without later writes by other processes.

        A block within another block reads the snapshot of the outer block.
        """
        connection = self._usable_connection()
        if self._has_snapshot:
            yield connection
            return
        with explained(self.path):
            _undo(connection)
            try:
                self._has_snapshot = True
                connection.execute("BEGIN")
                yield connection
            finally:
                self._has_snapshot = False
                _undo(connection)

    def _is_ours(self) -> bool:
        # SQLite's locks do not survive a fork, so writing in a forked child would corrupt the file.
        return self._owner == (os.getpid(), threading.get_ident())

    def _usable_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"the store {self.path} is closed; open it again with Store(path)")
        if not self._is_ours():
            raise StoreError(
                f"the store {self.path} was opened by another process or thread; open it again here"
            )
        return self._connection

    # ---- the folders next to the store file

    def checkpoint_path(self, trial_id: str) -> Path:
        """Return the path of a trial's checkpoint file; create the folder, but not the file."""
        return self._beside(f"{trial_id}.safetensors")

    def trial_folder(self, trial_id: str) -> Path:
        """Return the folder for the files of a user's command in a trial; do not create it."""
        return self.path.with_name(f"{self.path.name}.trials") / trial_id

    @contextmanager
    def claim(self, trial_id: str) -> Iterator[bool]:
        """Claim a trial for this process in a `with` block, unless another process has claimed it.

        The block gets True if it has the claim, else False. The claim ends with the block or the
        process, even if the process is killed. A child made by `os.fork` shares the claim.
        """
        with ExitStack() as opened:
            with explained(self.path):
                # Open the file per lock: then two locks of this process exclude each other too.
                file = opened.enter_context(self._beside(f"{trial_id}.lock").open("ab"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    is_held = True
                except BlockingIOError:
                    is_held = False
            yield is_held

    @property
    def _folder(self) -> Path:
        return self.path.with_name(f"{self.path.name}.checkpoints")

    def _beside(self, name: str) -> Path:
        with explained(self.path):
            self._folder.mkdir(exist_ok=True)
        return self._folder / name


def _undo(connection: sqlite3.Connection) -> None:
    """Roll back a transaction that is still open, if any.

    Ctrl-C just before the first line of a `with` block can leave a transaction open. Until that
    transaction is rolled back, no other transaction can begin.
    """
    if connection.in_transaction:
        connection.execute("ROLLBACK")
