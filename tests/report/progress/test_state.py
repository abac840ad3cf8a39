from __future__ import annotations

import pytest

from batchlab.report.progress import ProgressState


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_budget_is_spent_by_the_clock_and_never_more_than_all_of_it() -> None:
    clock = Clock()
    state = ProgressState(clock=clock)
    state.budget(spent_s=10.0, budget_s=60.0)

    clock.now_s += 20.0
    assert (state.spent, state.done_fraction) == ((30.0, 60.0), 0.5)

    clock.now_s += 100.0
    assert (state.spent, state.done_fraction) == ((60.0, 60.0), 1.0)


def test_what_is_spent_of_the_same_budget_never_falls() -> None:
    clock = Clock()
    state = ProgressState(clock=clock)
    state.budget(spent_s=10.0, budget_s=60.0)

    clock.now_s += 5.0
    state.budget(spent_s=3.0, budget_s=60.0)
    assert state.spent == (15.0, 60.0)

    state.budget(spent_s=3.0, budget_s=90.0)
    assert state.spent == (3.0, 90.0)


def test_the_time_left_goes_down_between_two_reports() -> None:
    clock = Clock()
    state = ProgressState(clock=clock)
    state.progress(done_fraction=0.5, left_s=10.0, text="text")

    clock.now_s += 4.0
    assert state.left_s == pytest.approx(6.0)

    clock.now_s += 40.0
    assert state.left_s == 0.0


def test_a_new_part_forgets_what_was_being_done() -> None:
    state = ProgressState()
    state.begins(command="sweep", subject="mine", stages=("first", "second"))
    state.phase("first")
    state.progress(done_fraction=0.5, left_s=10.0, text="text")

    state.phase("beside them")

    assert (state.doing, state.left_s, state.done_fraction) == (("", ""), None, None)
    assert state.stage_number is None
