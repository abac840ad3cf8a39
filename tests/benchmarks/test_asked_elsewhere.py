"""The second record asked elsewhere: the questions, whatever code answers, and its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.regret import asked_elsewhere
from tests.reference.whole_grid import write_whole_grid


@pytest.mark.slow
def test_what_other_code_names_is_valued_on_the_seeds_that_judge_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    grids, folder = tmp_path / "whole", tmp_path / "asked"
    grids.mkdir()
    folder.mkdir()
    write_whole_grid(grids)
    monkeypatch.setattr(asked_elsewhere, "GRIDS", grids)

    asked_elsewhere.write_questions(folder, 1, [40.0])
    asked_elsewhere.write_answers(folder)
    asked_elsewhere.print_table(folder)

    answers = json.loads((folder / "answers.json").read_text())
    assert {each["problem"] for each in answers if "problem" in each} == set()
    assert all(each["cell"] is not None for each in answers)
    text = capsys.readouterr().out
    assert f"| 25 to 50 | {len(answers)} |" in text
    assert "| made-up |" in text


def test_an_answer_without_a_name_stays_with_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_whole_grid(tmp_path)
    monkeypatch.setattr(asked_elsewhere, "GRIDS", tmp_path)
    error = {"cell": None, "verdict": "error", "origin": "", "spent": 0.5, "problem": "no way"}
    asked = {"workload": "made-up", "profile": "cpu", "draw": 0, "tuned_trainings": 40.0}
    (tmp_path / "answers.json").write_text(json.dumps([{**asked, **error}]))

    asked_elsewhere.print_table(tmp_path)

    text = capsys.readouterr().out
    assert "- problem, 1 times: no way" in text
    assert "| 25 to 50 | 1 |" in text
