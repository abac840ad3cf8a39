from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up_advice import made_up_advice
from tests.reference.stored_advice import put_advised

from batchlab.store.store import Store


@pytest.mark.slow
@pytest.mark.parametrize("output_format", ["text", "json", "html"])
def test_the_report_of_an_advise_study_is_its_advice(
    output_format: str, do: Any, tmp_path: Path
) -> None:
    advice = made_up_advice()
    with Store(tmp_path / "batchlab.db") as store:
        put_advised(store, advice)

    done = do("report", "--format", output_format)

    said = done.out
    if output_format == "html":
        said = (tmp_path / "batchlab-report.html").read_text()
    assert done.code == 0, done.err
    assert advice.recommendation is not None
    assert str(advice.recommendation.batch_size) in said
    assert "steps_to_target" in said if output_format == "json" else "learning rate" in said


@pytest.mark.parametrize("text", ["{}", "[", '{"reason": {"code": "other_form"}}'])
def test_an_advice_that_does_not_read_is_one_line_on_stderr_with_its_command(
    stored: Path, do: Any, text: str
) -> None:
    with Store(stored) as store:
        study = store.study()
        store.put_advice(study.study_id, text)

    done = do("report", "--store", str(stored), "--format", "json")

    assert done.code == 0
    assert json.loads(done.out)["study"] == study.study_id
    assert done.err.startswith("warning: the advice of study ")
    assert done.err.endswith(f": {study.command}\n")
    assert done.err.count("\n") == 1


def test_a_report_into_files_prints_where_they_are(stored: Path, do: Any) -> None:
    done = do("report", "--store", str(stored), "--format", "csv")

    assert done.code == 0
    files = [Path(line) for line in done.out.splitlines()]
    assert files
    assert all(file.stat().st_size > 0 for file in files)


def test_a_study_is_chosen_by_the_start_of_its_id(stored: Path, do: Any) -> None:
    assert do("report", "--store", "lab.db", "--study", "made", "--format", "text").code == 0

    done = do("report", "--store", "lab.db", "--study", "other", "--format", "text")

    assert done.code == 2
    assert "no study whose id begins with 'other'; it has made-up-study (" in done.err
    assert done.err.count("\n") == 1
