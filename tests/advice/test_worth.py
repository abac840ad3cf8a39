import pytest

from batchlab.advice.worth import NAMED_FOR_NOW, RECOMMENDED, worth_of
from batchlab.records.estimate import Reason


def values_of(reason: Reason | None) -> dict[str, object]:
    return dict(reason.values)


@pytest.mark.parametrize(
    ("trainings", "row"),
    [(0.2, 0), (1.0, 1), (2.99, 1), (3.0, 2), (1000.0, len(NAMED_FOR_NOW) - 1)],
)
def test_a_budget_gets_the_row_of_the_trainings_it_has(trainings: float, row: int) -> None:
    told = values_of(worth_of(trainings, is_recommended=False))

    known = NAMED_FOR_NOW[row]
    assert (told["trainings"], told["n"]) == (trainings, known.n_workloads)
    assert (told["good"], told["slower"]) == (known.n_good, known.slower)
    assert told["worse"] == known.ends_worse


def test_a_recommendation_gets_the_row_of_recommendations() -> None:
    first = RECOMMENDED[0]

    told = values_of(worth_of(first.trainings, is_recommended=True))

    assert (told["n"], told["worse"]) == (first.n_workloads, first.ends_worse)
    # With less nothing was recommended on the record.
    assert worth_of(first.trainings - 0.1, is_recommended=True) is None
