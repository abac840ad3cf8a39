"""The record of regret: chosen on some seeds, valued on others; and the grids are whole."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.situation import PROFILES, Situation, situation, step_times
from benchmarks.regret.workloads import mlp_narrow
from tests.reference.engine_run import run_engine
from tests.reference.recorded_grid import line_to, made_up_rows, write_grid
from tests.reference.script import BENCHMARKS, script
from tests.reference.small_workloads import small_trial

from batchlab.records.run import RunLength

RECORDED = sorted((BENCHMARKS / "regret").glob("*.csv.gz"))


@pytest.fixture
def drawn(tmp_path: Path) -> Situation:
    grid = RecordedGrid.read(write_grid(tmp_path, made_up_rows(20)))
    return situation(grid, "cpu", split=0)


@pytest.fixture(scope="module")
def harness() -> Iterator[ModuleType]:
    """benchmarks/regret.py, which is a script beside the folder of the same name."""
    with script("regret.py") as module:
        yield module


# ---- the recorded grids


@pytest.mark.nightly
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_a_recorded_grid_is_small_has_no_gap_and_judges_what_may_be_chosen(path: Path) -> None:
    grid = RecordedGrid.read(path)
    drawn = situation(grid, "cpu", split=0)

    assert path.stat().st_size <= 2_000_000
    assert math.isfinite(drawn.reference_s)
    assert math.isfinite(drawn.regret(drawn.reference))
    for size in grid.batch_sizes:
        rates = grid.learning_rates(size)
        cells = ((size, rate) for rate in rates)
        best = min(
            (statistics.fmean(found), cell) for cell in cells if (found := _steps(grid, cell))
        )
        assert len(grid.cells[best[1]]) >= 8, best
        octaves = [math.log2(rate / grid.header.reference_learning_rate) for rate in rates]
        first = round(octaves[0])
        assert octaves == pytest.approx(list(range(first, first + len(octaves))))
    for profile in PROFILES:
        times = step_times(grid, profile)
        assert sorted(times) == list(grid.batch_sizes)
        assert min(times.values()) > 0


def _steps(grid: RecordedGrid, cell: tuple[int, float]) -> list[float]:
    """Steps to target of the runs of a cell, empty where one missed it."""
    found = [grid.steps_to(grid.runs[*cell, seed], grid.target) for seed in grid.cells[cell]]
    met = [steps for steps in found if steps is not None]
    return met if len(met) == len(found) else []


@pytest.mark.nightly
def test_a_recorded_run_is_what_training_gives_again() -> None:
    grid = RecordedGrid.read(BENCHMARKS / "regret" / "mlp-narrow.csv.gz")
    run = grid.runs[64, 0.16, 0]
    workload = mlp_narrow()
    trial = small_trial(workload, batch_size=64, learning_rate=0.16)

    again = run_engine(workload, trial, RunLength(steps=run.curve[12][0]))

    # Another processor adds in another order: what differs grows with the steps.
    curve = [(each.step, each.score("validation", "accuracy")) for each in again.evaluations]
    for (step, value), (recorded_step, recorded) in zip(curve, run.curve[:13], strict=True):
        assert step == recorded_step
        assert value == pytest.approx(recorded, abs=0.01)


# ---- what is worth what


@pytest.mark.parametrize("split", range(20))
def test_what_is_seen_is_not_what_values(drawn: Situation, split: int) -> None:
    other = situation(drawn.grid, "cpu", split=split)

    assert not set(other.seen) & set(other.held_back)
    assert sorted(other.seen + other.held_back) == list(range(20))
    assert len(other.seen) == 10
    # Every cell has seeds of both kinds: those up to 4 are everywhere.
    assert {seed < 5 for seed in other.seen} == {True, False}
    assert any(seed < 5 for seed in other.held_back)


def test_the_best_cell_has_no_regret(drawn: Situation) -> None:
    # 32 steps of 1 ms each are fewer milliseconds than 40 of 2 ms: 64 loses by its step time.
    assert drawn.best(drawn.grid.cells) == (32, 0.2)
    assert drawn.regret((32, 0.2)) == 0.0


def test_the_optimum_is_chosen_on_seeds_that_are_seen(tmp_path: Path) -> None:
    # Two rates: one is faster on the seeds that are seen, the other on those held back.
    rows = [
        (16, rate, seed, "ok", line_to(20 if (seed in (0, 1, 2)) == (rate == 0.1) else 10))
        for rate in (0.1, 0.2)
        for seed in range(6)
    ]
    grid = RecordedGrid.read(write_grid(tmp_path, rows))
    drawn = Situation(
        grid=grid, profile="cpu", step_s={16: 1.0}, seen=(0, 1, 2), held_back=(3, 4, 5)
    )

    assert drawn.best(grid.cells) == (16, 0.2)
    assert drawn.regret((16, 0.1)) == pytest.approx(9.5 / 19.5 - 1)


# ---- the advice


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_advice_is_asked_on_seen_seeds_only_and_within_its_budget(
    harness: ModuleType, drawn: Situation, n_workers: int
) -> None:
    budget_s = 0.5 * drawn.search_cost_s

    reply = harness.advised(drawn, budget_s, n_workers)

    assert reply.problem == ""
    assert drawn.regret(reply.cell) < 0.5
    assert 0 < reply.spent_s <= budget_s
    assert reply.chance > 0.9
    low, high = reply.gain
    times = [drawn.seconds_to_target(cell, drawn.seen) for cell in (drawn.reference, reply.cell)]
    assert low < times[0] / times[1] < high


def test_a_recording_that_ends_before_the_level_is_asked_for_once(
    harness: ModuleType, tmp_path: Path
) -> None:
    """One rate is three times as fast on every other seed, whose recordings end late."""
    rows = [
        (16, rate, seed, "ok", line_to(steps, last=end))
        for rate, steps, end in ((0.1, 200, 240), (0.2, 60, 80), (0.2, 600, 300))
        for seed in range(20)
        if rate == 0.1 or (seed % 2 == 0) == (steps == 60)
    ]
    drawn = situation(RecordedGrid.read(write_grid(tmp_path, rows)), "cpu", split=0)

    reply = harness.advised(drawn, 4 * drawn.search_cost_s)

    assert reply.problem == ""
    assert reply.spent_s < 4 * drawn.search_cost_s
