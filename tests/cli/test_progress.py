from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from tests.reference.terminal import Terminal, in_a_terminal
from tests.reference.user_file import write_user_file

from batchlab.app.progress import ProgressLines
from batchlab.cli.progress import ProgressDisplay, progress_on_stderr
from batchlab.records.progress_listener import ProgressListener

# A command that tells all there is to tell, for as long as a few frames take.
TELLS = """
import sys, time
sys.path.append(sys.argv[1])  # the root, for `tests`
from batchlab.cli.progress import ProgressDisplay
from batchlab.records.estimate import Reason
from tests.reference.made_up import made_up_trial

with ProgressDisplay() as progress:
    progress.begins(command="advise", subject="mnist-mlp", stages=("setting the target", "b"))
    progress.budget(spent_s=98.0, budget_s=180.0)
    progress.phase("setting the target")
    progress.best(256, 0.08)
    trial = made_up_trial(batch_size=512, learning_rate=0.16)
    progress.asked([trial], Reason.of("asked_to_compare"))
    progress.warning("[bold] " + "long " * 40 + "end")
    time.sleep(0.8)
"""


def test_a_pipe_gets_lines_a_terminal_a_display_and_who_wants_it_quiet_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


@pytest.mark.slow
def test_a_narrow_terminal_shows_bar_and_time_in_lines_that_fit(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TELLS, str(Path(__file__).parents[2])]

    written = in_a_terminal(command, columns=40, folder=tmp_path)

    assert written.code == 0
    assert max(map(len, written.lines)) <= 40
    bars = [line for line in written.lines if "%" in line]
    assert len(bars) >= 2
    assert all("█" in bar and "m3" in bar and bar.endswith("of 3m") for bar in bars)
    whole = (  # a line that is longer than the terminal is wide is cut
        "advise mnist-mlp, stage 1 of 2: setting the target",
        "best so far: batch size 256 at learning rate 0.08",
        "now: batch size 512, learning rate 0.16",
        "why: to see whether it may be faster",
    )
    for line in whole:
        assert any(each.startswith(line[:39]) for each in written.lines), line
    said = " ".join(" ".join(written.lines).split())
    assert "warning: [bold] " + "long " * 40 + "end" in said


@pytest.mark.slow
def test_a_command_tells_a_terminal_its_stages_and_ends_with_the_result(tmp_path: Path) -> None:
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
