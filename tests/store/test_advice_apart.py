from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batchlab.store import schema
from batchlab.store.store import Store

ADVICE = {"verdict": "recommend", "delta": 0.1, "gain": {"estimate": 0.30000000000000004}}


def store_of_version_1(path: Path, decisions: str) -> Path:
    """A store as the first version made it, with one study that decided that."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in schema.MIGRATIONS[0]:
            assert isinstance(statement, str)
            connection.execute(statement)
        connection.execute("INSERT INTO workloads VALUES ('w', 'mine', '{}')")
        connection.execute(
            "INSERT INTO studies (study_id, asked, created_at, command, workload_id, environment, "
            "trial_ids, decisions) VALUES ('study', 1, 'then', 'batchlab', 'w', '[]', '[]', ?)",
            (decisions,),
        )
        connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
        connection.execute("PRAGMA user_version=1")
    return path


def test_the_answer_of_a_journal_moves_into_its_own_table(tmp_path: Path) -> None:
    entries = [{"profile": "{}", "advice": None}, {"pace": {}, "advice": ADVICE}]
    path = store_of_version_1(tmp_path / "lab.db", json.dumps(entries))

    with Store(path) as store:
        advice, decisions = store.advice("study", version=1), store.decisions("study")

    assert advice is not None
    assert json.loads(advice) == ADVICE
    assert decisions is not None
    assert json.loads(decisions) == [{"profile": "{}"}, {"cost_model": {}}]


@pytest.mark.parametrize("decisions", ["[]", '[{"profile": "{}"}]', "[", '[{"advice"', '"x"'])
def test_a_journal_without_an_answer_stays_as_it_is(tmp_path: Path, decisions: str) -> None:
    path = store_of_version_1(tmp_path / "lab.db", decisions)

    with Store(path) as store:
        assert store.advice("study", version=1) is None
        assert store.decisions("study") == decisions
