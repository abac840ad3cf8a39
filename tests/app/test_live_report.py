"""The page of a study that runs: written anew as it goes on, and whole when it has finished."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import made_up_advice
from tests.reference.made_up_study import STUDY as ADVISED
from tests.reference.made_up_study import store_with_study
from tests.reference.stored_advice import put_advised
from tests.reference.stored_study import STUDY, put_asked

from batchlab.app import live_report
from batchlab.app.live_report import EVERY_S, write_live_page
from batchlab.app.progress import ProgressState, progress_lines
from batchlab.app.report import Advised
from batchlab.errors import StoreError
from batchlab.records.study import BestSoFar, Study
from batchlab.records.trial import Status
from batchlab.runs.replay import Journal, JournalEntry
from batchlab.store.store import Store

RELOADS = '<meta http-equiv="refresh" content="20">'


class Followed:
    """A live page from its first look to its end; at each wait the next step is taken.

    After the last step somebody presses Ctrl-C.
    """

    def __init__(self, folder: Path) -> None:
        self.store, self.page = folder / "lab.db", folder / "page.html"
        self.made: list[int] = []
        self.said: list[str] = []
        self.shown: list[str] = []
        self.pages: list[str] = []

    @property
    def statuses(self) -> list[str]:
        status = r'<aside role="status"[^>]*>(.*)</aside>'
        return [html.unescape(re.findall(status, each)[-1]) for each in self.pages]

    @property
    def reload(self) -> list[bool]:
        return [RELOADS in page for page in self.pages]

    def until_ctrl_c(self, *steps: Callable[[], object], study: str | None = None) -> None:
        following = iter(steps)

        def keep() -> None:
            if self.page.exists():
                self.pages.append(self.page.read_text())

        def wait(seconds: float) -> None:
            assert seconds == EVERY_S
            keep()
            step = next(following, None)
            if step is None:
                raise KeyboardInterrupt
            step()

        def show(page: Path) -> None:
            self.shown.append(page.read_text())

        try:
            write_live_page(
                self.store, study, self.page, say=self.said.append, show=show, wait=wait
            )
        finally:
            keep()


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Followed:
    live = Followed(tmp_path)

    def page_of(shown: Study | Advised) -> str:
        study = shown.study if isinstance(shown, Advised) else shown
        live.made.append(len(study.records))
        what = "an advice" if isinstance(shown, Advised) else "trials"
        return f"<html><head></head><body><p>{what}: {len(study.records)}</p></body></html>"

    monkeypatch.setattr(live_report, "page_of", page_of)
    return live


@pytest.fixture
def store(live: Followed) -> Iterator[Store]:
    """A store with a sweep of which no trial has begun."""
    with Store(live.store) as store:
        put_asked(store, STUDY)
        yield store


def test_a_line_says_that_a_study_is_waited_for_and_one_that_comes_is_shown_once(
    live: Followed,
) -> None:
    def begin() -> None:
        assert live.shown == live.pages == live.made == []
        with Store(live.store) as store:
            put_asked(store, STUDY)

    live.until_ctrl_c(live.store.touch, lambda: Store(live.store).close(), begin, lambda: None)

    (said,) = live.said
    assert str(live.store) in said
    (shown,) = live.shown
    assert "trials: 0" in shown


def test_each_trial_makes_the_page_anew_and_the_last_one_ends_it(
    live: Followed, store: Store
) -> None:
    first, second = STUDY.records
    timed_out = replace(second, status=Status.TIMEOUT, reason=None)
    steps = [partial(store.put_record, record) for record in (first, timed_out, second)]

    live.until_ctrl_c(*steps)

    assert live.made == [0, 1, 2, 2]
    assert live.reload == [True, True, True, False]
    stopped = "Stopped: {} of 2 training runs have ended. No process works on it now. To go on, "
    stopped += f"give the same command: {STUDY.command}"
    # The same command goes on with what timed out.
    assert live.statuses[:3] == [stopped.format(n) for n in (0, 1, 1)]
    assert live.statuses[3] == "Finished: 2 training runs."
    assert "trials: 2" in live.pages[-1]


def test_a_study_is_under_way_while_a_process_works_on_it_and_stopped_after(
    live: Followed, store: Store
) -> None:
    process = ExitStack()
    process.enter_context(store.working_on(STUDY.study_id))

    # Nothing is stored in between: so it is where the process was killed.
    live.until_ctrl_c(process.close)

    under_way = r"Under way at \d\d:\d\d:\d\d: 0 of 2 training runs have ended\."
    assert re.fullmatch(under_way, live.statuses[0])
    assert live.statuses[1].startswith("Stopped: 0 of 2 training runs have ended. No process")
    # The training runs are the same, so the charts are not drawn anew.
    assert live.made == [0]
    # Between two parts of a study all runs that were asked for have ended.
    with store.working_on(STUDY.study_id):
        for record in STUDY.records:
            store.put_record(record)
        live.until_ctrl_c()
    assert re.fullmatch(r"Under way .*: 2 of 2 training runs have ended\.", live.statuses[-1])


def test_the_page_ends_with_ctrl_c_an_error_or_a_study_that_ends_while_it_is_read(
    live: Followed, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = live_report.stored_in

    def disk_away(*_: object) -> None:
        raise StoreError("the disk was away")

    def ends_after_the_first(opened: Store, study: str | None) -> Study | Advised:
        seen = whole(opened, study)
        for record in STUDY.records:
            store.put_record(record)
        return seen

    live.until_ctrl_c()
    with pytest.raises(StoreError, match="the disk was away"):
        live.until_ctrl_c(lambda: monkeypatch.setattr(live_report, "stored_in", disk_away))
    assert live.reload == [True, False] * 2
    live.pages.clear()
    monkeypatch.setattr(live_report, "stored_in", ends_after_the_first)
    live.until_ctrl_c()
    assert live.statuses == ["Finished: 2 training runs."]


def test_the_study_asked_for_last_is_followed_or_the_one_that_was_named(
    live: Followed, store: Store
) -> None:
    other = replace(made_up_study(batch_sizes=(32, 64, 128), epochs=3), study_id="another")

    live.until_ctrl_c(lambda: put_asked(store, other))
    live.until_ctrl_c(study=STUDY.study_id)

    runs = [re.findall(r"0 of \d", each) for each in live.statuses]
    assert runs == [["0 of 2"], ["0 of 3"], ["0 of 3"], ["0 of 2"], ["0 of 2"]]


def test_of_an_advice_under_way_the_best_so_far_is_told_until_there_is_an_answer(
    live: Followed,
) -> None:
    best = BestSoFar(batch_size=256, learning_rate=0.08)
    with store_with_study(live.store) as store:
        journal = Journal(store, ADVISED)
        journal.begin(JournalEntry(profile="{}", budget_s=100.0, n_workers=2, spent_s=1.0))
        store.put_study(ADVISED, trial_ids=["x", "y"])

        def lead() -> None:
            journal.note_best(best)
            journal.put_readings(spent_s=2.0)

        with store.working_on(ADVISED.study_id):
            live.until_ctrl_c(lead)
        live.until_ctrl_c(lambda: put_advised(store, made_up_advice()))
    state = ProgressState()
    state.lead = best
    told = progress_lines(state, 200)[-1]

    # How many runs it will need nobody knows, so there is no "of 2".
    assert live.statuses[0].endswith(": 0 training runs have ended.")
    assert live.statuses[1].endswith(f": 0 training runs have ended; {told}.")
    assert told == "best so far: batch size 256 at learning rate 0.08"
    assert live.statuses[-2].startswith("Stopped: 0 training runs have ended; best so far")
    assert live.statuses[-1].startswith("Finished: ")
    assert "an advice" in live.pages[-1]


@pytest.mark.slow
def test_the_whole_page_of_a_study_without_a_run_can_be_made(tmp_path: Path) -> None:
    live = Followed(tmp_path)
    with Store(live.store) as store:
        put_asked(store, STUDY)

    live.until_ctrl_c()

    assert "No trials yet." in live.pages[0]
    assert live.pages[0].count(RELOADS) == 1
    assert live.pages[0].index(RELOADS) < live.pages[0].index("<title>")
    assert live.statuses[0].startswith("Stopped: 0 of 2")
