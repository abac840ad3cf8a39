"""A large reference: the same trainings, asked by someone who has another batch size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks.regret.whole_situation import whole_situation
from tests.reference.script import script
from tests.reference.whole_grid import write_whole_grid

from batchlab.engines.recorded_grid import RecordedGrid


@pytest.fixture(scope="module")
def large() -> Iterator[ModuleType]:
    with script("large_reference.py") as module:
        yield module


def test_another_reference_has_the_rate_nearest_to_the_square_root_rules(
    large: ModuleType, tmp_path: Path
) -> None:
    grid = RecordedGrid.read(write_whole_grid(tmp_path))

    changed = large.with_reference(grid, 512)

    drawn = whole_situation(changed, "cpu", draw=0)
    assert drawn.reference == (512, pytest.approx(0.1 * 4))  # 0.28 is wanted, 0.4 the least there
    assert changed.runs == grid.runs
    assert grid.header.reference_batch_size == 64


def test_answers_are_valued_beside_the_new_reference(large: ModuleType, tmp_path: Path) -> None:
    replies = large.replies_of(write_whole_grid(tmp_path), 1)

    assert {(reply.profile, reply.trainings) for reply in replies} == {
        (profile, trainings)
        for profile in ("cpu", "flat to 256", "flat to 8192")
        for trainings in (1.5, 3.0, 6.0)
    }
    assert all(reply.of_own <= 1.0 for reply in replies)
    assert len(large.table(replies).splitlines()) == 2 + 9


@pytest.mark.slow
def test_a_reference_that_learns_nothing_is_left_out(large: ModuleType, tmp_path: Path) -> None:
    drawn = whole_situation(RecordedGrid.read(write_whole_grid(tmp_path)), "cpu", draw=0)
    assert large.learns(drawn)

    class Never:
        reference = drawn.reference
        judging = drawn.judging
        tuned_reference_s = 0.0

        def time_s(self, cell: object, seeds: object) -> float:
            return math.inf

    assert not large.learns(Never())
