"""The page of a study that runs: made anew when something was stored, and not too often."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import made_up_advice
from tests.reference.made_up_study import STUDY as ADVISED
from tests.reference.made_up_study import store_with_study
from tests.reference.stored_advice import put_advised
from tests.reference.stored_study import put_asked, put_study

from batchlab.commands import live_report
from batchlab.commands.advised import Advised
from batchlab.commands.live_report import LiveReport, refuse_unreadable
from batchlab.engines.journal import Journal
from batchlab.errors import StoreError, UsageError
from batchlab.records.best_so_far import BestSoFar
from batchlab.records.study import Study
from batchlab.records.trial import Status
from batchlab.report.progress.lines import progress_lines
from batchlab.report.progress.state import ProgressState
from batchlab.store.store import Store

STUDY = made_up_study(batch_sizes=(64, 256), epochs=3)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[int]:
    """How many records each page had that was made; making one takes two seconds."""
    made: list[int] = []

    def page_of(shown: Study | Advised) -> str:
        clock.now_s += 2.0
        study = shown.study if isinstance(shown, Advised) else shown
        made.append(len(study.records))
        what = "an advice" if isinstance(shown, Advised) else "trials"
        return f"<html><body><p>{what}: {len(study.records)}</p></body></html>"

    monkeypatch.setattr(live_report, "page_of", page_of)
    return made


def begun(path: Path, study: Study = STUDY) -> Store:
    """A store with a sweep of which no trial has begun."""
    store = Store(path)
    put_asked(store, study)
    return store


def test_before_there_is_a_store_a_page_waits_for_one(tmp_path: Path, made: list[int]) -> None:
    live = LiveReport(tmp_path / "lab.db", None)

    page = live.page()

    assert "There is no store at " in page.html
    assert (page.is_finished, made) == (False, [])
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "lab.db").touch()
    assert "There is no store at " in live.page().html
    Store(tmp_path / "lab.db").close()
    assert "holds no study yet" in live.page().html
    live.close()


def test_a_new_trial_makes_a_new_page_and_the_last_one_ends_it(
    tmp_path: Path, made: list[int]
) -> None:
    with begun(tmp_path / "lab.db") as store:
        live = LiveReport(tmp_path / "lab.db", None, rest=0.0)
        nothing = live.page()

        store.put_record(STUDY.records[0])
        one = live.page()
        store.put_record(STUDY.records[1])
        both = live.page()

    assert made == [0, 1, 2]
    assert len({page.version for page in (nothing, one, both)}) == 3
    assert nothing.status.startswith("Stopped: 0 of 2 training runs have ended.")
    assert one.status.startswith("Stopped: 1 of 2 training runs have ended.")
    assert (both.status, both.is_finished) == ("Finished: 2 training runs.", True)
    assert one.status in one.html
    live.close()


def test_a_trial_that_the_same_command_goes_on_with_has_not_ended(
    tmp_path: Path, made: list[int]
) -> None:
    cut = replace(STUDY.records[1], status=Status.TIMEOUT, reason=None)
    with begun(tmp_path / "lab.db") as store:
        live = LiveReport(tmp_path / "lab.db", None, rest=0.0)
        store.put_record(STUDY.records[0])
        store.put_record(cut)

        page = live.page()

    assert not page.is_finished
    assert page.status.startswith("Stopped: 1 of 2 training runs have ended")
    live.close()


def test_a_study_is_under_way_while_a_process_works_on_it_and_stopped_after(
    tmp_path: Path, made: list[int]
) -> None:
    with begun(tmp_path / "lab.db") as store:
        live = LiveReport(tmp_path / "lab.db", None)
        with store.working_on(STUDY.study_id):
            running = live.page()
        # Nothing was stored in between: so it is where the process was killed.
        stopped = live.page()
        with store.working_on(STUDY.study_id):
            again = live.page()

    assert re.fullmatch(
        r"Under way at \d\d:\d\d:\d\d: 0 of 2 training runs have ended\.", running.status
    )
    assert stopped.status == (
        "Stopped: 0 of 2 training runs have ended. No process works on it now. To go on, give the "
        f"same command: {STUDY.command}"
    )
    assert again.status.startswith("Under way at ")
    # The training runs are the same, so the page is not made anew, but it says so too.
    assert made == [0]
    assert len({page.version for page in (running, stopped, again)}) == 1
    assert html.escape(stopped.status, quote=False) in stopped.html
    live.close()


def test_what_ends_while_it_is_read_is_not_taken_for_stopped(
    tmp_path: Path, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = live_report.stored_in
    with begun(tmp_path / "lab.db") as store:

        def ends_after_the_first(opened: Store, study: str | None) -> Study | Advised:
            seen = whole(opened, study)
            for record in STUDY.records:
                store.put_record(record)
            return seen

        monkeypatch.setattr(live_report, "stored_in", ends_after_the_first)
        live = LiveReport(tmp_path / "lab.db", None)

        assert live.page().status == "Finished: 2 training runs."
    live.close()


def test_of_a_finished_study_it_is_asked_more_seldom_and_another_one_is_followed(
    tmp_path: Path, made: list[int], clock: Clock
) -> None:
    other = replace(made_up_study(batch_sizes=(32, 64, 128), epochs=3), study_id="another")
    with Store(tmp_path / "lab.db") as store:
        put_study(store, STUDY)
        any_study = LiveReport(tmp_path / "lab.db", None, clock=clock)
        this_one = LiveReport(tmp_path / "lab.db", STUDY.study_id)
        finished, kept = any_study.page(), this_one.page()
        assert (finished.status, kept.status) == ("Finished: 2 training runs.",) * 2

        put_asked(store, other)
        store.put_record(other.records[0])
        with store.working_on(other.study_id):
            followed, kept_still = any_study.page(), this_one.page()

    assert followed.status.endswith(": 2 of 3 training runs have ended.")
    # At once: what belongs to another study is not left on the page.
    assert "trials: 2" in followed.html
    assert (finished.look_again_s, followed.look_again_s) == (10.0, 3.0)
    # What others store costs the finished one no page.
    assert (kept_still, made) == (kept, [2, 2, 2])
    any_study.close()
    this_one.close()


BEST = BestSoFar(batch_size=256, learning_rate=0.08, quantity="time_to_target_s", value=3.82)


def test_of_an_advice_under_way_the_best_so_far_is_told_as_in_the_terminal(
    tmp_path: Path, made: list[int]
) -> None:
    with store_with_study(tmp_path / "lab.db") as store:
        journal = Journal(store, ADVISED)
        journal.begin(profile="{}", budget_s=100.0, spent_s=1.0)
        store.put_study(
            study_id=ADVISED.study_id,
            command=ADVISED.command,
            workload_id=ADVISED.workload_id,
            environment=ADVISED.environment,
            trial_ids=["x", "y"],
        )
        live = LiveReport(tmp_path / "lab.db", None)
        with store.working_on(ADVISED.study_id):
            before = live.page()
            journal.note_best(BEST)
            journal.put_readings(spent_s=2.0)
            after = live.page()
    state = ProgressState()
    state.lead = BEST
    (told,) = [line for line in progress_lines(state, 200) if line.startswith("best so far")]

    # How many runs it will need nobody knows, so there is no "of 2".
    assert before.status.endswith(": 0 training runs have ended.")
    assert after.status.endswith(f": 0 training runs have ended; {told}.")
    assert told == "best so far: batch size 256 at learning rate 0.08 (3.82 s to target)"
    live.close()


def test_after_a_failed_read_the_page_is_made_though_nothing_is_stored_since(
    tmp_path: Path, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = live_report.stored_in
    with begun(tmp_path / "lab.db") as store:
        live = LiveReport(tmp_path / "lab.db", None, rest=0.0)
        live.page()
        store.put_record(STUDY.records[0])

        def gone(*_: object) -> None:
            raise StoreError("the disk was away")

        monkeypatch.setattr(live_report, "stored_in", gone)
        with pytest.raises(StoreError):
            live.page()
        monkeypatch.setattr(live_report, "stored_in", whole)
        live.page()

    assert made == [0, 1]
    live.close()


def test_where_nothing_was_stored_it_is_the_same_page(tmp_path: Path, made: list[int]) -> None:
    with begun(tmp_path / "lab.db") as store:
        live = LiveReport(tmp_path / "lab.db", None, rest=0.0)
        store.put_record(STUDY.records[0])

        assert live.page() == live.page() == live.page()

    assert made == [1]
    live.close()


def test_the_study_has_the_machine_to_itself_after_each_page(
    tmp_path: Path, made: list[int], clock: Clock
) -> None:
    records = [*STUDY.records, *made_up_study(batch_sizes=(1024,), epochs=3).records]
    study = replace(STUDY, records=tuple(records))
    with begun(tmp_path / "lab.db", study) as store, store.working_on(study.study_id):
        live = LiveReport(tmp_path / "lab.db", None, rest=5.0, clock=clock)
        live.page()

        store.put_record(records[0])
        early = live.page()
        clock.now_s += 9.9
        assert (live.page().version, made) == (early.version, [0])
        # The status is cheap, so it is that of now.
        assert "1 of 3" in early.status
        assert "trials: 0" in early.html

        clock.now_s += 0.2
        assert "trials: 1" in live.page().html
        assert made == [0, 1]

        # The last one is not waited for.
        store.put_record(records[1])
        store.put_record(records[2])
        assert live.page().is_finished
    live.close()


def test_a_stopped_study_needs_no_machine_and_is_shown_at_once(
    tmp_path: Path, made: list[int], clock: Clock
) -> None:
    with begun(tmp_path / "lab.db") as store:
        live = LiveReport(tmp_path / "lab.db", None, rest=5.0, clock=clock)
        with store.working_on(STUDY.study_id):
            live.page()
            store.put_record(STUDY.records[0])
            live.page()
            assert made == [0]

        stopped = live.page()

    assert made == [0, 1]
    assert stopped.status.startswith("Stopped: 1 of 2 ")
    live.close()


def test_an_advice_is_finished_when_there_is_an_answer(tmp_path: Path, made: list[int]) -> None:
    with store_with_study(tmp_path / "lab.db"):
        live = LiveReport(tmp_path / "lab.db", None, rest=0.0)
        page = live.page()
    assert page.status.startswith("Stopped: no training run has begun yet.")
    assert not page.is_finished
    assert ADVISED.study_id == "study"

    with Store(tmp_path / "lab.db") as store:
        put_advised(store, made_up_advice())
        page = live.page()
    assert "an advice" in page.html
    assert page.is_finished
    live.close()


def test_another_store_in_its_place_is_another_page(tmp_path: Path, made: list[int]) -> None:
    with begun(tmp_path / "lab.db"):
        live = LiveReport(tmp_path / "lab.db", None)
        first = live.page()
    for file in tmp_path.glob("lab.db*"):
        if file.is_file():
            file.unlink()
    assert "There is no store at " in live.page().html

    with Store(tmp_path / "lab.db") as store:
        put_study(store, STUDY)
        page = live.page()
    assert (first.is_finished, page.is_finished) == (False, True)
    live.close()


def test_what_can_never_be_shown_is_refused_at_once(tmp_path: Path) -> None:
    refuse_unreadable(tmp_path / "lab.db", "x")  # it may still come
    with Store(tmp_path / "lab.db") as store:
        put_study(store, STUDY)

    refuse_unreadable(tmp_path / "lab.db", "made")
    with pytest.raises(UsageError, match="no study whose id begins with 'x'"):
        refuse_unreadable(tmp_path / "lab.db", "x")
    (tmp_path / "other.db").write_text("something else")
    with pytest.raises(StoreError, match="is not a batchlab store"):
        refuse_unreadable(tmp_path / "other.db", None)


@pytest.mark.slow
def test_the_whole_page_of_a_study_without_a_run_can_be_made(tmp_path: Path) -> None:
    with begun(tmp_path / "lab.db"):
        live = LiveReport(tmp_path / "lab.db", None)
        page = live.page()

    assert "No trials have been run." in page.html
    # It may ask its own server, and nobody else; the written page may ask nobody.
    assert "default-src 'none'; connect-src 'self'; script-src" in page.html
    assert page.html.count('http-equiv="Content-Security-Policy"') == 1
    live.close()
