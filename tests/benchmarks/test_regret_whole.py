"""The second record of regret: the advice without a target, and the table of its answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.whole_situation import whole_situation
from benchmarks.regret.whole_table import ADVISE, WholeAnswer, stated
from tests.reference.script import BENCHMARKS, script
from tests.reference.whole_grid import EPOCHS, write_whole_grid

RECORDED = sorted((BENCHMARKS / "regret" / "whole").glob("*.csv.gz"))
FOUND = WholeAnswer(
    workload="made-up",
    profile="cpu",
    rate_octaves=0,
    draw=0,
    who=ADVISE,
    tuned_trainings=40.0,
    whole_trainings=4.0,
    batch_size=256,
    learning_rate=0.8,
    named_as="named",
    origin="pilot",
    n_workers=1,
    regret=0.0,
    of_reference=0.5,
    of_reference_error=0.1,
    shortfall=0.0,
    shortfall_of_own=0.0,
    shortfall_error=0.4,
    is_optimum=True,
    spent=0.9,
    chance=0.85,
    gain_low=1.5,
    gain=2.0,
    gain_high=2.5,
    gain_seen=2.0,
    n_sizes=4,
)


@pytest.fixture(scope="module")
def harness() -> Iterator[ModuleType]:
    """benchmarks/regret_whole.py, which is a script."""
    with script("regret_whole.py") as module:
        yield module


@pytest.mark.parametrize("n_workers", [1, 2])
def test_the_advice_sets_its_level_from_a_whole_training(
    harness: ModuleType, tmp_path: Path, n_workers: int
) -> None:
    drawn = whole_situation(RecordedGrid.read(write_whole_grid(tmp_path)), "cpu", draw=0)
    budget_s = 75 * drawn.tuned_reference_s

    question = harness.asked(drawn, 1.0)
    reply = harness.advised(drawn, budget_s, n_workers)

    assert (question.target, question.planned_epochs) == (None, EPOCHS)
    assert (reply.problem, reply.origin, reply.named_as) == ("", "pilot", "named")
    assert drawn.regret(reply.cell) < 0.1
    assert drawn.shortfall_of_own(reply.cell, drawn.judging) < 1
    assert 0 < reply.spent_s <= budget_s
    assert reply.n_sizes == 4
    assert reply.chance > 0.8


def test_every_habit_answers_beside_the_advice(harness: ModuleType, tmp_path: Path) -> None:
    path = write_whole_grid(tmp_path)

    answers = harness.answers_of(path, "cpu", (18.0,), (0,))

    assert [each.who for each in answers] == [ADVISE, *harness.WHOLE_HABITS]
    reference = answers[1]
    assert (reference.who, reference.spent, reference.of_reference) == ("reference", 0.0, 1.0)
    assert reference.named_as == "reference"
    assert "## All, beside the habits" in harness.tables(answers)


def test_a_user_with_a_good_rate_is_asked_with_that_rate(
    harness: ModuleType, tmp_path: Path
) -> None:
    path = write_whole_grid(tmp_path)

    (answer,), none = (harness.answers_of(path, "cpu", (18.0,), (0,), o, 2) for o in (0, -20))

    assert (answer.rate_octaves, answer.has_good_rate, none) == (0, True, [])
    assert (answer.problem, answer.n_workers) == ("", 2)


def test_slower_or_worse_for_sure_is_beyond_what_judging_seeds_scatter() -> None:
    fine = replace(FOUND, of_reference=1.1, shortfall_of_own=1.5)

    assert not fine.is_worse_than_own_for_sure
    assert replace(fine, of_reference=1.2).is_worse_than_own_for_sure
    assert replace(fine, shortfall_of_own=1.8).is_worse_than_own_for_sure
    misses = replace(fine, of_reference=math.inf, of_reference_error=math.inf)
    assert misses.is_worse_than_own_for_sure


def test_stated_chances_stand_beside_what_was_seen() -> None:
    answers = [
        FOUND,
        # Slower, and its gain outside.
        replace(FOUND, chance=0.81, of_reference=1.1, gain_seen=0.9),
        replace(FOUND, chance=0.99, shortfall_of_own=1.1),  # ends worse
        # Misses the level: it has no gain.
        replace(FOUND, chance=0.97, of_reference=math.inf, gain_seen=None),
        replace(FOUND, chance=None, named_as="reference", of_reference=1.0),
        replace(FOUND, chance=0.95, whole_trainings=0.5),
    ]

    lines = stated(answers)

    def cells(line: str) -> list[str]:
        return [cell.partition(" (")[0] for cell in line.strip("| ").split(" | ")]

    assert [cells(line) for line in lines[2:4]] == [
        ["0 to 1", "1", "95 %", "100 %", "100 %"],
        ["3 to 6", "4", "90 %", "25 %", "67 %"],
    ]
    assert [cells(line) for line in lines[7:]] == [["83 %", "2", "50 %"], ["97 %", "3", "33 %"]]


@pytest.mark.nightly
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_a_recorded_grid_is_small_whole_and_judges_what_may_be_chosen(path: Path) -> None:
    grid = RecordedGrid.read(path)
    drawn = whole_situation(grid, "cpu", draw=0)

    assert path.stat().st_size <= 2_000_000
    for run in grid.runs.values():
        assert run.status != "ok" or run.steps == drawn.whole_steps(run.batch_size)
    for size in grid.batch_sizes:
        octaves = [math.log2(rate / drawn.reference[1]) for rate in grid.learning_rates(size)]
        first = round(octaves[0])
        assert octaves == pytest.approx(list(range(first, first + len(octaves))))
    for cell in (drawn.reference, drawn.tuned_reference, drawn.optimum):
        assert len(grid.cells[cell]) == len(grid.seeds)
