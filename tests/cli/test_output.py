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


def shown(text: str) -> int:
    """Print it; how wide a text may be then."""
    print_result(lambda: text, headline=lambda: "Use 64.\n")
    with as_wide_as_stdout():
        return text_width(88)


@pytest.mark.parametrize(
    ("n_lines", "length", "again"),
    [(9, 1, ""), (10, 1, "\nUse 64.\n"), (5, 61, "\nUse 64.\n")],  # 61 take two rows of 60
)
def test_the_headline_of_a_text_taller_than_the_screen_is_its_last_line_too(
    n_lines: int,
    length: int,
    again: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = ("x" * length + "\n") * n_lines
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "10")
    # A pipe gets the text alone, and as wide as usual.
    assert (shown(text), capsys.readouterr().out) == (88, text)

    monkeypatch.setattr(sys, "stdout", terminal := Terminal())

    assert (shown(text), terminal.getvalue()) == (60, text + again)


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


@pytest.mark.parametrize(
    ("budget_s", "page", "reserved_s"),
    [
        (60.0, Path("page.html"), 4.0),
        (6.0, Path("page.html"), 3.0),  # never more than half of a budget
        (60.0, None, 0.7),  # text alone
    ],
)
def test_what_showing_the_results_takes_is_reserved_beside_what_is_gone(
    budget_s: float, page: Path | None, reserved_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation.time, "monotonic", lambda: 103.0)
    found = Invocation(command_line="batchlab sweep", started_s=100.0)

    assert found.reserved_s(budget_s, page) == pytest.approx(3.0 + reserved_s)
