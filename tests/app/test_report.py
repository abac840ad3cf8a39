from __future__ import annotations

import json
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


def test_text_and_json_are_given_or_go_to_the_file_that_is_given(lab: Path, tmp_path: Path) -> None:
    with Store.existing(lab) as store:
        study = store.study()

    text, document = report(lab, output_format="text"), report(lab, output_format="json")

    assert (text.text, text.files) == (text_report(study), ())
    assert (text.headline or "").endswith("2 trials: 2 ok.\n")
    assert document.headline is None
    assert json.loads(document.text or "")["study"] == study.study_id
    assert [file.name for file in lab.parent.iterdir()] == ["lab.db"]
    written = report(lab, output_format="text", path=tmp_path / "words")
    assert (written.text, written.files) == (None, (tmp_path / "words",))
    assert (tmp_path / "words").read_text() == text.text


@pytest.mark.slow
def test_tables_and_images_tell_which_files_they_are(lab: Path, tmp_path: Path) -> None:
    tables = report(lab, output_format="csv", path=tmp_path / "table.csv").files
    images = report(lab, output_format="svg", path=tmp_path / "image.svg").files

    assert [file.name for file in tables[:2]] == ["table.csv", "table-observations.csv"]
    assert "table-curves.csv" in [file.name for file in tables[2:]]
    assert images
    assert all(file.name.startswith("image-") and file.suffix == ".svg" for file in images)
    assert all(file.stat().st_size > 0 for file in (*tables, *images))


@pytest.mark.slow
@pytest.mark.parametrize("output_format", ["csv", "svg", "png"])
def test_an_advise_study_gives_the_figures_and_tables_of_its_advice(
    tmp_path: Path, output_format: ReportFormat
) -> None:
    advice = made_up_advice()
    with Store(tmp_path / "advice.db") as store:
        put_advised(store, advice)

    files = report(
        tmp_path / "advice.db", output_format=output_format, path=tmp_path / "made"
    ).files

    names = [file.name for file in files]
    if output_format == "csv":
        assert names[:3] == ["made", "made-runs.csv", "made-observations.csv"]
        assert "made-answer.csv" in names
        assert "made-curves.csv" in names
        sizes = [line.split(",")[0] for line in files[0].read_text().splitlines()]
        shown = sorted([64, *(c.batch_size for c in advice.candidates)])  # yours, as it is, too
        assert sizes == ["batch_size", *map(str, shown)]
    else:
        assert names[0] == f"made-a-answer.{output_format}"
        assert f"made-b-time.{output_format}" in names
        assert f"made-d-machine.{output_format}" in names


def test_nothing_to_draw_is_an_error_that_says_why(tmp_path: Path) -> None:
    with Store(tmp_path / "lab.db") as store:
        put_study(store, made_up_study(batch_sizes=()))

    with pytest.raises(NothingToDrawError, match="takes a trial that was evaluated"):
        report(tmp_path / "lab.db", output_format="png", path=tmp_path / "image.png")
    assert [file.suffix for file in tmp_path.iterdir()] == [".db"]


@pytest.fixture
def kept(tmp_path: Path) -> Advice:
    advice = made_up_advice()
    with Store(tmp_path / "lab.db") as store:
        study = put_advised(store, advice)
    return replace(advice, kept_in=(str(tmp_path / "lab.db"), study.study_id))


@pytest.mark.slow
def test_a_record_writes_the_page_that_the_command_line_writes(
    kept: Advice, tmp_path: Path
) -> None:
    study, path = made_up_study(batch_sizes=(64,)), tmp_path / "page.html"
    path.write_text("old")

    assert study.report(str(path)) == path
    kept.report(tmp_path / "mine.html")

    assert path.read_text() == html_page(study)
    report(tmp_path / "lab.db", path=tmp_path / "command.html")
    assert (tmp_path / "mine.html").read_text() == (tmp_path / "command.html").read_text()
    assert kept == replace(kept, kept_in=None)  # where its runs are makes no other advice of it


def test_an_advice_whose_runs_are_not_there_says_so(kept: Advice, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ask batchlab\.advise again, which answers at once"):
        made_up_advice().report(tmp_path / "page.html")
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
