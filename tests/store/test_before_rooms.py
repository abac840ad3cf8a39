"""A store made before schema 2, with the code of then: it opens, and nothing is trained twice."""

from __future__ import annotations

import gzip
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import batchlab
from batchlab.commands import prepared_workload, workload_subject
from batchlab.commands.advised import Advised, advice_of
from batchlab.commands.report import report
from batchlab.engines import local_processes
from batchlab.engines.journal import stored_journal
from batchlab.errors import StoreError
from batchlab.profiling.profile import Profile
from batchlab.store import schema
from batchlab.store.store import Store
from batchlab.training.checkpoint import peek_checkpoint
from batchlab.workload.loading import load_workload

BEFORE = Path(__file__).parent / "before_rooms"
SWEEP, BUILT_IN, ADVISED = "c46161c3e0321d2d", "e9ed4e46b8b8f651", "4a9fff698d129053"
BATCH_SIZES = (32, 128)
COMMAND = (
    "batchlab advise mine.py:workload --batch-sizes 32,64,128 --target accuracy=0.9 --budget 20s "
    "--store before_rooms.db --json --report r3.html"
)


@pytest.fixture
def known_as_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload is known by what it was known by then: its model did not count."""
    monkeypatch.setattr(prepared_workload, "with_seen_model", lambda loaded, timeout_s: loaded)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store with the checkpoints beside it, in the working folder with the user's file."""
    path = tmp_path / "before_rooms.db"
    path.write_bytes(gzip.decompress((BEFORE / "before_rooms.db.gz").read_bytes()))
    shutil.copytree(BEFORE / "checkpoints", tmp_path / "before_rooms.db.checkpoints")
    shutil.copy(BEFORE / "mine.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return path


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def facts(path: Path) -> list[tuple[object, ...]]:
    """All that was observed, under names that the new ids do not change."""
    return rows(
        path,
        "SELECT trial, status, step, samples, train_s, eval_s, batch_loss, scores "
        "FROM trials JOIN evaluations USING (trial_id) ORDER BY trial, step",
    )


def test_it_opens_with_every_fact_under_the_ids_of_now(path: Path) -> None:
    before = facts(path)
    ids_before = {str(found[0]) for found in rows(path, "SELECT trial_id FROM trials")}

    with Store.existing(path) as store:
        for (trial_id,) in rows(path, "SELECT trial_id FROM trials"):
            record = store.record(str(trial_id))
            assert record is not None
            assert record.trial.trial_id == trial_id
            assert trial_id not in ids_before

    assert facts(path) == before
    assert len(before) > 1000
    assert rows(path, "PRAGMA foreign_key_check") == []


def advised_profile(store: Store) -> Profile:
    text = stored_journal(store, ADVISED)[0].profile
    assert text is not None
    return Profile.from_json(text)


def test_its_gradient_norms_are_kept_bit_for_bit_under_their_name(path: Path) -> None:
    before = rows(path, "SELECT step, gradient_norm FROM evaluations ORDER BY trial_id, step")

    with Store.existing(path) as store:
        ids = rows(path, "SELECT trial_id FROM trials ORDER BY files_id")
        records = [store.record(str(trial_id)) for (trial_id,) in ids]

    after = [
        (evaluation.step, dict(evaluation.measured).get("gradient_norm"))
        for record in records
        if record is not None
        for evaluation in record.evaluations
    ]
    assert after == before
    assert sum(norm is not None for _, norm in after) > 1000


@pytest.mark.parametrize(
    ("study_id", "workload", "n_trials"),
    [(SWEEP, "circle", 2), (BUILT_IN, "least-squares", 1), (ADVISED, "circle", 76)],
)
def test_its_studies_are_shown_with_all_their_trials(
    path: Path, study_id: str, workload: str, n_trials: int
) -> None:
    with Store.existing(path) as store:
        study = store.study(study_id)

    assert (study.workload.name, len(study.records)) == (workload, n_trials)
    assert all(record.evaluations for record in study.records)


def test_its_checkpoints_are_found_under_the_names_they_have(path: Path) -> None:
    with Store.existing(path) as store:
        for record in store.study(SWEEP).records:
            progress = peek_checkpoint(store.checkpoint_path(record.trial.trial_id))
            assert progress is not None
            assert progress.step == record.steps
            assert progress.evaluations == record.evaluations


def test_a_users_workload_is_still_the_same_but_for_its_model(path: Path) -> None:
    with Store.existing(path) as store:
        expected = store.study(SWEEP).workload.workload_id

    assert load_workload("mine.py:workload", {}).loaded_id == expected


@pytest.mark.slow
def test_trials_of_then_are_kept_beside_those_of_now(path: Path) -> None:
    before = facts(path)

    batchlab.sweep(
        "mine.py:workload", batch_sizes=BATCH_SIZES, learning_rates=[0.1], epochs=2, store=path
    )

    after = facts(path)
    assert set(before) < set(after)
    assert len({str(trial) for trial, *_ in set(after) - set(before)}) == len(BATCH_SIZES)


@pytest.mark.usefixtures("known_as_then")
def test_a_users_trials_are_reused(path: Path) -> None:
    before = facts(path)

    study = batchlab.sweep(
        "mine.py:workload", batch_sizes=BATCH_SIZES, learning_rates=[0.1], epochs=2, store=path
    )

    assert [record.trial.batch_size for record in study.records] == list(BATCH_SIZES)
    assert facts(path) == before


@pytest.mark.slow
@pytest.mark.usefixtures("known_as_then")
def test_its_advice_is_asked_anew_from_its_trials(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = facts(path)
    with Store.existing(path):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE advices SET version = 0")
    # Its journal holds the profile, so nothing is timed.
    monkeypatch.setattr(workload_subject, "measure_profile", None)
    # It came without the checkpoints of its advice: what is followed further begins again.
    monkeypatch.setattr(local_processes, "refuse_to_train_over", lambda store, trial: None)

    advice = batchlab.advise(
        "mine.py:workload",
        batch_sizes=(32, 64, 128),
        target=("accuracy", 0.9),
        budget="20s",
        store=path,
    )

    # An advisor that decides otherwise than that of then asks for other runs beside these.
    after = facts(path)
    assert {trial for trial, *_ in before} <= {trial for trial, *_ in after}
    assert len(set(before) & set(after)) > 0.9 * len(before)
    assert len(after) < 1.2 * len(before)
    with Store.existing(path) as store:
        assert store.study().study_id == ADVISED
        assert advice_of(store, store.study()) == Advised(
            advice=advice, study=store.study(), profile=advised_profile(store)
        )


def test_the_command_that_asks_its_advice_anew_is_named_where_it_does_not_read(path: Path) -> None:
    with Store.existing(path):
        pass
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE advices SET version = 0")

    told = report(path, study=ADVISED, output_format="text").warning

    assert told is not None
    assert f"does not read, so its trials are shown; this asks anew from them: {COMMAND}" in told


def test_its_advice_is_shown_again(path: Path) -> None:
    text = str(rows(path, "SELECT decisions FROM studies ORDER BY asked")[-1][0])
    answer = json.loads(text)[-1]["advice"]

    with Store.existing(path) as store:
        advised = advice_of(store, store.study(ADVISED))

    assert report(path, study=ADVISED, output_format="text").warning is None
    assert advised is not None
    assert advised.advice.verdict == answer["verdict"]
    assert advised.advice.recommendation is not None
    assert advised.advice.recommendation.learning_rate == answer["recommendation"]["learning_rate"]
    assert advised.advice.gain.estimate == answer["gain"]["estimate"]
    costs = [candidate.cost.estimate for candidate in advised.advice.candidates]
    assert costs == [candidate["score"]["estimate"] for candidate in answer["candidates"]]
    assert advised.advice.reason.named == {"text": answer["reason"]}


def test_a_trial_that_another_program_changed_keeps_its_id_and_is_called_damaged(
    path: Path,
) -> None:
    [(damaged,)] = rows(path, "SELECT min(trial_id) FROM trials")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE trials SET trial = '{}' WHERE trial_id = ?", (damaged,))

    with Store.existing(path) as store, pytest.raises(StoreError, match="is damaged: trial"):
        store.record(str(damaged))


def test_a_kill_while_it_is_brought_up_to_date_leaves_it_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(connection: sqlite3.Connection) -> None:
        raise KeyboardInterrupt

    migrations = schema.MIGRATIONS
    dump = "SELECT trial_id, trial FROM trials ORDER BY 1"
    before = rows(path, dump)
    monkeypatch.setattr(schema, "MIGRATIONS", (*migrations[:-1], (*migrations[-1], killed)))
    with pytest.raises(KeyboardInterrupt):
        Store.existing(path)

    assert rows(path, "PRAGMA user_version") == [(1,)]
    assert rows(path, dump) == before
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    with Store.existing(path) as store:
        assert len(store.study(SWEEP).records) == 2
