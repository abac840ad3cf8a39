"""Where a command is: in lines of a terminal, and in one output of a notebook's cell."""

from __future__ import annotations

import subprocess
import sys

from batchlab.app.progress import (
    NotebookProgress,
    ProgressState,
    clock_text,
    listener_or_notebook,
    progress_lines,
)
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar

STAGE = "comparing batch sizes"


def test_a_terminal_has_all_of_it() -> None:
    state = ProgressState(clock=lambda: 0.0)
    state.begins(command="advise", subject="mnist-mlp", stages=("profile", "target", STAGE))
    state.budget(spent_s=98.0, budget_s=180.0)
    state.phase(STAGE)
    state.lead = BestSoFar(batch_size=256, learning_rate=0.08)
    why = Reason.of("asked_to_compare")
    state.runs = RunsAsked(batch_sizes=(512,), learning_rates=(0.16,), seeds=(2,), why=why)

    assert progress_lines(state, 79) == [
        "advise mnist-mlp, stage 3 of 3: comparing batch sizes",
        f"[{'█' * 16}{'░' * 14}]   54 %  1m38s of 3m",
        "best so far: batch size 256 at learning rate 0.08",
        "now: batch size 512, learning rate 0.16, seed 2",
        "why: to see whether it may be faster",
    ]
    # In a narrow terminal lines are cut, and bar and time are there.
    lines = progress_lines(state, 39)
    assert max(map(len, lines)) == 39
    assert lines[1] == f"[{'█' * 9}{'░' * 8}]   54 %  1m38s of 3m"


def test_planned_work_has_its_own_bar_and_the_time_left() -> None:
    now_s = 0.0
    state = ProgressState(clock=lambda: now_s)
    state.begins(command="sweep", subject="mnist-mlp", stages=("timing", "training"))
    state.phase("training")
    doing = "batch size 64, learning rate 0.01, seed 0: 45%"
    state.progress(done_fraction=0.25, left_s=61.0, text=doing)
    now_s = 1.0

    bar = f"[{'█' * 7}{'░' * 23}]   25 %  1m left"
    assert progress_lines(state, 79)[1:] == [bar, f"now: {doing}"]
    shown = {0: "0s", 59.6: "1m", 98: "1m38s", 180: "3m", 7500: "2h05m"}
    assert {seconds: clock_text(seconds) for seconds in shown} == shown


def test_time_goes_by_the_clock_and_what_is_spent_of_a_budget_never_falls() -> None:
    now_s = 100.0
    state = ProgressState(clock=lambda: now_s)
    state.budget(spent_s=10.0, budget_s=60.0)
    state.progress(done_fraction=0.5, left_s=10.0, text="text")

    now_s += 5.0
    state.budget(spent_s=3.0, budget_s=60.0)
    assert (state.spent, state.done_fraction, state.left_s) == ((15.0, 60.0), 0.25, 5.0)

    state.budget(spent_s=3.0, budget_s=90.0)
    assert state.spent == (3.0, 90.0)

    now_s += 100.0  # never more than all of it
    assert (state.spent, state.done_fraction, state.left_s) == ((90.0, 90.0), 1.0, 0.0)


class Cell:
    """What IPython's `display` shows."""

    def __init__(self) -> None:
        self.outputs: list[str] = []
        self.n_displayed = 0

    def display(self, both: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        self.n_displayed += 1
        self.outputs.append(both["text/plain"])
        return self

    def update(self, both: dict[str, str], *, raw: bool) -> None:
        assert raw
        assert both["text/html"].startswith("<pre>")
        self.outputs.append(both["text/plain"])


def test_one_output_is_written_again_and_ends_as_one_line() -> None:
    now_s = 0.0
    cell = Cell()
    progress = NotebookProgress(cell.display, clock=lambda: now_s)
    progress.begins(command="advise", subject="mine", stages=("first", "second"))
    progress.budget(spent_s=0.0, budget_s=60.0)
    progress.phase("second")

    now_s = 98.0
    progress.warning("<b>odd</b>")
    n_before = len(cell.outputs)
    for n in range(10):  # at most twice a second
        now_s = 98.0 + n / 30
        progress.progress(done_fraction=n / 100, left_s=None, text=f"run {n}")
    assert len(cell.outputs) == n_before
    now_s = 3600.0  # the cell goes on with something else
    progress.ends()

    assert cell.n_displayed == 1
    assert "advise mine, stage 2 of 2: second" in cell.outputs[1]
    assert cell.outputs[-1].splitlines() == ["advise mine: 1m38s", "warning: <b>odd</b>"]


def test_outside_of_a_notebook_nobody_is_told_and_ipython_is_not_loaded() -> None:
    code = (
        "import sys; from batchlab.app.progress import listener_or_notebook as told\n"
        "print(type(told(None)).__name__, 'IPython' in sys.modules)"
    )

    assert subprocess.check_output([sys.executable, "-c", code]) == b"ProgressListener False\n"
    given = ProgressListener()
    assert listener_or_notebook(given) is given
