"""The second record of regret: the advice without a target, and the table of its answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.whole_table import (
    ADVISE,
    WholeAnswer,
    beside_habits,
    bin_of,
    interval_over_workloads,
    table,
)
from tests.reference.script import BENCHMARKS, script
from tests.reference.whole_grid import EPOCHS, write_whole_grid

ANSWER = WholeAnswer(
    workload="one",
    profile="cpu",
    draw=0,
    who=ADVISE,
    tuned_trainings=18.0,
    whole_trainings=3.0,
    batch_size=64,
    learning_rate=0.1,
    named_as="recommendation",
    verdict="recommend",
    origin="pilot",
    regret=0.1,
    of_reference=0.5,
    shortfall=0.2,
    shortfall_of_own=-0.4,
    shortfall_error=0.3,
    is_optimum=False,
    spent=0.5,
)


RECORDED = sorted((BENCHMARKS / "regret" / "whole").glob("*.csv.gz"))


@pytest.fixture(scope="module")
def harness() -> Iterator[ModuleType]:
    """benchmarks/regret_whole.py, which is a script."""
    with script("regret_whole.py") as module:
        yield module


@pytest.mark.slow
def test_the_advice_sets_its_level_from_a_whole_training(
    harness: ModuleType, tmp_path: Path
) -> None:
    drawn = harness.whole_situation(RecordedGrid.read(write_whole_grid(tmp_path)), "cpu", draw=0)

    question = harness.asked(drawn, 1.0)
    reply = harness.advised(drawn, 75 * drawn.tuned_reference_s)

    assert (question.target, question.longest_epochs) == (None, EPOCHS)
    assert (reply.problem, reply.origin) == ("", "pilot")
    assert reply.cell == drawn.optimum
    assert 0 < reply.spent_s <= 75 * drawn.tuned_reference_s


def test_every_habit_answers_beside_the_advice(harness: ModuleType, tmp_path: Path) -> None:
    path = write_whole_grid(tmp_path)

    answers = harness.answers_of(path, "cpu", (18.0,), 1)

    assert [each.who for each in answers] == [ADVISE, *harness.WHOLE_HABITS]
    reference = answers[1]
    assert (reference.who, reference.spent, reference.of_reference) == ("reference", 0.0, 1.0)
    assert reference.named_as == "reference"


@pytest.mark.nightly
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_a_recorded_grid_is_small_whole_and_judges_what_may_be_chosen(path: Path) -> None:
    grid = RecordedGrid.read(path)
    from benchmarks.regret.whole_situation import whole_situation

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


# ---- the table


@pytest.mark.parametrize(
    ("trainings", "name"),
    [
        (0.5, "< 3"),
        (3, "3 to 6"),
        (11.9, "6 to 12"),
        (75, "50 to 100"),
        (100, "100 to 200"),
        (300, "> 200"),
    ],
)
def test_a_budget_has_a_bin(trainings: float, name: str) -> None:
    assert bin_of(trainings) == name


def test_the_interval_is_over_workloads_not_over_answers() -> None:
    # A hundred answers about each of two workloads are two observations.
    answers = [
        replace(ANSWER, workload=workload, regret=regret)
        for workload, regret in (("one", 0.0), ("two", 1.0))
        for _ in range(100)
    ]

    low, high = interval_over_workloads(
        answers, lambda some: sum(each.regret for each in some) / len(some)
    )

    assert (low, high) == (0.0, 1.0)


def test_the_table_counts_what_ends_worse_ties_and_provisional_answers() -> None:
    answers = [
        ANSWER,
        replace(ANSWER, draw=1, regret=0.0, is_optimum=True, shortfall_of_own=1.5),
        replace(
            ANSWER, draw=2, named_as="provisional", verdict="cannot_tell", shortfall=1.5,
            of_reference=1.2, regret=math.inf, origin="easier",
        ),
        replace(ANSWER, draw=3, named_as="reference", verdict="cannot_tell", shortfall=3.0),
        replace(ANSWER, who="256, tuned", verdict="", regret=0.4, shortfall=2.0),
    ]  # fmt: skip

    text = table(answers)

    lines = text.splitlines()
    assert "| 12 to 25 | 3 | 10 % / fails | 40 % / 40 % |" in lines
    assert "| 12 to 25 | 50 % of 4 | 100 % of 1 |" in lines
    own = next(line for line in lines if line.startswith("| 12 to 25 | 4 |"))
    assert (
        "| 25 % (25 % to 25 %) | 3 | 33 % (33 % to 33 %) | 33 % | 0 % of 2 | 0 of 1 | 50 % |" in own
    )
    assert "2 recommend, 1 cannot_tell (easier level), 1 cannot_tell" in own
    recommended = next(line for line in lines if line.startswith("Recommended"))
    assert recommended.startswith("Recommended: 2 answers; 0 end worse, 0 of them for sure, ")
    assert recommended.endswith("1 worse than the reference as it is.")


def test_beside_the_habits_are_regret_and_what_ends_worse_by_whole_trainings():
    mine = replace(ANSWER, whole_trainings=4.0, regret=0.1, shortfall_of_own=0.5)
    habit = replace(mine, who="256, tuned", regret=math.inf, shortfall_of_own=2.0)

    lines = beside_habits([mine, habit])

    assert lines[0] == "| whole trainings | advise | 256, tuned |"
    assert lines[2:] == ["| 3 to 6 | 10 % / 10 %, 0 % | fails / fails, 100 % |"]
