"""`report(path)` of an advice and of a sweep's study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import made_up_advice
from tests.reference.stored_advice import put_advised

from batchlab.advice.advice import Advice
from batchlab.app.report import report
from batchlab.errors import StoreError, UsageError
from batchlab.report.sweep_page import html_page
from batchlab.store.store import Store


@pytest.fixture
def kept(tmp_path: Path) -> Advice:
    advice = made_up_advice()
    with Store(tmp_path / "lab.db") as store:
        study = put_advised(store, advice)
    return replace(advice, kept_in=(str(tmp_path / "lab.db"), study.study_id))


@pytest.mark.slow
def test_a_study_writes_its_page_over_an_old_one(tmp_path: Path) -> None:
    study, path = made_up_study(batch_sizes=(64,)), tmp_path / "page.html"
    path.write_text("old")

    assert study.report(str(path)) == path

    assert path.read_text() == html_page(study)


@pytest.mark.slow
def test_an_advice_writes_the_page_that_the_command_line_writes(
    kept: Advice, tmp_path: Path
) -> None:
    kept.report(tmp_path / "mine.html")

    report(tmp_path / "lab.db", path=tmp_path / "command.html")
    assert (tmp_path / "mine.html").read_text() == (tmp_path / "command.html").read_text()


def test_an_advice_of_unknown_runs_says_how_to_get_one_that_knows_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ask batchlab\.advise again, which answers at once"):
        made_up_advice().report(tmp_path / "page.html")


def test_an_advice_whose_store_is_gone_says_so(kept: Advice, tmp_path: Path) -> None:
    (tmp_path / "lab.db").rename(tmp_path / "elsewhere.db")

    with pytest.raises(StoreError, match=r"lab\.db"):
        kept.report(tmp_path / "page.html")

    assert not (tmp_path / "lab.db").exists()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("absent/page.html", "report {0}/absent/page.html: there is no folder {0}/absent; make it"),
        ("", "report {0} is a folder; give a file, such as {0}/report.html"),
        ("lab.db", "report {0}/lab.db is "),
    ],
)
def test_a_page_that_cannot_be_written_there_is_refused(
    kept: Advice, tmp_path: Path, path: str, told: str
) -> None:
    for shown in (kept, made_up_study(batch_sizes=(64,))):
        with pytest.raises(UsageError) as caught:
            shown.report(tmp_path / path)

        assert str(caught.value).startswith(told.format(tmp_path))


def test_where_its_runs_are_makes_no_other_advice_of_it(kept: Advice) -> None:
    assert kept == replace(kept, kept_in=None)
