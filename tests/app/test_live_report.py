"""The page of a study that runs: written again as it goes on, and once more when it has ended."""

import re
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.stored_study import STUDY, put_asked

from batchlab.app import live_report
from batchlab.app.live_report import EVERY_S, write_live_page
from batchlab.store.store import Store

RELOADS = '<meta http-equiv="refresh" content="20">'


def ctrl_c():
    raise KeyboardInterrupt


@pytest.mark.slow
def test_the_page_is_written_again_until_no_process_works_on_the_study_or_ctrl_c(
    lab, tmp_path, monkeypatch
):
    page = tmp_path / "page.html"

    def pages_of(*steps):
        """The pages that are written, where each wait is the next of the steps."""
        following, pages, shown = iter(steps), [], []

        def wait(seconds: float) -> None:
            assert seconds == EVERY_S
            pages.append(page.read_text())
            next(following)()

        monkeypatch.setattr(live_report.time, "sleep", wait)
        write_live_page(lab, STUDY.study_id, page, show=lambda page: shown.append(page.read_text()))
        pages.append(page.read_text())
        assert shown == pages[:1]
        return pages

    with Store(lab) as store, ExitStack() as process:
        put_asked(store, STUDY)
        put_asked(store, replace(made_up_study(batch_sizes=(32, 64)), study_id="another"))
        process.enter_context(store.working_on(STUDY.study_id))
        interrupted = pages_of(ctrl_c)
        first, second = (partial(store.put_record, record) for record in STUDY.records)
        pages = pages_of(first, second, process.close)

    assert [page.count(RELOADS) for page in interrupted] == [1, 0]
    assert [page.count(RELOADS) for page in pages] == [1, 1, 1, 0]
    assert pages[0].index(RELOADS) < pages[0].index("<title>")
    assert "No trials yet." in pages[0]
    status = r'<aside role="status"[^>]*>As of \d\d:\d\d:\d\d: (\d) training runs? ha\w+ ended\.'
    assert [re.findall(status, page) for page in pages] == [["0"], ["1"], ["2"], ["2"]]
