from __future__ import annotations

import io
import sys

import pytest

from batchlab.cli.progress import ProgressBar, ProgressLines, duration, progress_on_stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "?"), (0, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_a_duration_is_told_as_people_say_it(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_a_pipe_gets_lines_and_a_terminal_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(progress_on_stderr(), ProgressLines)

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(progress_on_stderr(), ProgressBar)


def test_lines_tell_phases_and_warnings_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLines() as lines:
        lines.phase("training")
        lines.warning("odd")

    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "training\nwarning: odd\n")


def test_lines_tell_progress_once_in_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = 100.0
    lines = ProgressLines(clock=lambda: now_s)

    for now_s in (101.0, 109.0, 110.0, 111.0, 119.0, 121.0):
        lines.progress(done_fraction=now_s / 1000, left_s=61.0, text="batch size 8")

    told = capsys.readouterr().err.splitlines()
    assert told == [" 11%  61 s left  batch size 8", " 12%  61 s left  batch size 8"]


def test_a_bar_shows_fraction_time_left_and_trial_and_leaves_nothing_but_warnings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")

    with ProgressBar() as bar:
        bar.phase("training")
        bar.warning("[bold] " + "long " * 40 + "end")
        bar.progress(done_fraction=0.25, left_s=61.0, text="batch size 8")
        bar._bar.refresh()
        shown = terminal.getvalue()

    assert all(part in shown for part in ("training", "25 %", "61 s left", "batch size 8"))
    # One line, however narrow the terminal, and no markup taken from a message.
    assert "warning: [bold] " + "long " * 40 + "end" in shown
