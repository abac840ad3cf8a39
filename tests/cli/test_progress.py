from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from tests.reference.terminal import Terminal, Written, in_a_terminal
from tests.reference.user_file import write_user_file

from batchlab.cli.progress import ProgressDisplay, ProgressLines, progress_on_stderr
from batchlab.records.progress_listener import ProgressListener

# A command that tells all there is to tell, for as long as a few frames take.
TELLS = """
import sys, time
from batchlab.cli.progress import ProgressDisplay
from batchlab.records.study import BestSoFar
from batchlab.records.estimate import Reason
from batchlab.records.run import RunsAsked

with ProgressDisplay() as progress:
    progress.begins(command="advise", subject="mnist-mlp", stages=("setting the target", "b"))
    progress.budget(spent_s=98.0, budget_s=180.0)
    progress.phase("setting the target")
    progress.best(BestSoFar(
        batch_size=256, learning_rate=0.08))
    progress.asked(RunsAsked(batch_sizes=(512,), learning_rates=(0.16,), seeds=(2,),
        why=Reason.of("asked_to_compare")))
    progress.warning("[bold] " + "long " * 40 + "end")
    time.sleep(SECONDS)
"""


def told(tmp_path: Path, *, columns: int, seconds: float = 0.8, **more: object) -> Written:
    code = TELLS.replace("SECONDS", str(seconds))
    return in_a_terminal([sys.executable, "-c", code], columns=columns, folder=tmp_path, **more)  # type: ignore[arg-type]


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


def test_a_pipe_gets_one_line_a_stage_and_its_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ProgressLines()
    lines.begins(command="sweep", subject="mine", stages=("timing", "training 6 trials"))
    lines.phase("checking the workload")
    lines.phase("training 6 trials")
    lines.warning("odd")
    lines.progress(done_fraction=0.5, left_s=1.0, text="batch size 8")
    lines.phase("writing the report")
    lines.budget(spent_s=98.0, budget_s=180.0)
    lines.phase("timing")

    told = capsys.readouterr()
    assert (told.out, told.err.splitlines()) == (
        "",
        [
            "sweep mine: checking the workload (0s)",
            "sweep mine, stage 2 of 2: training 6 trials (0s)",
            "warning: odd",
            "sweep mine: writing the report (0s)",
            "sweep mine, stage 1 of 2: timing (1m38s of 3m)",
        ],
    )


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 120])
def test_every_width_shows_bar_and_time_in_lines_that_fit(tmp_path: Path, columns: int) -> None:
    written = told(tmp_path, columns=columns)

    assert written.code == 0
    assert max(map(len, written.lines)) <= columns
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
        assert any(each.startswith(line[: columns - 1]) for each in written.lines), line
    said = " ".join(" ".join(written.lines).split())
    assert "warning: [bold] " + "long " * 40 + "end" in said


@pytest.mark.slow
def test_a_terminal_made_narrower_gets_narrower_lines(tmp_path: Path) -> None:
    written = told(tmp_path, columns=100, seconds=2.0, narrower_when=("best so far", 45))

    wide = "best so far: batch size 256 at learning rate 0.08"
    assert wide in written.lines
    after = written.lines[len(written.lines) - written.lines[::-1].index(wide) :]
    assert sum("%" in line for line in after) >= 2
    assert max(len(line) for line in after[3:]) < 45


@pytest.mark.slow
def test_ctrl_c_leaves_the_terminal_with_its_cursor_and_without_the_display(tmp_path: Path) -> None:
    written = told(tmp_path, columns=60, seconds=20.0, interrupt_when="best so far")

    assert "KeyboardInterrupt" in written.raw
    assert written.shows_the_cursor
    drawn = written.raw[: written.raw.index("Traceback")]
    # Each line of the display is erased, the last one drawn too.
    assert drawn.rindex("\x1b[2K") > drawn.rindex("best so far")


@pytest.mark.slow
def test_a_command_tells_a_terminal_its_stages_and_ends_with_the_result(tmp_path: Path) -> None:
    write_user_file(tmp_path)
    command = [sys.executable, "-m", "batchlab", "sweep", "mine.py:workload"]

    written = in_a_terminal(
        [*command, "--batch-sizes", "4,8,16,32", "--epochs", "40"], columns=50, folder=tmp_path
    )

    assert written.code == 0, written.raw
    assert written.shows_the_cursor
    lines = written.lines
    assert any("training 4 trials" in line for line in lines)
    stored = next(i for i, line in enumerate(lines) if line.startswith("The store: "))
    assert any("4 trials: " in line for line in lines[stored + 1 :])  # the headline again
    in_one_piece = [i for i, line in enumerate(lines) if line.startswith("Command: ")]
    assert all(len(line) <= 50 for i, line in enumerate(lines) if i not in in_one_piece)
