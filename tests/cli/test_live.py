"""`batchlab report --live` as a process: its address, its page, its end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.browser import NEEDS_BROWSER, Browser
from tests.reference.made_up import made_up_study
from tests.reference.stored_study import put_asked, put_study

from batchlab.store.store import Store

STUDY = made_up_study(batch_sizes=(64, 256), epochs=3)


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """The process and the address that it tells."""
    process = subprocess.Popen(
        [sys.executable, "-m", "batchlab.cli.main", "report", "--live", "--store", "lab.db"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line)
    assert found, (line, process.communicate())
    return process, found[1]


@pytest.mark.slow
def test_it_tells_its_address_shows_the_study_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    with Store(tmp_path / "lab.db") as store:
        put_study(store, STUDY)
    before = {file.name for file in tmp_path.iterdir()}
    process, address = start(tmp_path)

    with urllib.request.urlopen(address, timeout=60) as answer:
        page = answer.read().decode()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert "what batch size does to made-up" in page
    assert "Finished: 2 training runs." in page
    assert (process.returncode, out, err) == (0, "", "")
    assert {file.name for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("more", [("--format", "csv"), ("--report", "page.html")])
def test_a_live_page_is_no_file(do: Any, more: tuple[str, str]) -> None:
    done = do("report", "--live", *more)

    assert (done.code, done.out) == (2, "")
    assert "leave out --format and --report, or --live" in done.err


def test_an_id_that_no_study_has_is_refused(stored: Path, do: Any) -> None:
    done = do("report", "--live", "--store", str(stored), "--study", "other")

    assert done.code == 2
    assert "no study whose id begins with 'other'" in done.err


class TestInABrowser:
    pytestmark = NEEDS_BROWSER

    @pytest.mark.nightly
    def test_the_page_follows_the_study_keeps_its_place_and_ends(self, tmp_path: Path) -> None:
        with Store(tmp_path / "lab.db") as store:
            put_study(store, STUDY)
            more = made_up_study(batch_sizes=(64, 256, 1024), epochs=3)
            store.put_study(
                study_id="grows",
                command="batchlab sweep made-up",
                workload_id=more.workload.workload_id,
                environment=more.environment,
                trial_ids=[record.trial.trial_id for record in more.records],
            )
            process, address = start(tmp_path)
            browser = Browser(address, tmp_path / "profile", width=900, dark=False, scripts=True)
            try:
                browser.wait_for("document.body.innerText.includes('Stopped: 2 of 3')")
                browser.ask("document.querySelector('#trials details').open = true")
                browser.ask("document.getElementById('trials').scrollIntoView()")
                browser.ask("scrollBy(0, 30); window.isTheFirst = true")

                store.put_record(more.records[2])

                is_new = "!window.isTheFirst && document.readyState === 'complete'"
                browser.wait_for(is_new, patience_s=120.0)  # it is made at a low priority
                assert "Finished: 3 training runs." in browser.ask("document.body.innerText")
                top = "document.getElementById('trials').getBoundingClientRect().top"
                browser.wait_for(f"Math.abs({top} + 30) < 5")
                assert browser.ask("document.querySelector('#trials details').open")

                # Finished, it is still asked now and then: another study may begin.
                browser.ask("window.isTheFirst = true")
                put_asked(store, replace(STUDY, study_id="another"))
                browser.wait_for(is_new, patience_s=120.0)
                assert "Finished: 2 training runs." in browser.ask("document.body.innerText")
                assert browser.driver.get_log("browser") == []
                assert browser.requests_beside(address) == []
            finally:
                browser.driver.quit()
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)
