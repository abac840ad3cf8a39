from __future__ import annotations

import pytest

from batchlab.advice.worth import NAMED_FOR_NOW, RECOMMENDED, worth_of
from batchlab.words.reasons import reason_text


@pytest.mark.parametrize(
    ("trainings", "row"),
    [(0.2, 0), (1.0, 1), (2.99, 1), (3.0, 2), (1000.0, len(NAMED_FOR_NOW) - 1)],
)
def test_a_budget_gets_the_row_of_the_trainings_it_has(trainings: float, row: int) -> None:
    told = dict(worth_of(trainings, is_recommended=False).values)

    known = NAMED_FOR_NOW[row]
    assert (told["trainings"], told["n"]) == (trainings, known.n_workloads)
    assert (told["good"], told["slower"]) == (known.n_good, known.slower)
    assert told["worse"] == known.ends_worse


def test_a_recommendation_gets_the_row_of_recommendations() -> None:
    told = dict(worth_of(1.0, is_recommended=True).values)

    assert told["worse"] == RECOMMENDED[0].ends_worse


def test_it_is_said_in_words_of_trainings_and_workloads() -> None:
    known = NAMED_FOR_NOW[2]

    said = reason_text(worth_of(4.2, is_recommended=False))

    assert said.startswith("the budget is 4.2 whole trainings of your configuration")
    assert f"on {known.n_good} of {known.n_workloads} recorded workloads" in said
