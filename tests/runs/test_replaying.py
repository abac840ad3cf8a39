"""A journal, and the engine that replays it: after an interruption all is as it was."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.local_engine import Clock, ask, engine_on, shape
from tests.reference.made_up import made_up_record, made_up_trial
from tests.reference.made_up_study import STUDY, store_with_study
from tests.reference.toy_study import advised, interrupt, toy

from batchlab.errors import StoreError
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.run import RunEnd, RunLength, RunRequest
from batchlab.records.study import BestSoFar
from batchlab.records.trial import Status, Target
from batchlab.runs.contract import CostModel, run_all
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.replay import Journal, JournalEntry, ReplayingEngine, stored_journal
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


def test_a_study_under_way_has_the_margin_that_was_given(store: Store) -> None:
    Journal(store, replace(STUDY, margin=0.02)).put_study(LENGTH.until)

    assert store.study().margin == 0.02
    assert store.study().target == LENGTH.until


def test_what_was_written_is_replayed_in_its_order(store: Store) -> None:
    journal = Journal(store, STUDY)
    journal.begin(JournalEntry(profile="{}", budget_s=100.0, n_workers=2, spent_s=1.0))
    for reading_s in (1.5, 0.1 + 0.2):
        journal.note_reading(reading_s)
    journal.put_readings(spent_s=2.0)
    journal.put_end(end_of(REQUEST), PACE, n_workers=2, spent_s=7.0)

    again = Journal(store, STUDY)

    assert (again.profiles, again.budget_s, again.spent_before_s) == (("{}",), 100.0, 7.0)
    assert [again.replayed_reading_s() for _ in range(3)] == [1.5, 0.1 + 0.2, None]
    replayed = again.replayed_end([OTHER, REQUEST], engine="toy")
    assert replayed is not None
    assert (replayed[0], replayed[1].cost_model) == (end_of(REQUEST), PACE)


def test_ends_come_back_in_the_order_of_finishing_as_they_were_then(store: Store) -> None:
    journal = Journal(store, STUDY)
    for request in (OTHER, REQUEST):
        journal.put_end(end_of(request), PACE, n_workers=2, spent_s=1.0)
    further = RunRequest(trial=TRIAL, length=RunLength(steps=9))
    journal.put_end(end_of(further, steps=9), PACE, n_workers=2, spent_s=2.0)

    again = Journal(store, STUDY)

    ends = [again.replayed_end([REQUEST, OTHER, further], engine="toy") for _ in range(3)]
    assert [found and found[0].request for found in ends] == [OTHER, REQUEST, further]
    # The stored trial goes further by now.
    assert [found and found[0].record.steps for found in ends] == [5, 5, 9]


def test_an_end_before_the_patience_was_over_is_not_replayed_as_one_after_it(store: Store) -> None:
    stopped = Reason.of("stopped_early", epochs=3, best=1, metric="accuracy")
    further = RunRequest(trial=TRIAL, length=RunLength(steps=9))
    journal = Journal(store, STUDY)
    journal.put_end(end_of(REQUEST), PACE, n_workers=2, spent_s=1.0)
    last = end_of(further, steps=9)
    journal.put_end(
        replace(last, record=replace(last.record, notes=(stopped,))), PACE, n_workers=2, spent_s=2.0
    )
    seen = (*end_of(REQUEST).record.evaluations, *last.record.evaluations)
    store.put_record(replace(last.record, evaluations=seen, notes=(stopped,)))

    again = Journal(store, STUDY)

    ends = [again.replayed_end([REQUEST, further], engine="toy") for _ in range(2)]
    assert [found and found[0].record.has_ended_itself for found in ends] == [False, True]


def test_what_was_timed_in_turn_is_replayed_with_the_readings_before_it(store: Store) -> None:
    journal = Journal(store, STUDY)
    journal.note_reading(1.5)
    journal.put_readings(spent_s=2.0, in_turn=((2.0, 1.9),))
    journal.put_readings(spent_s=3.0, in_turn=())

    again = Journal(store, STUDY)

    assert [again.replayed_in_turn() for _ in range(3)] == [((2.0, 1.9),), (), None]
    assert again.replayed_reading_s() == 1.5
    assert again.profiles == ()


def test_the_profile_of_another_machine_is_kept_beside_that_of_this_one(store: Store) -> None:
    journal = Journal(store, STUDY)
    journal.begin(
        JournalEntry(profile="{}", elsewhere='{"gpu": 1}', budget_s=100.0, n_workers=2, spent_s=1.0)
    )

    (first,) = stored_journal(store, "study")

    assert (first.profile, first.elsewhere) == ("{}", '{"gpu": 1}')
    assert Journal(store, STUDY).profiles == ("{}",)


def test_what_leads_is_kept_for_who_looks_on_and_by_who_goes_on(store: Store) -> None:
    best = BestSoFar(batch_size=8, learning_rate=0.1, quantity="time_to_target_s", value=2.5)
    journal = Journal(store, STUDY)
    journal.begin(JournalEntry(profile="{}", budget_s=100.0, n_workers=2, spent_s=1.0))
    journal.note_best(best)
    journal.put_readings(spent_s=2.0)

    Journal(store, STUDY).put_end(end_of(REQUEST), PACE, n_workers=2, spent_s=3.0)

    assert [entry.best for entry in stored_journal(store, "study")] == [None, best, best]


@pytest.mark.parametrize("other", [OTHER, replace(REQUEST, length=RunLength(steps=6))])
def test_other_runs_than_before_end_the_replay(store: Store, other: RunRequest) -> None:
    journal = Journal(store, STUDY)
    journal.put_end(end_of(REQUEST), PACE, n_workers=2, spent_s=1.0)
    journal.note_reading(2.0)
    journal.put_readings(spent_s=2.0)

    again = Journal(store, STUDY)

    assert again.replayed_end([other], engine="toy") is None
    assert again.replayed_reading_s() is None


def test_decisions_changed_by_another_program_are_refused(store: Store) -> None:
    Journal(store, STUDY).put_end(end_of(REQUEST), PACE, n_workers=2, spent_s=1.0)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE studies SET decisions = '[{\"runs\": 3}]'")

    with pytest.raises(StoreError, match="does not read as batchlab wrote it"):
        stored_journal(store, "study")


def ends_in(path: Path) -> list[Any]:
    with Store.existing(path) as store:
        return [end for entry in stored_journal(store, STUDY.study_id) for end in entry.runs]


# An engine that knows nothing of journals


def test_ends_are_replayed_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    first = toy()
    advice = advised(tmp_path / "lab.db", first)
    finished = [end.trial_id for end in ends_in(tmp_path / "lab.db")]

    idle = toy()
    again = advised(tmp_path / "lab.db", idle)

    assert finished != [request.trial.trial_id for request in first.asked]
    assert idle.asked == []
    assert again == advice


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 3, 8, 13])
def test_interrupted_anywhere_nothing_that_came_back_is_run_again(tmp_path: Path, n: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        advised(tmp_path / "lab.db", toy(ends_at=n, end=interrupt))
    before = ends_in(tmp_path / "lab.db")

    resumed = toy()
    advised(tmp_path / "lab.db", resumed)

    after = ends_in(tmp_path / "lab.db")
    assert after[: len(before)] == before
    assert len(resumed.asked) == len(after) - len(before)


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 1, 6, 13])
def test_one_at_a_time_an_interruption_changes_nothing_at_all(tmp_path: Path, n: int) -> None:
    undisturbed = advised(tmp_path / "other.db", toy(n_workers=1))
    with pytest.raises(KeyboardInterrupt):
        advised(tmp_path / "lab.db", toy(n_workers=1, ends_at=n, end=interrupt))

    resumed = advised(tmp_path / "lab.db", toy(n_workers=1))

    assert resumed == undisturbed
    assert ends_in(tmp_path / "lab.db") == ends_in(tmp_path / "other.db")


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_advice(tmp_path: Path) -> None:
    undisturbed = advised(tmp_path / "other.db", toy(n_workers=1))
    lab = tmp_path / "lab.db"
    n_done = [0]
    for n in (3, 6, 4):  # runs begun in this process when it is killed
        code = (
            "from pathlib import Path\n"
            "from tests.reference.toy_study import advised, kill, toy\n"
            f"advised(Path({str(lab)!r}), toy(n_workers=1, ends_at={n}, end=kill))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        n_done.append(len(ends_in(lab)))

    resumed = advised(lab, toy(n_workers=1))

    assert n_done == [0, 3, 9, 13]
    assert resumed == undisturbed


@pytest.mark.slow
def test_the_records_of_an_engine_that_keeps_none_are_in_the_study(tmp_path: Path) -> None:
    engine = toy()
    advice = advised(tmp_path / "lab.db", engine)

    with Store.existing(tmp_path / "lab.db") as store:
        study = store.study(STUDY.study_id)
    assert len(study.records) == advice.n_trials
    assert {record.status for record in study.records} <= {Status.TARGET_REACHED, Status.OK}
    assert all(record.engine == "simulated" for record in study.records)
    assert sum(record.steps for record in study.records) > 0


# Training on this machine


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[RunRequest]:
    """What was really handed to the engine inside."""
    requests: list[RunRequest] = []
    submit = ProcessEngine.submit

    def counted(self: Any, request: RunRequest, **named: Any) -> None:
        requests.append(request)
        submit(self, request, **named)

    monkeypatch.setattr(ProcessEngine, "submit", counted)
    return requests


def replaying_on(store: Store, packed: PackedWorkload, **named: Any) -> ReplayingEngine:
    return ReplayingEngine(engine_on(store, packed, **named), Journal(store, STUDY))


@pytest.mark.slow
def test_replayed_runs_are_what_they_were_and_train_nothing(
    lab: Path, packed: PackedWorkload, submitted: list[RunRequest]
) -> None:
    def study(engine: ReplayingEngine) -> list[tuple[Any, ...]]:
        seen: list[tuple[Any, ...]] = []
        for steps in (8, 24):
            seen.append((engine.spent_s(), engine.expected_s(10, RunLength(steps=100))))
            requests = [ask(engine, steps=steps), ask(engine, batch_size=20, steps=8)]
            seen += [
                (record.status, record.steps, shape(record)) for record in run_all(engine, requests)
            ]
        return [*seen, (engine.spent_s(),)]

    with Store(lab) as store:
        first = study(replaying_on(store, packed))
        submitted.clear()
        again = study(replaying_on(store, packed, clock=Clock()))

    # The last reading was not stored: nothing was done after it.
    assert again[:-1] == first[:-1]
    assert submitted == []


def test_how_many_runs_went_at_a_time_is_replayed_whatever_the_cluster_has_by_now(
    lab: Path, packed: PackedWorkload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(store: Store, nodes: list[int]) -> list[int]:
        monkeypatch.setattr(ProcessEngine, "n_workers", property(lambda self: nodes[0]))
        journal = Journal(store, STUDY)
        inner = engine_on(store, packed)
        if journal.budget_s is None:
            journal.begin(
                JournalEntry(profile="{}", budget_s=9.0, n_workers=inner.n_workers, spent_s=0.0)
            )
        engine = ReplayingEngine(inner, journal)
        found = [engine.n_workers]
        for steps in (4, 8, 12):
            run_all(engine, [ask(engine, steps=steps)])
            found.append(engine.n_workers)
            nodes[:-1] = nodes[1:]
        return found

    with Store(lab) as store:
        first = seen(store, [2, 3, 5, 5])
        again = seen(store, [7, 7])

    assert first == [2, 2, 3, 5]
    assert again == first


def test_a_run_ended_by_the_budget_is_replayed_as_such_and_not_trained_on(
    lab: Path, packed: PackedWorkload, submitted: list[RunRequest]
) -> None:
    with Store(lab) as store:
        engine = replaying_on(store, packed, budget_s=0.0)
        (first,) = run_all(engine, [ask(engine)])
        engine = replaying_on(store, packed)
        submitted.clear()
        (again,) = run_all(engine, [ask(engine)])

    assert again == first
    assert submitted == []
