"""Where a command is: in lines of a terminal, of a log and of a notebook."""

import sys
from collections.abc import Callable

import pytest
from tests.reference.made_up import made_up_trial

from batchlab.app import progress
from batchlab.app.progress import (
    ProgressLines,
    ProgressState,
    clock_text,
    listener_or_notebook,
    progress_lines,
)
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener

STAGE = "comparing batch sizes"
Pass = Callable[[float], None]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Time stands still, but for the seconds that a test lets pass."""
    now_s = 0.0

    def passes(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s)
    return passes


@pytest.mark.usefixtures("passes")
def test_a_terminal_has_all_of_it():
    state = ProgressState()
    state.begins(command="advise", subject="mnist-mlp", stages=("profile", "target", STAGE))
    state.budget(spent_s=98.0, budget_s=180.0)
    state.phase(STAGE)
    state.best(256, 0.08)
    trial = made_up_trial(batch_size=512, learning_rate=0.16, seed=2)
    state.asked([trial], Reason.of("asked_to_compare"))

    assert progress_lines(state, 79) == [
        "advise mnist-mlp, stage 3 of 3: comparing batch sizes",
        f"[{'█' * 16}{'░' * 14}]   54 %  0:01:38 of 0:03:00",
        "best so far: batch size 256 at learning rate 0.08",
        "now: batch size 512, learning rate 0.16, seed 2",
        "why: to see whether it may be faster",
    ]
    assert max(map(len, progress_lines(state, 39))) == 39


def test_planned_work_has_its_own_bar_and_the_time_left(passes):
    state = ProgressState()
    state.begins(command="sweep", subject="mnist-mlp", stages=("timing", "training"))
    state.phase("training")
    doing = "batch size 64, learning rate 0.01, seed 0: 45%"
    state.progress(done_fraction=0.25, left_s=61.0, text=doing)
    passes(1.0)

    bar = f"[{'█' * 7}{'░' * 23}]   25 %  0:01:00 left"
    assert progress_lines(state, 79)[1:] == [bar, f"now: {doing}"]
    assert (clock_text(59.6), clock_text(7500)) == ("0:01:00", "2:05:00")


def test_time_goes_by_the_clock_and_never_beyond_the_budget(passes):
    state = ProgressState()
    state.budget(spent_s=10.0, budget_s=60.0)
    state.progress(done_fraction=0.5, left_s=10.0, text="text")

    passes(5.0)
    assert (state.spent, state.done_fraction, state.left_s) == ((15.0, 60.0), 0.25, 5.0)

    passes(100.0)
    assert (state.spent, state.done_fraction, state.left_s) == ((60.0, 60.0), 1.0, 0.0)


def test_a_pipe_gets_one_line_a_stage_and_its_warnings(capsys):
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
            "sweep mine: checking the workload (0:00:00)",
            "sweep mine, stage 2 of 2: training 6 trials (0:00:00)",
            "warning: odd",
            "sweep mine: writing the report (0:00:00)",
            "sweep mine, stage 1 of 2: timing (0:01:38 of 0:03:00)",
        ],
    )


def test_a_notebook_gets_lines_and_other_callers_nothing(monkeypatch):
    given = ProgressListener()
    assert type(listener_or_notebook(None)) is ProgressListener
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert type(listener_or_notebook(None)) is ProgressLines
    assert listener_or_notebook(given) is given
