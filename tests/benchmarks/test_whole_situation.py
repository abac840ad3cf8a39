"""Whole trainings as a question: what is seen does not judge, and the optimum ends no worse."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import pytest
from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.whole_habits import WHOLE_HABITS
from benchmarks.regret.whole_level import level_of
from benchmarks.regret.whole_situation import USUAL_STEP_TIME_SD, WholeSituation, whole_situation
from tests.reference.made_up import approach, made_up_record
from tests.reference.simulated_question import knee, question
from tests.reference.whole_grid import N_SEEDS, rise, write_rows, write_whole_grid

from batchlab.advice.level import as_well_as, end_level
from batchlab.errors import TrialError

# (256, 1.6) is as fast to a level, but ends worse; (256, 0.8) is the fastest that does not.
OPTIMUM = (256, 0.8)


@pytest.fixture
def drawn(tmp_path: Path) -> WholeSituation:
    return whole_situation(RecordedGrid.read(write_whole_grid(tmp_path)), "cpu", draw=0)


def test_nine_of_fourteen_seeds_are_seen_and_the_others_judge(tmp_path: Path) -> None:
    grid = RecordedGrid.read(
        write_whole_grid(tmp_path, is_far=lambda size, octave: (size, octave) == (64, 3))
    )

    for draw in range(10):
        drawn = whole_situation(grid, "cpu", draw=draw)
        assert len(drawn.seen) == 9
        assert sorted(drawn.seen + drawn.judging) == list(range(N_SEEDS))
        # The far seeds are met first, and one of them judges.
        assert sum(seed < 4 for seed in drawn.seen[:3]) == 3
        assert any(seed < 4 for seed in drawn.judging)


def test_the_level_comes_from_how_the_reference_ends(drawn: WholeSituation) -> None:
    assert drawn.level.end == pytest.approx(0.95, abs=0.0002)
    assert drawn.level.target.value == pytest.approx(0.95 - 0.05 * 0.05, abs=0.0002)
    assert drawn.tuned_reference == (64, 0.4)


def test_another_rate_of_the_user_sets_another_level(drawn: WholeSituation) -> None:
    tuned, low = drawn.with_rate(0), drawn.with_rate(-1)

    assert (tuned.rate_octaves, low.rate_octaves) == (0, -1)
    assert tuned.reference == (drawn.reference[0], drawn.best_rate)
    assert low.reference[1] == pytest.approx(drawn.best_rate / 2)
    assert drawn.rate_octaves == round(math.log2(drawn.reference[1] / drawn.best_rate))
    assert tuned.level.end == tuned.end(tuned.reference, tuned.grid.seeds) > low.level.end
    with pytest.raises(TrialError):
        drawn.with_rate(-20)


def test_the_optimum_is_the_fastest_that_ends_no_worse(tmp_path: Path) -> None:
    # (256, 0.4) is faster, but ends three margins worse; at the level it is met all the same.
    cells = ((64, 0.1, 2.0, 0.95), (128, 0.2, 0.8, 0.9495), (256, 0.4, 0.3, 0.9480))
    rows = [
        (size, rate, seed, "ok", rise(size, epochs_to_half=half, end=end, seed=seed))
        for size, rate, half, end in (*cells, (64, 0.2, 0.9, 0.953))
        for seed in range(N_SEEDS)
    ]
    path = write_rows(tmp_path, rows)
    drawn = whole_situation(RecordedGrid.read(path), "cpu", draw=0)

    times = {cell: drawn.time_s(cell, drawn.grid.seeds) for cell in drawn.grid.cells}

    assert min(times, key=lambda cell: times[cell]) == (256, 0.4)
    assert drawn.shortfall((256, 0.4), drawn.seen) > 1
    assert drawn.shortfall((128, 0.2), drawn.seen) > 1  # beside the tuned reference
    assert drawn.optimum == (64, 0.2)


def test_the_optimum_has_no_regret_and_what_misses_the_level_fails(drawn: WholeSituation) -> None:
    assert drawn.optimum == OPTIMUM
    assert drawn.regret(OPTIMUM) == 0
    assert drawn.regret((64, 0.1)) > 5
    assert drawn.regret((64, 0.8)) == math.inf
    assert drawn.regret(None) == math.inf


# ---- habits


@pytest.mark.slow
@pytest.mark.parametrize("who", WHOLE_HABITS)
@pytest.mark.parametrize("trainings", [2.0, 30.0])
def test_a_habit_is_charged_for_what_it_runs_and_keeps_to_its_budget(
    drawn: WholeSituation, who: str, trainings: float
) -> None:
    budget_s = trainings * drawn.whole_reference_s

    named = WHOLE_HABITS[who](drawn, budget_s, 0)

    assert (named.spent_s == 0) == (who == "reference")
    assert named.spent_s <= 1.1 * budget_s
    assert named.cell in drawn.grid.cells


def test_step_times_are_off_as_a_profile_is_and_their_intervals_say_so(tmp_path: Path) -> None:
    grid = RecordedGrid.read(write_whole_grid(tmp_path))

    drawn = [whole_situation(grid, "cpu", draw=draw) for draw in range(100)]

    off = [
        math.log((known.estimate or 0) / one.step_s[size])
        for one in drawn
        for size, known in one.timed.items()
    ]
    held = [known.holds(one.step_s[size]) for one in drawn for size, known in one.timed.items()]
    assert statistics.pstdev(off) == pytest.approx(USUAL_STEP_TIME_SD, rel=0.2)
    assert 0.91 < statistics.fmean(held) < 0.99


RECORD = made_up_record(
    curves={("validation", "accuracy"): approach(0.9)}, epochs=10, evaluations_per_epoch=4
)
CURVE = [(evaluation.step, value) for evaluation, value in RECORD.curve("validation", "accuracy")]


def test_the_level_of_one_training_is_that_of_the_advice() -> None:
    asked = question(knee(64), budget_s=1.0, target=None)
    end = end_level(asked, RECORD, planned_steps=RECORD.steps)
    assert end is not None

    level = level_of([CURVE], metric="accuracy", better="higher")

    target = as_well_as(end.value, end.margin, metric="accuracy", better="higher")
    assert level.target == target
    assert (level.end, level.margin) == pytest.approx((end.value, end.margin))
