from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study

from batchlab.errors import StoreError
from batchlab.store.store import Store
from batchlab.store.unknown_fields import with_unknown_fields

STUDY = made_up_study(batch_sizes=(64,), epochs=1)
WORKLOAD, RECORD, TIMING = STUDY.workload, STUDY.records[0], STUDY.timings[0]
PAYLOADS = {"workloads": "summary", "trials": "trial", "measurements": "value"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lab.db"
    with Store(path) as store:
        store.put_workload(WORKLOAD)
        store.begin_trial(RECORD)
        store.put_timing(TIMING)
    return path


def change(path: Path, table: str, function: str, field: str, value: str) -> None:
    column = PAYLOADS[table]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            f"UPDATE {table} SET {column} = {function}({column}, '{field}', {value})"
        )


def payload(path: Path, table: str) -> dict[str, object]:
    with closing(sqlite3.connect(path)) as connection:
        [(text,)] = connection.execute(f"SELECT {PAYLOADS[table]} FROM {table}").fetchall()
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def read_all(store: Store) -> tuple[object, ...]:
    return (
        store.workload(WORKLOAD.workload_id),
        store.record(RECORD.trial.trial_id),
        store.timings(WORKLOAD.workload_id, "cpu"),
    )


@pytest.mark.parametrize("table", PAYLOADS)
def test_a_payload_says_its_format(path: Path, table: str) -> None:
    assert payload(path, table)["format"] == 1


@pytest.mark.parametrize("table", PAYLOADS)
def test_a_payload_of_before_formats_were_written_reads(path: Path, table: str) -> None:
    with Store(path) as store:
        before = read_all(store)
    with closing(sqlite3.connect(path)) as connection, connection:
        column = PAYLOADS[table]
        connection.execute(f"UPDATE {table} SET {column} = json_remove({column}, '$.format')")

    with Store(path) as store:
        assert read_all(store) == before


@pytest.mark.parametrize("table", PAYLOADS)
def test_fields_of_a_later_version_are_no_damage_and_stay_where_it_is_written_again(
    path: Path, table: str
) -> None:
    with Store(path) as store:
        before = read_all(store)
    change(path, table, "json_insert", "$.later", "json('[1, 0.1]')")

    with Store(path) as store:
        assert read_all(store) == before
        store.put_workload(replace(WORKLOAD, warnings=("new",)))
        store.begin_trial(RECORD)

    assert payload(path, table)["later"] == [1, 0.1]
    assert payload(path, "workloads")["warnings"] == ["new"]


@pytest.mark.parametrize("table", PAYLOADS)
def test_a_payload_of_a_newer_format_is_refused_and_left_as_it_is(path: Path, table: str) -> None:
    change(path, table, "json_replace", "$.format", "2")
    before = payload(path, table)

    with Store(path) as store:
        with pytest.raises(StoreError, match=r"was written by a newer batchlab .*has format 2"):
            read_all(store)
        if table == "workloads":
            with pytest.raises(StoreError, match="update batchlab"):
                store.put_workload(WORKLOAD)

    assert payload(path, table) == before


def test_entries_of_a_journal_keep_what_a_later_version_wrote_there(path: Path) -> None:
    with Store(path) as store:
        store.put_study(
            study_id="s",
            command="batchlab advise",
            workload_id=WORKLOAD.workload_id,
            environment=(),
            trial_ids=(),
        )
        store.put_decisions("s", '[{"a":1,"later":2},{"a":2,"runs":[{"b":1,"later":3}]}]')

        store.put_decisions("s", '[{"a":1},{"a":2,"runs":[{"b":1}]},{"a":3}]')
        grown = store.decisions("s")
        store.put_decisions("s", '[{"a":9}]')
        other = store.decisions("s")

    assert grown is not None
    assert json.loads(grown) == [
        {"a": 1, "later": 2},
        {"a": 2, "runs": [{"b": 1, "later": 3}]},
        {"a": 3},
    ]
    assert other == '[{"a":9}]'


@pytest.mark.parametrize("before", ["", "[", "3", "null", '[{"a":1}]'])
def test_without_unknown_fields_a_payload_is_what_it_is(before: str) -> None:
    assert with_unknown_fields('[{"a":1}]', before) == '[{"a":1}]'
