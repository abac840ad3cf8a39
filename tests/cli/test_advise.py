import json
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from tests.reference.made_up_advice import advice_study, cannot_tell_advice, made_up_advice
from tests.reference.made_up_profile import made_up_profile

from batchlab.app import advise as advising
from batchlab.app import report as reporting
from batchlab.app.question import Request
from batchlab.app.report import Advised
from batchlab.cli import main as cli
from batchlab.cli import options
from batchlab.cli.options import Invocation
from batchlab.report.text import on_a_terminal
from batchlab.words.reasons import reason_text


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `advise` was called with; nothing is trained, the answer is made up."""
    seen: dict[str, Any] = {}

    def answered(question: Request) -> Advised:
        seen.update({field.name: getattr(question, field.name) for field in fields(question)})
        advice = made_up_advice()
        return Advised(advice=advice, study=advice_study(advice), profile=made_up_profile())

    monkeypatch.setattr(advising, "advised", answered)
    return seen


@pytest.mark.slow
def test_advise_answers_on_one_screen_and_writes_its_report(do, advised, tmp_path):
    first = made_up_advice().steps[0]

    with on_a_terminal(100):
        done = do("advise")

    assert done.code == 0
    assert len(done.out.splitlines()) <= 40
    step = reason_text(first.why)
    assert step not in done.out
    assert step in do("advise", "--explain").out
    assert "batch size" in done.out
    assert "batchlab-report.html" in done.out
    assert (tmp_path / "batchlab-report.html").read_text().startswith("<!")
    assert (advised["workload"], advised["objective"]) == ("mnist-mlp", "time")
    assert advised["budget"].seconds == 180.0


@pytest.mark.slow
def test_advise_hands_on_what_was_asked(do, advised):
    elsewhere = made_up_profile()
    Path("gpu.json").write_text(elsewhere.to_json())

    document = do(
        *("advise", "mine.py:workload", "--objective", "samples", "--target", "accuracy=0.97"),
        *("--budget", "5m", "--batch-sizes", "16,full", "--epochs", "3", "--memory-limit", "2GiB"),
        *("--profile", "gpu.json", "--set", "width=64", "--sampling", "replacement"),
        *("--drop-last", "--device", "cpu", "--store", "lab.db", "--report", "page.html"),
        "--json",
    ).document

    assert (document["verdict"], document["report"]) == ("recommend", "page.html")
    assert (advised["workload"], advised["objective"]) == ("mine.py:workload", "samples")
    assert (advised["target"], advised["budget"].seconds) == (("accuracy", 0.97), 300.0)
    assert (advised["batch_sizes"], advised["epochs"]) == ((16, "full"), 3)
    assert advised["memory_limit_bytes"] == 2 * 2**30
    assert advised["profile"] == replace(elsewhere, memory_limit_bytes=2 * 2**30)
    assert (advised["settings"], advised["sampling"]) == ({"width": "64"}, "replacement")
    assert (advised["drop_last"], advised["device"]) == (True, "cpu")
    assert advised["store"] == Path("lab.db")
    assert advised["command"].startswith("batchlab advise mine.py:workload --objective samples")


def test_the_start_of_the_process_is_part_of_the_ceiling_and_not_of_what_is_spent(
    advised, monkeypatch
):
    monkeypatch.setattr(reporting, "write_page", lambda answer, path: None)
    began_s = time.monotonic() - 100.0

    cli._exit_code(["advise", "--budget", "5m"], started_s=began_s)

    budget = advised["budget"]
    assert budget.elapsed_s() < 50.0
    # 4 s are kept for the report, and 0.3 s for reading the results of child processes.
    assert budget.started_s + budget.work_s == pytest.approx(began_s + 295.7, abs=2.0)


@pytest.mark.parametrize(
    ("chance", "likely", "sure"), [(0.98, 0, 0), (0.87, 0, 3), (0.7, 3, 3), (None, 3, 3)]
)
def test_an_answer_that_is_less_sure_than_required_is_told_by_the_exit_code(
    chance, likely, sure, do, monkeypatch
):
    advice = cannot_tell_advice() if chance is None else replace(made_up_advice(), chance=chance)
    made = Advised(advice=advice, study=advice_study(advice), profile=made_up_profile())
    monkeypatch.setattr(advising, "advised", lambda question: made)
    monkeypatch.setattr(reporting, "write_page", lambda answer, path: None)

    for required, code in ((), 0), (("--require", "likely"), likely), (("--require", "sure"), sure):
        done = do("advise", "--json", "--quiet", *required)

        assert done.code == code
        assert json.loads(done.out)["chance"] == chance
        assert done.err == (f"not met: {' '.join(required)}\n" if code else "")


@pytest.mark.parametrize(
    ("budget_s", "page", "reserved_s"),
    [
        (60.0, Path("page.html"), 4.0),
        (6.0, Path("page.html"), 3.0),  # never more than half of a budget
        (60.0, None, 1.7),  # text alone
    ],
)
def test_what_showing_the_results_takes_is_reserved_beside_what_is_gone(
    budget_s, page, reserved_s, monkeypatch
):
    monkeypatch.setattr(options.time, "monotonic", lambda: 103.0)
    found = Invocation(command_line="batchlab sweep", started_s=100.0)

    assert found.reserved_s(budget_s, page) == pytest.approx(3.0 + reserved_s)
