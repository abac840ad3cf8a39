"""A journal, and the engine that replays it: after an interruption all is as it was."""

import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.by_day import by_day
from tests.reference.local_engine import ask, engine_on, shape
from tests.reference.made_up import made_up_record, made_up_trial
from tests.reference.made_up_study import STUDY, store_with_study
from tests.reference.simulated_engine import ForgetfulEngine, Truth
from tests.reference.simulated_question import question

from batchlab.advice.advice import Advice
from batchlab.advice.advisor import advise
from batchlab.errors import StoreError
from batchlab.records.estimate import Reason
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Status, Target, Trial, TrialRecord
from batchlab.runs.contract import CostModel, run_all
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.replay import Journal, JournalEntry, ReplayingEngine, stored_journal
from batchlab.store.store import Store

LENGTH = RunLength(steps=5, until=Target(metric="accuracy", value=0.9, better="higher"))
PACE = CostModel(steps_s=(1.25, 0.5), starts=(2, 0.1))
TRIAL = made_up_trial(batch_size=10, n_train=40)
REQUEST = RunRequest(trial=TRIAL, length=LENGTH)
FURTHER = RunRequest(trial=TRIAL, length=RunLength(steps=9))
OTHER = RunRequest(trial=replace(TRIAL, seed=1), length=LENGTH)


def end_of(request: RunRequest, *notes: Reason) -> tuple[RunRequest, TrialRecord]:
    steps = request.last_step
    (evaluation,) = made_up_record(trial=request.trial, epochs=0).evaluations
    evaluation = replace(evaluation, step=steps, samples=10 * steps)
    made = made_up_record(trial=request.trial, target=request.length.until)
    record = replace(made, engine="toy", evaluations=(evaluation,), notes=notes)
    return request, record


def put_ends(store: Store, *ends: tuple[RunRequest, TrialRecord]) -> Journal:
    journal = Journal(store, STUDY)
    for end in ends:
        journal.put_end(*end, PACE, n_workers=2, spent_s=7.0)
    return journal


def test_what_was_written_is_replayed_in_its_order(store):
    journal = Journal(store, replace(STUDY, margin=0.02))
    journal.put_study(LENGTH.until)
    begun = {"profile": "{}", "elsewhere": '{"gpu": 1}', "budget_s": 100.0, "n_workers": 2}
    journal.begin(JournalEntry(**begun, spent_s=1.0))  # type: ignore[arg-type]
    for reading_s in (1.5, 0.1 + 0.2):
        journal.reading_s(lambda now_s=reading_s: now_s)
    journal.put_readings(spent_s=2.0, in_turn=((2.0, 1.9),))
    journal.put_readings(spent_s=3.0, in_turn=())
    put_ends(store, end_of(REQUEST))

    again = Journal(store, STUDY)

    assert (store.study().margin, store.study().target) == (0.02, LENGTH.until)
    assert (again.profiles, again.first.budget_s, again.spent_before_s) == (("{}",), 100.0, 7.0)
    assert [again.reading_s(lambda: 9.0) for _ in range(3)] == [1.5, 0.1 + 0.2, 9.0]
    assert [again.replayed_in_turn() for _ in range(3)] == [((2.0, 1.9),), (), None]
    *end, entry = again.replayed_end([OTHER, REQUEST]) or (None, None)
    assert (tuple(end), entry and entry.cost_model) == (end_of(REQUEST), PACE)
    assert stored_journal(store, STUDY.study_id)[0].elsewhere == '{"gpu": 1}'


def test_ends_come_back_in_the_order_of_finishing_as_they_were_then(store):
    """The stored trial goes further by now, and its patience was over then."""
    stopped = Reason.of("stopped_early", epochs=3, best=1, metric="accuracy")
    put_ends(store, end_of(OTHER), end_of(REQUEST), end_of(FURTHER, stopped))

    again = Journal(store, STUDY)

    ends = [again.replayed_end([REQUEST, OTHER, FURTHER]) for _ in range(3)]
    found = [(request, end.steps, end.has_ended_itself) for request, end, _ in ends]  # type: ignore[misc]
    assert found == [(OTHER, 5, False), (REQUEST, 5, False), (FURTHER, 9, True)]


@pytest.mark.parametrize("other", [OTHER, replace(REQUEST, length=RunLength(steps=6))])
def test_other_runs_than_before_end_the_replay(store, other):
    journal = put_ends(store, end_of(REQUEST))
    journal.reading_s(lambda: 2.0)
    journal.put_readings(spent_s=2.0)

    again = Journal(store, STUDY)

    assert again.replayed_end([other]) is None
    assert again.reading_s(lambda: 9.0) == 9.0


def test_decisions_changed_by_another_program_are_refused(store):
    put_ends(store, end_of(REQUEST))
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE studies SET decisions = '[{\"record\": 3}]'")

    with pytest.raises(StoreError, match="its content cannot be read"):
        stored_journal(store, "study")


# An engine that knows nothing of journals, and keeps no records


# A power of two, so that times add up to the same last bit however they are added.
STEP_S = 2.0**-10
BUDGET_S = 128.0


@dataclass
class Toy(ForgetfulEngine):
    """It ends as it is told at the n-th run that it would begin."""

    ends_at: int | None = None
    end: Callable[[], None] = field(default=lambda: None)

    def trial(self, *, batch_size: int, learning_rate: float, seed: int, horizon=1.0) -> Trial:
        of = {"workload_id": "made-up-id", "workload": "small", "n_train": 20_000}
        return Trial(**of, batch_size=batch_size, learning_rate=learning_rate, seed=seed)

    def answer(self, request: RunRequest) -> TrialRecord:
        if len(self.asked) == self.ends_at:
            self.end()
        return super().answer(request)


def toy(**named: Any) -> Toy:
    return Toy(truth=Truth(), step_s=lambda batch_size: STEP_S, **named)


def interrupt() -> None:
    raise KeyboardInterrupt


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def advised(path: Path, engine: Toy) -> Advice:
    with store_with_study(path) as store:
        journal = Journal(store, STUDY)
        asked = question(lambda batch_size: STEP_S, budget_s=BUDGET_S, sizes=(16, 64, 256))
        engine.elapsed_s = journal.spent_before_s
        advice = advise(asked, ReplayingEngine(engine, journal))
        journal.put_study(advice.target)
        journal.put_readings(spent_s=engine.spent_s())
        return advice


def ends_in(path: Path) -> list[Any]:
    with Store.existing(path) as store:
        entries = stored_journal(store, STUDY.study_id)
        return [(each.record, each.length, each.steps) for each in entries if each.record]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The advice that asks for one run at a time, and how its runs ended."""
    path = tmp_path_factory.mktemp("undisturbed") / "lab.db"
    return advised(path, toy(n_workers=1)), ends_in(path)


ENDS_AT = [(2, 0), (2, 3), (2, 8), (2, 13), (1, 0), (1, 1), (1, 6), (1, 13)]


@pytest.mark.slow
@pytest.mark.parametrize(("n_workers", "n"), by_day(ENDS_AT, [(2, 8), (1, 0), (1, 6)]))
def test_interrupted_anywhere_nothing_is_run_again(tmp_path, undisturbed, n_workers, n):
    with pytest.raises(KeyboardInterrupt):
        advised(tmp_path / "lab.db", toy(n_workers=n_workers, ends_at=n, end=interrupt))
    before, resumed = ends_in(tmp_path / "lab.db"), toy(n_workers=n_workers)

    advice = advised(tmp_path / "lab.db", resumed)

    after, idle = ends_in(tmp_path / "lab.db"), toy(n_workers=n_workers)
    assert after[: len(before)] == before
    assert len(resumed.asked) == len(after) - len(before)
    assert (advised(tmp_path / "lab.db", idle), idle.asked) == (advice, [])
    with Store.existing(tmp_path / "lab.db") as store:
        records = store.study(STUDY.study_id).records
    assert len(records) == advice.n_trials
    assert all(record.ended_well and record.engine == "simulated" for record in records)
    if n_workers == 1:  # one at a time, an interruption changes nothing at all
        assert (advice, after) == undisturbed


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_advice(tmp_path, undisturbed):
    lab = tmp_path / "lab.db"
    n_done = []
    for n in (3, 6, 4):  # runs begun in the process when it is killed
        pid = os.fork()
        if pid == 0:
            try:
                advised(lab, toy(n_workers=1, ends_at=n, end=kill))
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status)
        n_done.append(len(ends_in(lab)))

    resumed = advised(lab, toy(n_workers=1))

    assert n_done == [3, 9, 13]
    assert resumed == undisturbed[0]


# Training on this machine


def test_replayed_runs_are_what_they_were_and_train_nothing(store, packed, monkeypatch):
    def study() -> list[Any]:
        engine = ReplayingEngine(engine_on(store, packed), Journal(store, STUDY))
        seen: list[Any] = []
        for steps in (8, 24):
            seen += (engine.spent_s(), engine.expected_s(10, RunLength(steps=100)))
            requests = [ask(engine, steps=steps), ask(engine, batch_size=20, steps=8)]
            seen += ((record.status, shape(record)) for record in run_all(engine, requests))
        return seen

    first = study()
    monkeypatch.setattr(ProcessEngine, "submit", None)

    assert study() == first


def test_a_run_ended_by_the_budget_is_replayed_as_such(store, packed):
    records = []
    for budget_s in (0.0, 1e6):
        inner = engine_on(store, packed, budget_s=budget_s)
        engine = ReplayingEngine(inner, Journal(store, STUDY))
        records += run_all(engine, [ask(engine)])

    assert [record.status for record in records] == [Status.TIMEOUT] * 2


def test_how_many_runs_went_at_a_time_is_replayed(store, packed, monkeypatch):
    def seen(nodes: list[int]) -> list[int]:
        monkeypatch.setattr(ProcessEngine, "n_workers", property(lambda self: nodes[0]))
        journal = Journal(store, STUDY)
        inner = engine_on(store, packed)
        if journal.first.budget_s is None:
            journal.begin(JournalEntry(budget_s=9.0, n_workers=inner.n_workers))
        engine = ReplayingEngine(inner, journal)
        found = [engine.n_workers]
        for steps in (4, 8, 12):
            run_all(engine, [ask(engine, steps=steps)])
            found.append(engine.n_workers)
            nodes[:-1] = nodes[1:]
        return found

    first = seen([2, 3, 5, 5])

    assert first == [2, 2, 3, 5]
    assert seen([7, 7]) == first
