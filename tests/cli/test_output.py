import sys
from pathlib import Path

import pytest
from tests.reference.terminal import Terminal

from batchlab.cli import options
from batchlab.cli.options import Invocation
from batchlab.cli.output import as_wide_as_stdout
from batchlab.report.text import terminal_width


def test_a_text_is_as_wide_as_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    widths = []

    for stdout in (sys.stdout, Terminal()):  # a pipe, and a terminal
        monkeypatch.setattr(sys, "stdout", stdout)
        with as_wide_as_stdout():
            widths.append(terminal_width() or 88)

    assert widths == [88, 60]


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
