"""The page of a study that runs: written again as it goes on, and once more when it has ended."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.stored_study import STUDY, put_asked

from batchlab.app import live_report
from batchlab.app.live_report import EVERY_S, write_live_page
from batchlab.store.store import Store

RELOADS = '<meta http-equiv="refresh" content="20">'
Pages = Callable[..., list[str]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with a sweep of which no trial has begun."""
    with Store(tmp_path / "lab.db") as store:
        put_asked(store, STUDY)
        yield store


@pytest.fixture
def pages_of(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pages:
    """The pages that are written while a process works; at each wait the next step is taken."""

    def pages_of(*steps: Callable[[], object], study: str | None = None) -> list[str]:
        page, following = tmp_path / "page.html", iter(steps)
        pages: list[str] = []
        shown: list[str] = []

        def wait(seconds: float) -> None:
            assert seconds == EVERY_S
            pages.append(page.read_text())
            next(following)()

        monkeypatch.setattr(live_report.time, "sleep", wait)
        write_live_page(store.path, study, page, show=lambda page: shown.append(page.read_text()))
        pages.append(page.read_text())
        assert shown == pages[:1]
        return pages

    return pages_of


def ctrl_c() -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_the_page_is_written_again_until_no_process_works_on_the_study(pages_of, store):
    with ExitStack() as process:
        process.enter_context(store.working_on(STUDY.study_id))
        first, second = (partial(store.put_record, record) for record in STUDY.records)
        pages = pages_of(first, second, process.close)

    assert [page.count(RELOADS) for page in pages] == [1, 1, 1, 0]
    assert pages[0].index(RELOADS) < pages[0].index("<title>")
    assert "No trials yet." in pages[0]
    status = r'<aside role="status"[^>]*>As of \d\d:\d\d:\d\d: (\d) training runs? ha\w+ ended\.'
    assert [re.findall(status, page) for page in pages] == [["0"], ["1"], ["2"], ["2"]]


def test_ctrl_c_ends_the_page_of_the_study_that_was_named(pages_of, store):
    put_asked(store, replace(made_up_study(batch_sizes=(32, 64)), study_id="another"))

    with store.working_on(STUDY.study_id):
        pages = pages_of(ctrl_c, study=STUDY.study_id)

    assert [page.count(RELOADS) for page in pages] == [1, 0]
    assert all(": 0 training runs" in page for page in pages)
