from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_record, made_up_trial
from tests.reference.made_up_study import STUDY, store_with_study

from batchlab.errors import StoreError
from batchlab.records.estimate import Reason
from batchlab.records.run import RunEnd, RunLength, RunRequest
from batchlab.records.study import BestSoFar
from batchlab.records.trial import Target
from batchlab.runs.contract import CostModel
from batchlab.runs.replay import Journal, stored_journal
from batchlab.store.store import Store

LENGTH = RunLength(steps=5, until=Target(metric="accuracy", value=0.9, better="higher"))
PACE = CostModel(steps_s=((8, 1.25, 0.5),), starts=(2, 0.1))


TRIAL = made_up_trial(batch_size=10, n_train=40)
REQUEST = RunRequest(trial=TRIAL, length=LENGTH)
OTHER = RunRequest(trial=replace(TRIAL, seed=1), length=LENGTH)


def end_of(request: RunRequest, *, steps: int = 5) -> RunEnd:
    (evaluation,) = made_up_record(trial=request.trial, epochs=0).evaluations
    evaluation = replace(evaluation, step=steps, samples=10 * steps)
    made = made_up_record(trial=request.trial, target=request.length.until)
    record = replace(made, engine="toy", evaluations=(evaluation,))
    return RunEnd(request=request, record=record)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_with_study(tmp_path / "lab.db")


def test_what_was_written_is_replayed_in_its_order(store: Store) -> None:
    journal = Journal(store, STUDY)
    journal.begin(profile="{}", budget_s=100.0, spent_s=1.0)
    for reading_s in (1.5, 0.1 + 0.2):
        journal.note_reading(reading_s)
    journal.put_readings(spent_s=2.0)
    journal.put_end(end_of(REQUEST), PACE, spent_s=7.0)

    again = Journal(store, STUDY)

    assert (again.profiles, again.budget_s, again.spent_before_s) == (("{}",), 100.0, 7.0)
    assert [again.replayed_reading_s() for _ in range(3)] == [1.5, 0.1 + 0.2, None]
    assert again.replayed_end([OTHER, REQUEST], engine="toy") == (end_of(REQUEST), PACE)


def test_ends_come_back_in_the_order_of_finishing_as_they_were_then(store: Store) -> None:
    journal = Journal(store, STUDY)
    for request in (OTHER, REQUEST):
        journal.put_end(end_of(request), PACE, spent_s=1.0)
    further = RunRequest(trial=TRIAL, length=RunLength(steps=9))
    journal.put_end(end_of(further, steps=9), PACE, spent_s=2.0)

    again = Journal(store, STUDY)

    ends = [again.replayed_end([REQUEST, OTHER, further], engine="toy") for _ in range(3)]
    assert [found and found[0].request for found in ends] == [OTHER, REQUEST, further]
    # The stored trial goes further by now.
    assert [found and found[0].record.steps for found in ends] == [5, 5, 9]


def test_an_end_before_the_patience_was_over_is_not_replayed_as_one_after_it(store: Store) -> None:
    stopped = Reason.of("stopped_early", epochs=3, best=1, metric="accuracy")
    further = RunRequest(trial=TRIAL, length=RunLength(steps=9))
    journal = Journal(store, STUDY)
    journal.put_end(end_of(REQUEST), PACE, spent_s=1.0)
    last = end_of(further, steps=9)
    journal.put_end(replace(last, record=replace(last.record, notes=(stopped,))), PACE, spent_s=2.0)
    seen = (*end_of(REQUEST).record.evaluations, *last.record.evaluations)
    store.put_record(replace(last.record, evaluations=seen, notes=(stopped,)))

    again = Journal(store, STUDY)

    ends = [again.replayed_end([REQUEST, further], engine="toy") for _ in range(2)]
    assert [found and found[0].record.has_ended_itself for found in ends] == [False, True]


def test_the_profile_of_another_machine_is_kept_beside_that_of_this_one(store: Store) -> None:
    journal = Journal(store, STUDY)
    journal.begin(profile="{}", elsewhere='{"gpu": 1}', budget_s=100.0, spent_s=1.0)

    (first,) = stored_journal(store, "study")

    assert (first.profile, first.elsewhere) == ("{}", '{"gpu": 1}')
    assert Journal(store, STUDY).profiles == ("{}",)


def test_what_leads_is_kept_for_who_looks_on_and_by_who_goes_on(store: Store) -> None:
    best = BestSoFar(batch_size=8, learning_rate=0.1, quantity="time_to_target_s", value=2.5)
    journal = Journal(store, STUDY)
    journal.begin(profile="{}", budget_s=100.0, spent_s=1.0)
    journal.note_best(best)
    journal.put_readings(spent_s=2.0)

    Journal(store, STUDY).put_end(end_of(REQUEST), PACE, spent_s=3.0)

    assert [entry.best for entry in stored_journal(store, "study")] == [None, best, best]


@pytest.mark.parametrize("other", [OTHER, replace(REQUEST, length=RunLength(steps=6))])
def test_other_runs_than_before_end_the_replay(store: Store, other: RunRequest) -> None:
    journal = Journal(store, STUDY)
    journal.put_end(end_of(REQUEST), PACE, spent_s=1.0)
    journal.note_reading(2.0)
    journal.put_readings(spent_s=2.0)

    again = Journal(store, STUDY)

    assert again.replayed_end([other], engine="toy") is None
    assert again.replayed_reading_s() is None


def test_decisions_changed_by_another_program_are_refused(store: Store) -> None:
    Journal(store, STUDY).put_end(end_of(REQUEST), PACE, spent_s=1.0)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE studies SET decisions = '[{\"runs\": 3}]'")

    with pytest.raises(StoreError, match="does not read as batchlab wrote it"):
        stored_journal(store, "study")
