import io
import sys

import pytest
from tests.reference.terminal import Terminal, in_a_terminal, lines_in
from tests.reference.user_file import write_user_file

from batchlab.app.progress import ProgressLines
from batchlab.cli.output import as_wide_as_stdout
from batchlab.cli.progress import ProgressDisplay, progress_on_stderr
from batchlab.records.progress_listener import ProgressListener
from batchlab.report.text import terminal_width


def test_a_pipe_gets_lines_a_terminal_a_display_and_who_wants_it_quiet_nothing(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for stderr, terminal, kind in (
        (io.StringIO(), "xterm", ProgressLines),
        (Terminal(), "xterm", ProgressDisplay),
        (Terminal(), "dumb", ProgressLines),
    ):
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setenv("TERM", terminal)
        with progress_on_stderr() as found, progress_on_stderr(quiet=True) as quiet:
            assert isinstance(found, kind)
            assert type(quiet) is ProgressListener


def test_a_narrow_terminal_shows_bar_and_time_in_lines_that_fit(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "40")):
        monkeypatch.setenv(name, value)

    with ProgressDisplay() as progress:
        progress.begins(command="advise", subject="mnist-mlp", stages=("setting the target", "b"))
        progress.budget(spent_s=98.0, budget_s=180.0)
        progress.phase("setting the target")
        progress.warning("[bold] " + "long " * 40 + "end")

    lines = lines_in(terminal.getvalue())
    assert max(map(len, lines)) <= 40
    assert any("█" in line and line.endswith("0:01:38 of 0:03:00") for line in lines)
    stage = "advise mnist-mlp, stage 1 of 2: setting the target"
    assert any(line == stage[:39] for line in lines)  # cut, and a warning is not
    assert "warning: [bold] " + "long " * 40 + "end" in " ".join(" ".join(lines).split())


@pytest.mark.slow
def test_a_command_tells_a_terminal_its_stages_and_ends_with_the_result(tmp_path):
    write_user_file(tmp_path)
    command = [sys.executable, "-m", "batchlab", "sweep", "mine.py:workload"]

    written = in_a_terminal(
        [*command, "--batch-sizes", "16,32", "--epochs", "40"], columns=50, folder=tmp_path
    )

    assert written.code == 0, written.raw
    assert written.shows_the_cursor
    lines = written.lines
    assert any("training 2 trials" in line for line in lines)
    assert any(line.startswith("The store: ") for line in lines)
    in_one_piece = [i for i, line in enumerate(lines) if line.startswith("Command: ")]
    assert all(len(line) <= 50 for i, line in enumerate(lines) if i not in in_one_piece)


def test_a_text_is_as_wide_as_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    widths = []

    for stdout in (sys.stdout, Terminal()):  # a pipe, and a terminal
        monkeypatch.setattr(sys, "stdout", stdout)
        with as_wide_as_stdout():
            widths.append(terminal_width() or 88)

    assert widths == [88, 60]
