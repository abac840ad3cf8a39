from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.engines.test_local_processes import made_up_summary
from tests.reference.made_up_advice import made_up_advice, one_sided_advice

from batchlab.advice.advice import Advice
from batchlab.engines.cost_model import CostModel
from batchlab.engines.journal import Journal, RunEnd, stored_journal
from batchlab.errors import StoreError
from batchlab.records.trial import RunLength, Status, Target
from batchlab.store.store import Store

LENGTH = RunLength(steps=5, until=Target(metric="accuracy", value=0.9, better="higher"))
PACE = CostModel(steps_s=((8, 1.25, 0.5),), starts=(2, 0.1))
RUN = RunEnd(trial_id="a", length=LENGTH, steps=5, status=Status.OK, reason=None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store(tmp_path / "lab.db")
    opened.put_workload(made_up_summary())
    opened.put_study(
        study_id="study",
        command="batchlab advise",
        workload_id="made-up-id",
        environment=(),
        trial_ids=(),
    )
    return opened


def test_a_new_study_has_an_empty_journal(store: Store) -> None:
    journal = Journal(store, "study")

    assert (journal.profile, journal.advice, journal.spent_before_s) == (None, None, 0.0)
    assert journal.replayed_reading_s() is None
    assert journal.replayed_runs([("a", LENGTH)]) is None


def test_what_was_written_is_replayed_in_its_order(store: Store) -> None:
    journal = Journal(store, "study")
    journal.begin(profile="{}", budget_s=100.0, spent_s=1.0)
    for reading_s in (1.5, 0.1 + 0.2):
        journal.put_reading(reading_s)
    journal.put_readings(spent_s=2.0)
    journal.put_runs([RUN], PACE, spent_s=7.0)

    again = Journal(store, "study")

    assert (again.profile, again.budget_s, again.spent_before_s) == ("{}", 100.0, 7.0)
    assert [again.replayed_reading_s() for _ in range(3)] == [1.5, 0.1 + 0.2, None]
    decision = again.replayed_runs([("a", LENGTH)])
    assert decision is not None
    assert (decision.runs, decision.cost_model) == ((RUN,), PACE)


def test_the_profile_of_another_machine_is_kept_beside_that_of_this_one(store: Store) -> None:
    journal = Journal(store, "study")
    journal.begin(profile="{}", elsewhere='{"gpu": 1}', budget_s=100.0, spent_s=1.0)

    (first,) = stored_journal(store, "study")

    assert (first.profile, first.elsewhere) == ("{}", '{"gpu": 1}')
    assert Journal(store, "study").profile == "{}"


def test_readings_before_which_nothing_was_done_are_not_kept(store: Store) -> None:
    Journal(store, "study").put_reading(3.0)

    assert Journal(store, "study").replayed_reading_s() is None


@pytest.mark.parametrize("other", [("b", LENGTH), ("a", RunLength(steps=6))])
def test_other_runs_than_before_end_the_replay(store: Store, other: tuple[str, RunLength]) -> None:
    journal = Journal(store, "study")
    journal.put_runs([RUN], PACE, spent_s=1.0)
    journal.put_reading(2.0)
    journal.put_readings(spent_s=2.0)

    again = Journal(store, "study")

    assert again.replayed_runs([other]) is None
    assert again.replayed_reading_s() is None


@pytest.mark.parametrize("advice", [made_up_advice(), one_sided_advice()])
def test_an_advice_is_kept_to_the_last_bit(store: Store, advice: Advice) -> None:
    Journal(store, "study").put_advice(advice)

    assert Journal(store, "study").advice == advice


def test_decisions_changed_by_another_program_are_refused(store: Store) -> None:
    Journal(store, "study").put_runs([RUN], PACE, spent_s=1.0)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE studies SET decisions = '[{\"runs\": 3}]'")

    with pytest.raises(StoreError, match="does not read as batchlab wrote it"):
        stored_journal(store, "study")


def test_decisions_of_no_study_are_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no study 'other'"):
        store.put_decisions("other", "[]")

    assert store.decisions("other") is None
