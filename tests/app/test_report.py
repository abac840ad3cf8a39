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
from batchlab.app.report import ReportFormat, stored, write_files
from batchlab.errors import BatchlabError, StoreError, UsageError
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


def write(store: Path, output_format: ReportFormat, path: Path) -> tuple[Path, ...]:
    return write_files(stored(store, None), output_format, path, store=store)


@pytest.mark.slow
def test_a_report_tells_which_files_it_is_in(lab, kept, tmp_path):
    def names(store: Path, output_format: ReportFormat) -> list[str]:
        files = write(store, output_format, tmp_path / "made")
        assert all(file.stat().st_size > 0 for file in files)
        return [file.name.removeprefix("made") for file in files]

    with Store.existing(lab) as store:
        study = store.study()
    assert names(lab, "text") == [""]
    assert (tmp_path / "made").read_text() == text_report(study)
    assert names(lab, "json") == [""]
    assert json.loads((tmp_path / "made").read_text())["study"] == study.study_id
    tables, images = names(lab, "csv"), names(lab, "svg")
    assert tables == ["", "-observations.csv"]
    assert images
    assert all(re.fullmatch(r"-.*\.svg", name) for name in images)
    advised = names(tmp_path / "advice.db", "png")
    assert advised[0] == "-a-answer.png"
    assert {"-b-time.png", "-d-machine.png"} < set(advised)
    advised = names(tmp_path / "advice.db", "csv")
    assert advised == ["", "-runs.csv", "-observations.csv"]
    sizes = [line.split(",")[1] for line in (tmp_path / "made").read_text().splitlines()]
    shown = sorted([64, *(c.batch_size for c in kept.candidates)])  # yours, as it is, too
    assert sizes == ["batch_size", *map(str, shown)]


@pytest.mark.slow
def test_a_record_writes_the_page_that_the_command_line_writes(kept, tmp_path):
    study, path = made_up_study(batch_sizes=(64,)), tmp_path / "page.html"
    path.write_text("old")

    assert study.report(str(path)) == path
    kept.report(tmp_path / "mine.html")

    assert path.read_text() == html_page(study)
    write(tmp_path / "advice.db", "html", tmp_path / "command.html")
    assert (tmp_path / "mine.html").read_text() == (tmp_path / "command.html").read_text()
    assert kept == replace(kept, kept_in=None)  # where its runs are makes no other advice of it


def test_what_is_not_there_cannot_be_shown(kept, tmp_path):
    with pytest.raises(UsageError, match=r"ask batchlab\.advise again, which answers at once"):
        made_up_advice().report(tmp_path / "page.html")
    (tmp_path / "advice.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(StoreError, match=r"advice\.db"):
        kept.report(tmp_path / "page.html")
    with Store(tmp_path / "lab.db") as store:
        put_study(store, made_up_study(batch_sizes=()))
    with pytest.raises(BatchlabError, match="no figure has any data"):
        write(tmp_path / "lab.db", "png", tmp_path / "image.png")

    assert {file.name for file in tmp_path.iterdir()} == {"elsewhere.db", "lab.db"}
