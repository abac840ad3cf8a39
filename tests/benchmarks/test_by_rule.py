"""By rule: cells are valued as recorded, a rate that was not recorded has no answer."""

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
def rules() -> Iterator[ModuleType]:
    with script("by_rule.py") as module:
        yield module


def test_each_rule_names_the_cell_that_was_recorded_at_its_rate(
    rules: ModuleType, tmp_path: Path
) -> None:
    drawn = whole_situation(RecordedGrid.read(write_whole_grid(tmp_path)), "cpu", draw=0)
    size, rate = drawn.reference

    found = {(each.size, each.rate): each for each in rules.by_rules(drawn)}

    twice = found["twice the batch", "as many times the rate"]
    cell = drawn.grid.cell(2 * size, 2 * rate)
    seeds = drawn.grid.seeds
    own_s = drawn.time_s(drawn.reference, seeds)
    assert twice.of_own == pytest.approx(drawn.time_s(cell, seeds) / own_s)
    assert twice.ends_worse == (drawn.shortfall_of_own(cell, seeds) > 1)


def test_a_rate_that_was_not_recorded_within_half_an_octave_has_no_answer(
    rules: ModuleType, tmp_path: Path
) -> None:
    grid = RecordedGrid.read(write_whole_grid(tmp_path))
    size, rates = grid.batch_sizes[0], grid.learning_rates(grid.batch_sizes[0])

    assert rules.recorded_near(grid, size, 1.3 * max(rates)) == (size, max(rates))
    assert rules.recorded_near(grid, size, 1.5 * max(rates)) is None
    assert rules.recorded_near(grid, 3 * max(grid.batch_sizes), rates[0]) is None


def test_the_table_counts_what_is_slower_and_what_never_gets_there(rules: ModuleType) -> None:
    def answer(workload: str, of_own: float, *, worse: bool = False) -> object:
        return rules.ByRule(
            size="4 times",
            rate="the same rate",
            workload=workload,
            of_own=of_own,
            regret=4 * of_own - 1,
            ends_worse=worse,
        )

    given = [
        answer("a", 0.5),
        answer("a", 1.04),
        answer("b", 1.2),
        answer("b", math.inf, worse=True),
    ]

    *_, only = rules.table(given).splitlines()

    assert only == (
        "| 4 times | the same rate | 2 workloads, 4 answers | 112 % / never | 348 % | 50 % | 25 % |"
    )
