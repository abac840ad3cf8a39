"""The constants of a race with each workload left out: what is chosen, and by what."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from benchmarks.regret.whole_table import WholeAnswer
from tests.reference.script import script
from tests.reference.whole_answer import ANSWER
from tests.reference.whole_grid import write_whole_grid

from batchlab.advice import few_trainings, race_sizes


@pytest.fixture(scope="module")
def leaving() -> Iterator[ModuleType]:
    with script("leave_one_out.py") as module:
        yield module


def answer(*, regret: float, of_own: float = 0.0) -> WholeAnswer:
    return replace(ANSWER, regret=regret, shortfall_of_own=of_own)


def test_an_answer_that_ends_worse_costs_as_much_as_one_that_never_gets_there(
    leaving: ModuleType,
) -> None:
    never = leaving.loss_of([answer(regret=math.inf)])

    assert leaving.loss_of([answer(regret=-0.5, of_own=1.5)]) == never
    assert leaving.loss_of([answer(regret=1.0)]) == pytest.approx(math.log(2))
    assert leaving.loss_of([answer(regret=-0.5)]) == 0.0


def test_a_workload_has_no_part_in_what_is_chosen_for_it(leaving: ModuleType) -> None:
    ways = {c.way_to(value) for c in leaving.CONSTANTS for value in c.values}
    losses = {way: {"one": 1.0, "two": 1.0, "three": 1.0} for way in ways}
    better = (("_FIRST_TIMES", 16),)
    losses[better] = {"one": 0.0, "two": 1.1, "three": 1.1}

    chosen = {
        name: {c.name: value for c, value in leaving.chosen_without(name, losses)}
        for name in ("one", "two", "three")
    }

    assert chosen["one"]["_FIRST_TIMES"] == 8  # on the other two it is worse
    assert chosen["two"]["_FIRST_TIMES"] == chosen["three"]["_FIRST_TIMES"] == 16
    assert chosen["one"]["_ENOUGH"] == 8.0


def test_the_same_workload_under_a_schedule_has_no_part_in_it_either(leaving: ModuleType) -> None:
    ways = {c.way_to(value) for c in leaving.CONSTANTS for value in c.values}
    losses = {way: {"one": 1.0, "one-cosine": 1.0, "two": 1.0} for way in ways}
    losses[(("_FIRST_TIMES", 16),)] = {"one": 0.0, "one-cosine": 0.0, "two": 1.1}

    chosen = {
        name: {c.name: value for c, value in leaving.chosen_without(name, losses)}
        for name in ("one", "two")
    }

    assert chosen["one"]["_FIRST_TIMES"] == 8  # its twin alone would have it otherwise
    assert chosen["two"]["_FIRST_TIMES"] == 16


def test_constants_are_as_before_once_it_was_asked_with_others(
    leaving: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_whole_grid(tmp_path)
    seen = []

    def asked(*given: object) -> list[WholeAnswer]:
        seen.append((race_sizes._FIRST_TIMES, few_trainings._ENOUGH))
        return []

    monkeypatch.setattr(leaving, "_answers_of", asked)
    leaving.answers_of(path, "cpu", [3.0], 1, (("_FIRST_TIMES", 4), ("_ENOUGH", 13.0)))

    assert seen == [(4, 13.0)]
    assert (race_sizes._FIRST_TIMES, few_trainings._ENOUGH) == (8, 8.0)


def test_every_constant_stands_among_the_values_that_were_in_question(leaving: ModuleType) -> None:
    for constant in leaving.CONSTANTS:
        assert constant.standing in constant.values
