"""The pilot: the user's own configuration sets the level, or what learns where that does not."""

import pytest
from tests.reference.reason_codes import codes
from tests.reference.simulated_advice import END, OWN, advised, study

from batchlab.advice.advice import Advice

HIGHER_LEARN = {"best_rate": 0.5, "end": lambda size, rate: END if rate > 0.2 else 0.1 + 0.2 * rate}


def pilots(advice: Advice) -> list[float]:
    return [run.learning_rate for run in advice.tried if run.purpose == "pilot"]


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize(("trainings", "origin"), [(0.3, "easier"), (2.5, "pilot")])
def test_the_end_of_the_reference_less_a_margin_is_the_level(n_workers, trainings, origin):
    """Also where a higher rate is trained beside it, and where it was cut."""
    advice, _ = study("alike", trainings=trainings, n_workers=n_workers)

    assert pilots(advice) == [OWN[1], 4 * OWN[1]][:n_workers]
    assert advice.target_origin == origin
    ends = [run.end for run in advice.tried if (run.batch_size, run.learning_rate) == OWN]
    end = sum(ends) / len(ends)
    margin = 0.05 * (1 - end)
    assert end - 1.25 * margin <= advice.target.value <= end - 0.99 * margin  # a round figure


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize(("trainings", "origin"), [(1.2, "easier"), (5.0, "pilot")])
def test_where_the_reference_hardly_learns_a_higher_rate_sets_the_level(
    n_workers, trainings, origin
):
    advice, _ = advised(trainings=trainings, n_workers=n_workers, **HIGHER_LEARN)

    assert min(pilots(advice)) == OWN[1]  # what learns a little is not at too high a rate
    assert codes(advice.hardly_learns) >= {"another_rate_learns", "hardly_learns"}
    assert (advice.target_origin, advice.target.value > 0.9) == (origin, True)
    assert advice.named.learning_rate > 0.2


@pytest.mark.parametrize(("trainings", "origin"), [(1.2, "easier"), (5.0, "pilot")])
def test_where_the_reference_diverges_a_lower_rate_sets_the_level(trainings, origin):
    advice, _ = study("own_diverges", trainings=trainings)

    assert "own_fails" in codes(advice.hardly_learns)
    assert (advice.target_origin, advice.target.value > 0.95) == (origin, True)
    assert any(step.did.code == "pilot_at_other_rates" for step in advice.steps)
    assert advice.named.learning_rate < OWN[1]
    assert advice.gain.low > 1
    (end,) = [each.end for each in advice.believed if (each.batch_size, each.learning_rate) == OWN]
    assert end.n == 0  # no training of it came to an end that a table could show


def test_where_no_rate_learns_nothing_is_named():
    advice, engine = advised(end=lambda size, rate: 0.1005, trainings=30.0)

    assert (advice.verdict, advice.named) == ("cannot_tell", None)
    assert advice.reason.code == "no_pilot_learned"
    assert {size for size, _ in engine.cells} == {OWN[0]}
