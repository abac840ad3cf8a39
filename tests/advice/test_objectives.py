"""A level that is given, and the best end of equally long trainings."""

import pytest
from tests.reference.simulated_advice import (
    OWN,
    ScriptEngine,
    WatchedEngine,
    advised,
    true_gain,
)


def given(target=0.97, *, planned_epochs=None, **truth):
    """The advice for a level; trainings go on rising, and no length is planned."""
    asked = {"target": target, "at_most_epochs": None}
    asked |= {"planned_epochs": planned_epochs}
    return advised(trainings=3.0, asked=asked, end=None, **truth)


@pytest.mark.parametrize("kind", [WatchedEngine, ScriptEngine])
def test_where_the_reference_misses_the_level_others_are_found_and_the_gain_is_a_bound(kind):
    """Its rate is six octaves too low."""
    advice, engine = given(best_rate=0.64, kind=kind)

    own = [run for run in advice.tried if (run.batch_size, run.learning_rate) == OWN]
    assert [run.steps_to_target for run in own] == [None]
    assert advice.gain.estimate is None
    assert 5 < advice.gain.low <= true_gain(advice, engine)
    assert true_gain(advice, engine) > 20


def test_a_level_that_nothing_meets_names_nothing_and_repeats_nothing():
    advice, engine = given(0.999, planned_epochs=12.0)

    assert (advice.verdict, advice.named, advice.reason.code) == ("cannot_tell", None, "none_met")
    assert {asked.trial.seed for asked in engine.asked} == {0}
    assert advice.reason.named["best"] == max(run.best_value for run in advice.tried)


def test_of_equally_long_trainings_one_that_diverges_is_never_named():
    asked = {"objective": "quality", "planned_epochs": 12.0}

    advice, _ = advised(asked=asked, best_rate=0.0006, cliff_octaves=1.5)

    assert advice.tried[0].status == "diverged"  # the reference
    assert advice.recommendation is not None
    assert advice.named.learning_rate < OWN[1]
