"""Recorded grids: what is on the disk is what comes back, and what is damaged is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.recorded.grid import RecordedGrid, WholeGridHeader
from tests.reference.recorded_grid import HEADER, line_to, made_up_rows, write_grid
from tests.reference.whole_grid import write_whole_grid

from batchlab.records.trial import Status


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_grid(tmp_path, made_up_rows())


def test_a_grid_comes_back_as_it_was_written(path: Path) -> None:
    grid = RecordedGrid.read(path)

    assert grid.batch_sizes == (16, 32, 64)
    assert grid.learning_rates(32) == (0.1, 0.2, 0.8)
    assert grid.cells[32, 0.2] == tuple(range(10))
    assert grid.cells[32, 0.1] == tuple(range(5))
    run = grid.runs[32, 0.2, 4]
    assert (run.status, run.steps) == (Status.TARGET_REACHED, 81)
    assert run.curve == tuple(line_to(68))
    assert grid.header.step_s[64] == HEADER["step_s"]["64"]


def test_steps_to_a_target_lie_between_two_evaluations(tmp_path: Path) -> None:
    rows = [(16, 0.1, 0, "ok", [(0, 2.0), (10, None), (20, 0.7), (30, 0.5), (40, 0.3)])]
    grid = RecordedGrid.read(write_grid(tmp_path, rows))

    run = grid.runs[16, 0.1, 0]

    assert grid.steps_to(run, grid.target) == 25
    assert grid.steps_to(run, grid.easier) == 25
    assert grid.steps_to(run, grid.harder) == 35


def test_a_run_is_cut_where_its_batch_sizes_are(path: Path) -> None:
    # The best rate of batch size 64 meets the target after 40 + 2 * seed steps, seeds 0 to 9; the
    # middle of the interval lies half a step before.
    assert RecordedGrid.read(path).cut_steps(64) == pytest.approx(3.5 * (49 - 0.5))


# ---- grids of whole trainings


def test_a_grid_of_whole_trainings_says_how_long_they_are(tmp_path: Path) -> None:
    grid = RecordedGrid.read(write_whole_grid(tmp_path))

    assert isinstance(grid.header, WholeGridHeader)
    assert (grid.header.epochs, grid.header.has_schedule, grid.header.eval_s) == (20, False, 0.0005)
    assert grid.runs[64, 0.1, 0].steps == 20 * 1024 // 64
