from __future__ import annotations

import io
import sys

import pytest

from batchlab.cli.output import as_wide_as_stdout, at_work, print_result
from batchlab.processes import children as fork_server
from batchlab.report.text import text_width
from batchlab.script.command import TrainingCommand


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def put_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    found = Terminal()
    monkeypatch.setattr(sys, "stdout", found)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "10")
    return found


def printed(n_lines: int, *, length: int = 1) -> None:
    print_result(lambda: "\n".join(["x" * length] * n_lines) + "\n", headline=lambda: "Use 64.\n")


def test_what_fits_the_screen_is_printed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = put_on_a_terminal(monkeypatch)

    printed(9)

    assert terminal.getvalue() == "x\n" * 9


def test_the_headline_of_a_taller_text_is_its_last_line_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = put_on_a_terminal(monkeypatch)

    printed(10)

    assert terminal.getvalue() == "x\n" * 10 + "\nUse 64.\n"


def test_a_line_wider_than_the_screen_takes_more_than_one_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = put_on_a_terminal(monkeypatch)

    printed(5, length=61)

    assert terminal.getvalue().endswith("\nUse 64.\n")


def test_a_pipe_gets_the_text_alone_and_as_wide_as_usual(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LINES", "10")

    printed(50)
    with as_wide_as_stdout():
        wide = text_width(88)

    assert (capsys.readouterr().out, wide) == ("x\n" * 50, 88)


def test_texts_are_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    put_on_a_terminal(monkeypatch)

    with as_wide_as_stdout():
        assert text_width(88) == 60


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
