import os
import shutil
import sqlite3
import tempfile
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.stored_study import STUDY, TRIAL_ID, an_evaluation, put_study

from batchlab.errors import StoreError
from batchlab.store import file as store_file
from batchlab.store import schema as store_schema
from batchlab.store.store import Store

NOBODY = 65534


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "lab.db"
    with Store(path) as store:
        put_study(store, STUDY)
    return path


@pytest.fixture
def path(whole_store, tmp_path):
    return Path(shutil.copy(whole_store, tmp_path / "lab.db"))


def message_of_opening(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        Store(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


# Places that cannot hold a store


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("", "is not a file; a store is a file"),
        ("no/where/lab.db", "there is no folder"),
        ("/dev/zero", "is not a file"),
        ("x" * 300, "cannot be used (File name too long)"),
    ],
)
def test_a_place_that_cannot_hold_a_store_is_refused_and_nothing_made(tmp_path, name, found):
    assert found in message_of_opening(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_existing_makes_nothing(tmp_path, path, monkeypatch):
    empty = tmp_path / "empty.db"
    empty.touch()

    for missing in (tmp_path / "no.db", empty):
        with pytest.raises(StoreError, match=f"no store at {missing}; .* run a sweep"):
            Store.existing(missing)
    # The store goes while it is opened.
    monkeypatch.setattr(store_file, "_check_place", lambda *_, **__: path.unlink())
    with pytest.raises(StoreError, match="cannot be read or written"):
        Store.existing(path)

    assert [file.name for file in tmp_path.iterdir()] == ["empty.db"]
    assert empty.read_bytes() == b""


@contextmanager
def unprivileged():
    """Without root's right to write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    # pytest's own folders are closed to others, and the test becomes one of them.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)
        Path(folder).chmod(0o777)


@pytest.mark.parametrize(
    ("of_file", "of_folder", "told"),
    [
        (0o444, 0o777, "is read-only"),
        (0o666, 0o555, "is read-only"),
        (0o666, 0o000, "(Permission denied)"),
    ],
)
def test_what_may_not_be_written_is_refused(whole_store, open_folder, of_file, of_folder, told):
    path = Path(shutil.copy(whole_store, open_folder / "lab.db"))
    path.chmod(of_file)
    open_folder.chmod(of_folder)
    before = path.read_bytes()

    with unprivileged():
        assert told in message_of_opening(path)
        if of_folder != 0o777:
            assert told in message_of_opening(open_folder / "new.db")

    assert path.read_bytes() == before
    assert [file.name for file in open_folder.iterdir()] == ["lab.db"]


# Files that are not a whole store of this version


VERSION = store_schema.VERSION
NEWER = f"another version of batchlab (schema {{}} of its own; this one reads its schema {VERSION})"


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["PRAGMA user_version=70"], NEWER.format(70)),
        (["PRAGMA user_version=0"], NEWER.format(0)),
        # Before the first release other tables had the same number.
        (["DROP TABLE timings"], NEWER.format(VERSION)),
        (["PRAGMA application_id=7"], "it is the SQLite file of another program"),
    ],
)
def test_a_store_of_another_version_is_refused_and_left_as_it_is(path, statements, told):
    sql(path, *statements)
    before = path.read_bytes()

    assert told in message_of_opening(path)

    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["lab.db"]


def test_a_store_whose_tables_cannot_be_made_is_left_empty(tmp_path, monkeypatch):
    path = tmp_path / "lab.db"
    tables = store_schema.TABLES
    monkeypatch.setattr(store_schema, "TABLES", tables | {"later": "CREATE nothing"})
    assert "SQLite says" in message_of_opening(path)
    monkeypatch.setattr(store_schema, "TABLES", tables)

    with Store(path) as store:
        put_study(store, STUDY)
        assert store.study().records == STUDY.records


def test_a_store_cut_short_anywhere_is_refused_and_left_as_it_is(path):
    whole = path.read_bytes()
    lengths = [15, 16, 99, 100, 511, 4095, *range(4096, len(whole), 4096)]

    for length in lengths:
        path.write_bytes(whole[:length])
        assert "is not a whole batchlab store" in message_of_opening(path), length
        assert path.read_bytes() == whole[:length]


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_changed_bytes_that_are_found_out_are_a_store_error_and_stay(whole_store, data):
    whole = bytearray(whole_store.read_bytes())
    start = data.draw(st.integers(0, len(whole) - 1))
    junk = data.draw(st.binary(min_size=1, max_size=64))
    whole[start : start + len(junk)] = junk
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lab.db"
        path.write_bytes(whole)

        try:
            with Store(path) as store:
                store.study()
                store.timings(STUDY.workload.workload_id, "cpu", place=None)
        except StoreError:
            left = path.read_bytes()
        else:
            return  # the bytes lay where nothing was, or said something else that can be true

        assert left == whole


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trials SET record = '{}'",
        "UPDATE evaluations SET evaluation = '[1'",
        "UPDATE workloads SET summary = 'null'",
        "DELETE FROM workloads",
        "UPDATE studies SET study = x'00'",
        "UPDATE trials SET record = CAST(x'ff' AS TEXT)",
    ],
)
def test_a_store_that_another_program_changed_is_called_damaged(path, statement):
    sql(path, statement)

    with Store.existing(path) as store, pytest.raises(StoreError, match=r"lab\.db is not a whole"):
        store.study()


# Others at the same file


def test_a_store_that_another_program_writes_to_is_in_use(path, monkeypatch):
    monkeypatch.setattr(store_file, "BUSY_TIMEOUT_S", 0.1)
    with Store(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="is in use"):
            store.put_evaluations(TRIAL_ID, [an_evaluation(1)])
        assert store.study().records == STUDY.records  # reading goes on

        other.execute("ROLLBACK")
        store.put_evaluations(TRIAL_ID, [an_evaluation(1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")

        assert "is in use: another program has held it for 0.1 s" in message_of_opening(path)


def test_a_store_that_is_just_being_made_by_another_is_waited_for(path):
    sql(path, "PRAGMA journal_mode=DELETE")  # as it is until its maker has turned WAL on
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        ends = threading.Timer(0.1, other.execute, ["ROLLBACK"])
        ends.start()

        with Store(path) as store:
            journal = store._connection.execute("PRAGMA journal_mode").fetchone()
        ends.join()

    assert journal == ("wal",)


def test_a_writer_killed_in_the_middle_of_a_commit_is_undone(path):
    # What it leaves where WAL can't work: pages half changed, and the journal that undoes them.
    sql(path, "PRAGMA journal_mode=DELETE")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_spill=1")
        writer.execute("PRAGMA cache_size=1")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE evaluations SET evaluation = zeroblob(3000)")
        half = path.with_name("half.db")
        shutil.copy(path, half)
        shutil.copy(f"{path}-journal", f"{half}-journal")
        writer.execute("ROLLBACK")
    assert half.read_bytes() != path.read_bytes()

    with Store.existing(half) as store:
        assert store.study().records == STUDY.records


# A full disk


@pytest.mark.parametrize(
    ("free_bytes", "expected"), [(0, "the disk is full"), (10**9, "cannot be read or written")]
)
def test_a_failed_write_is_a_full_disk_only_if_it_is_full(path, monkeypatch, free_bytes, expected):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free_bytes))
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR

    with pytest.raises(StoreError, match=expected), store_file.explained(path):
        raise error
