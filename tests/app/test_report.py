from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import made_up_advice
from tests.reference.stored_advice import put_advised
from tests.reference.stored_study import put_study

from batchlab.advice.advice import Advice
from batchlab.app.report import NothingToDrawError, ReportFormat, report
from batchlab.errors import StoreError, UsageError
from batchlab.report.sweep_page import html_page, text_report
from batchlab.store.store import Store


@pytest.fixture
def lab(lab: Path) -> Path:
    with Store(lab) as store:
        put_study(store, made_up_study(batch_sizes=(64, 256)))
    return lab


@pytest.fixture
def kept(tmp_path: Path) -> Advice:
    """An advice whose runs are in a store."""
    path = tmp_path / "advice.db"
    with Store(path) as store:
        study = put_advised(store, made_up_advice())
    return replace(made_up_advice(), kept_in=(str(path), study.study_id))


def test_text_and_json_are_given_or_go_to_the_file_that_is_given(lab: Path, tmp_path: Path) -> None:
    with Store.existing(lab) as store:
        study = store.study()

    text, document = report(lab, output_format="text"), report(lab, output_format="json")

    assert (text.text, text.files) == (text_report(study), ())
    assert json.loads(document.text or "")["study"] == study.study_id
    assert [file.name for file in lab.parent.iterdir()] == ["lab.db"]
    written = report(lab, output_format="text", path=tmp_path / "words")
    assert (written.text, written.files) == (None, (tmp_path / "words",))
    assert (tmp_path / "words").read_text() == text.text


@pytest.mark.slow
def test_tables_and_images_tell_which_files_they_are(
    lab: Path, kept: Advice, tmp_path: Path
) -> None:
    def names(store: Path, output_format: ReportFormat) -> list[str]:
        files = report(store, output_format=output_format, path=tmp_path / "made").files
        assert all(file.stat().st_size > 0 for file in files)
        return [file.name.removeprefix("made") for file in files]

    tables, images = names(lab, "csv"), names(lab, "svg")
    assert tables == ["", "-observations.csv"]
    assert images
    assert all(re.fullmatch(r"-.*\.svg", name) for name in images)
    advised = names(tmp_path / "advice.db", "png")
    assert advised[0] == "-a-answer.png"
    assert {"-b-time.png", "-d-machine.png"} < set(advised)
    advised = names(tmp_path / "advice.db", "csv")
    assert advised == ["", "-runs.csv", "-observations.csv"]
    sizes = [line.split(",")[0] for line in (tmp_path / "made").read_text().splitlines()]
    shown = sorted([64, *(c.batch_size for c in kept.candidates)])  # yours, as it is, too
    assert sizes == ["batch_size", *map(str, shown)]


@pytest.mark.slow
def test_a_record_writes_the_page_that_the_command_line_writes(
    kept: Advice, tmp_path: Path
) -> None:
    study, path = made_up_study(batch_sizes=(64,)), tmp_path / "page.html"
    path.write_text("old")

    assert study.report(str(path)) == path
    kept.report(tmp_path / "mine.html")

    assert path.read_text() == html_page(study)
    report(tmp_path / "advice.db", path=tmp_path / "command.html")
    assert (tmp_path / "mine.html").read_text() == (tmp_path / "command.html").read_text()
    assert kept == replace(kept, kept_in=None)  # where its runs are makes no other advice of it


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("absent/page.html", "report {0}/absent/page.html: there is no folder {0}/absent; make it"),
        ("", "report {0} is a folder; give a file, such as {0}/report.html"),
        ("advice.db", "report {0}/advice.db is "),
    ],
)
def test_a_page_that_cannot_be_written_there_is_refused(
    kept: Advice, tmp_path: Path, path: str, told: str
) -> None:
    for shown in (kept, made_up_study(batch_sizes=(64,))):
        with pytest.raises(UsageError) as caught:
            shown.report(tmp_path / path)

        assert str(caught.value).startswith(told.format(tmp_path))


def test_what_is_not_there_cannot_be_shown(kept: Advice, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ask batchlab\.advise again, which answers at once"):
        made_up_advice().report(tmp_path / "page.html")
    (tmp_path / "advice.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreError, match=r"advice\.db"):
        kept.report(tmp_path / "page.html")
    with Store(tmp_path / "lab.db") as store:
        put_study(store, made_up_study(batch_sizes=()))
    with pytest.raises(NothingToDrawError):
        report(tmp_path / "lab.db", output_format="png", path=tmp_path / "image.png")

    assert {file.name for file in tmp_path.iterdir()} == {"elsewhere.db", "lab.db"}
