from __future__ import annotations

import pytest

from batchlab.records.estimate import Reason
from batchlab.records.run import RunsAsked
from batchlab.records.study import BestSoFar
from batchlab.report.progress import ProgressState, clock_text, progress_lines, stage_text

STAGES = ("measuring each batch size", "setting the target", "comparing batch sizes")


def an_advice(at: int = 2, **changes: object) -> ProgressState:
    now_s = 0.0
    state = ProgressState(clock=lambda: now_s)
    state.begins(command="advise", subject="mnist-mlp", stages=STAGES)
    state.budget(spent_s=98.0, budget_s=180.0)
    state.phase(STAGES[at])
    state.lead = BestSoFar(
        batch_size=256, learning_rate=0.08, quantity="time_to_target_s", value=3.82
    )
    state.runs = RunsAsked(
        batch_sizes=(512,),
        learning_rates=(0.16,),
        seeds=(2,),
        why=Reason.of("larger_may_be_better"),
    )
    for name, value in changes.items():
        setattr(state, name, value)
    return state


def test_a_wide_terminal_has_all_of_it() -> None:
    assert progress_lines(an_advice(), 120) == [
        "advise mnist-mlp   stage 3 of 3: comparing batch sizes",
        f"[{'█' * 16}{'░' * 14}]   54 %  1m38s of 3m",
        "best so far: batch size 256 at learning rate 0.08 (3.82 s to target)",
        "now: batch size 512, learning rate 0.16, seed 2 — a larger batch may be better",
    ]


def test_a_narrow_terminal_has_it_in_fewer_words() -> None:
    assert progress_lines(an_advice(), 39) == [
        "stage 3 of 3: comparing batch sizes",
        f"[{'█' * 9}{'░' * 8}]   54 %  1m38s of 3m",
        "best so far: 256 at 0.08 (3.82 s)",
        "now: batch size 512 at 0.16, seed 2",
        "why: a larger batch may be better",
    ]


@pytest.mark.parametrize("width", range(39, 130))
def test_no_line_is_too_long_and_bar_and_time_are_always_there(width: int) -> None:
    lines = progress_lines(an_advice(), width)

    assert max(map(len, lines)) <= width
    assert "54 %" in lines[1]
    assert "1m38s of 3m" in lines[1]
    assert "█░" in lines[1]
    assert not any(line.endswith("…") for line in lines)


@pytest.mark.parametrize("width", [39, 59, 79])
def test_the_longest_values_are_not_cut_either(width: int) -> None:
    state = an_advice()
    state.begins(
        command="advise", subject="examples/a_very_long_name_of_a_file.py:workload", stages=STAGES
    )
    state.budget(spent_s=7260.0, budget_s=36000.0)
    state.lead = BestSoFar(
        batch_size=131072, learning_rate=0.000123, quantity="samples_to_target", value=123456789.0
    )
    state.runs = RunsAsked(
        batch_sizes=(8, 64, 512, 4096, 32768),
        learning_rates=(0.001, 0.00204, 0.004),
        seeds=(10, 11, 12),
        why=Reason.of("asked_to_verify"),
    )

    head, bar, lead, now, *_ = progress_lines(state, width)

    assert head.endswith("comparing batch sizes")
    assert "2h01m of 10h" in bar
    assert "131072 at 0.000123" in lead
    assert now.startswith("now: batch sizes 8 to 32768")


def test_planned_work_has_its_own_bar_and_the_time_left() -> None:
    now_s = 0.0
    state = ProgressState(clock=lambda: now_s)
    state.begins(
        command="sweep",
        subject="mnist-mlp",
        stages=("timing each batch size alone", "training 6 trials"),
    )
    state.phase("training 6 trials")
    full = "batch size 64, learning rate 0.01, seed 0: 45%"
    state.progress(done_fraction=0.25, left_s=61.0, text=full, short="64 at 0.01, seed 0: 45%")
    now_s = 1.0

    assert progress_lines(state, 79)[1:] == [
        f"[{'█' * 7}{'░' * 23}]   25 %  1m left",
        f"now: {full}",
    ]
    assert progress_lines(state, 39)[2] == "now: 64 at 0.01, seed 0: 45%"


def test_before_anything_is_told_the_time_goes_on() -> None:
    now_s = 10.0
    state = ProgressState(clock=lambda: now_s)
    now_s = 13.0

    assert progress_lines(state, 39) == ["starting", "3s"]


def test_a_metric_that_leads_is_named() -> None:
    lead = BestSoFar(batch_size=64, learning_rate=0.1, quantity="accuracy", value=0.98)

    assert "best so far: batch size 64 at learning rate 0.1 (accuracy 0.9800)" in progress_lines(
        an_advice(lead=lead), 120
    )


def test_a_terminal_without_blocks_gets_a_bar_of_ascii() -> None:
    bar = progress_lines(an_advice(), 60, ascii_only=True)[1]

    assert bar.isascii()
    assert "#-" in bar


def test_a_pipe_is_told_the_stage_in_one_line() -> None:
    assert stage_text(an_advice(1)) == "advise mnist-mlp, stage 2 of 3: setting the target"
    assert stage_text(an_advice(stage="writing the report")) == (
        "advise mnist-mlp: writing the report"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59.6, "1m"), (98, "1m38s"), (180, "3m"), (7200, "2h"), (7500, "2h05m")],
)
def test_seconds_are_shown_as_on_a_clock(seconds: float, shown: str) -> None:
    assert clock_text(seconds) == shown
