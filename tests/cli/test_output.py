from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.reference.terminal import Terminal

from batchlab.cli import invocation
from batchlab.cli.invocation import Invocation
from batchlab.cli.output import as_wide_as_stdout, at_work, print_result
from batchlab.processes import server as fork_server
from batchlab.report.text import text_width
from batchlab.script.command import TrainingCommand


def put_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    found = Terminal()
    monkeypatch.setattr(sys, "stdout", found)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "10")
    return found


@pytest.mark.parametrize(
    ("n_lines", "length", "again"),
    [(9, 1, ""), (10, 1, "\nUse 64.\n"), (5, 61, "\nUse 64.\n")],  # 61 take two rows of 60
)
def test_the_headline_of_a_text_taller_than_the_screen_is_its_last_line_too(
    n_lines: int, length: int, again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = put_on_a_terminal(monkeypatch)
    text = ("x" * length + "\n") * n_lines

    print_result(lambda: text, headline=lambda: "Use 64.\n")
    with as_wide_as_stdout():
        assert text_width(88) == 60

    assert terminal.getvalue() == text + again


def test_a_pipe_gets_the_text_alone_and_as_wide_as_usual(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LINES", "10")

    print_result(lambda: "x\n" * 50, headline=lambda: "Use 64.\n")
    with as_wide_as_stdout():
        wide = text_width(88)

    assert (capsys.readouterr().out, wide) == ("x\n" * 50, 88)


@pytest.mark.parametrize("is_own_command", [False, True])
def test_the_server_that_imports_torch_is_started_for_trainings_of_batchlabs_own(
    is_own_command: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[bool] = []
    monkeypatch.setattr(fork_server, "start_early", lambda: started.append(True))
    own = TrainingCommand(arguments=("train", "{batch_size}"), metric="loss")

    with at_work("sweep", own if is_own_command else "mnist-mlp", quiet=True):
        pass

    assert started == [True] * (not is_own_command)


PAGE = Path("page.html")


@pytest.mark.parametrize(
    ("budget_s", "page", "reserved_s"),
    [
        (60.0, PAGE, 4.0),
        (6.0, PAGE, 3.0),  # never more than half of a budget
        (60.0, None, 0.7),  # text alone
    ],
)
def test_what_showing_the_results_takes_is_reserved_beside_what_is_gone(
    budget_s: float, page: Path | None, reserved_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation.time, "monotonic", lambda: 103.0)
    found = Invocation(command_line="batchlab sweep", started_s=100.0)

    assert found.reserved_s(budget_s, page) == pytest.approx(3.0 + reserved_s)
