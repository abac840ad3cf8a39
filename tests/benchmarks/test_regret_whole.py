"""The second record of regret: the advice without a target, and the table of its answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.whole_table import ADVISE, HOWEVER_UNSURE
from tests.reference.script import BENCHMARKS, script
from tests.reference.whole_grid import EPOCHS, write_whole_grid

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
    reply, however_unsure = harness.advised(drawn, 75 * drawn.tuned_reference_s)

    assert (question.target, question.longest_epochs) == (None, EPOCHS)
    assert (reply.problem, reply.origin) == ("", "pilot")
    assert (reply.cell, however_unsure) == (drawn.optimum, reply)
    assert 0 < reply.spent_s <= 75 * drawn.tuned_reference_s


def test_every_habit_answers_beside_the_advice(harness: ModuleType, tmp_path: Path) -> None:
    path = write_whole_grid(tmp_path)

    answers = harness.answers_of(path, "cpu", (18.0,), 1)

    assert [each.who for each in answers] == [ADVISE, HOWEVER_UNSURE, *harness.WHOLE_HABITS]
    reference = answers[2]
    assert (reference.who, reference.spent, reference.of_reference) == ("reference", 0.0, 1.0)
    assert reference.named_as == "reference"


def test_a_user_with_a_good_rate_is_asked_with_that_rate(harness, tmp_path) -> None:
    path = write_whole_grid(tmp_path)

    (answer, *_), none = (harness.answers_of(path, "cpu", (18.0,), 1, o) for o in (0, -20))

    assert (answer.rate_octaves, answer.has_good_rate, none) == (0, True, [])
    assert answer.problem == ""


def test_slower_or_worse_for_sure_is_beyond_what_judging_seeds_scatter(harness, tmp_path) -> None:
    found = harness.answers_of(write_whole_grid(tmp_path), "cpu", (18.0,), 1)[0]
    fine = {"of_reference": 1.1, "of_reference_error": 0.1, "shortfall_of_own": 1.5}
    fine |= {"shortfall_error": 0.4}

    def is_worse(**changes: float) -> bool:
        return replace(found, **fine | changes).is_worse_than_own_for_sure

    assert not is_worse()
    assert is_worse(of_reference=1.2)
    assert is_worse(shortfall_of_own=1.8)
    assert is_worse(of_reference=math.inf, of_reference_error=math.inf)


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
