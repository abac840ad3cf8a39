from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.made_up_advice import made_up_advice
from tests.reference.stored_advice import put_advised
from tests.reference.stored_study import put_study

from batchlab.app.report import ReportFormat, report
from batchlab.report.sweep_page import text_report
from batchlab.store.store import Store


@pytest.fixture
def lab(lab: Path) -> Path:
    with Store(lab) as store:
        put_study(store, made_up_study(batch_sizes=(64, 256)))
    return lab


def test_text_and_json_are_given_and_no_file_is_written(lab: Path) -> None:
    with Store.existing(lab) as store:
        study = store.study()

    text, document = report(lab, output_format="text"), report(lab, output_format="json")

    assert (text.text, text.files) == (text_report(study), ())
    assert (text.headline or "").endswith("2 trials: 2 ok.\n")
    assert document.headline is None
    assert json.loads(document.text or "")["study"] == study.study_id
    assert [file.name for file in lab.parent.iterdir()] == ["lab.db"]


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
        assert "made-objective.csv" in names
        assert "made-effects.csv" in names
        sizes = [line.split(",")[0] for line in files[0].read_text().splitlines()]
        assert sizes == ["batch_size", *(str(c.batch_size) for c in advice.candidates)]
    else:
        assert names[0] == f"made-a-objective.{output_format}"
        assert f"made-e-head-to-head.{output_format}" in names
        assert f"made-h-effects.{output_format}" in names


@pytest.mark.parametrize("output_format", ["text", "json"])
def test_words_go_to_the_file_that_is_given(
    lab: Path, tmp_path: Path, output_format: ReportFormat
) -> None:
    shown = report(lab, output_format=output_format).text

    made = report(lab, output_format=output_format, path=tmp_path / "words")

    assert (made.text, made.files) == (None, (tmp_path / "words",))
    assert (tmp_path / "words").read_text() == shown
