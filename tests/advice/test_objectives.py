"""A level that is given, the fewest examples, and the best end of equally long trainings."""

import pytest
from tests.reference.simulated_advice import (
    END,
    MARGIN,
    OWN,
    ScriptEngine,
    WatchedEngine,
    advised,
    true_gain,
)


def given(*, target=0.97, trainings=3.0, n_workers=1, kind=WatchedEngine, asked=None, **truth):
    """The advice for a level; trainings go on rising, and no length is planned."""
    asks = {
        "target": target,
        "target_origin": "given",
        "planned_epochs": None,
        "at_most_epochs": None,
    } | (asked or {})
    truth = {"end": None} | truth
    return advised(trainings=trainings, n_workers=n_workers, kind=kind, asked=asks, **truth)


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
    advice, engine = given(target=0.999, asked={"planned_epochs": 12.0})

    assert (advice.verdict, advice.named, advice.reason.code) == ("cannot_tell", None, "none_met")
    assert {asked.trial.seed for asked in engine.asked} == {0}
    assert advice.reason.named["best"] == max(run.best_value for run in advice.tried)


@pytest.mark.slow
@pytest.mark.parametrize(
    "length", [{"planned_epochs": 12.0}, {"planned_epochs": None, "longest_s": 3.0}]
)
def test_of_equally_long_trainings_what_ends_best_is_named(length):
    """A batch of 256 ends four margins better, one of 1024 as the reference does."""
    ends = {64: END, 256: END + 4 * MARGIN, 1024: END}
    asked = {"objective": "quality"} | length

    advice, engine = advised(end=lambda size, rate: ends[size], asked=asked, trainings=10.0)

    assert advice.target is None
    assert advice.named.batch_size == 256
    for request in engine.asked:
        steps = 3.0 / engine.step_s(request.trial.batch_size)
        if "longest_s" not in length:
            steps = request.trial.plan.steps_in(12)
        assert request.last_step == int(steps)
    truth = (1 - END) / (1 - END - 4 * MARGIN)
    assert advice.gain.low <= truth <= advice.gain.high
    assert (
        advice.expected.steps_to_target.estimate == advice.candidate(256).steps_to_target.estimate
    )
    assert advice.chance > 0.9
    relative = [advice.candidate(size).relative for size in (64, 256, 1024)]
    assert [r.estimate == 1.0 for r in relative] == [False, True, False]
    assert relative[0].low <= truth <= relative[0].high
    # It ends as the reference does, or has not quite got there in 12 epochs.
    assert 1 < relative[2].low <= 1.1 * truth
    assert relative[2].high <= 1.2 * truth


def test_of_equally_long_trainings_one_that_diverges_is_never_named():
    asked = {"objective": "quality", "planned_epochs": 12.0}

    advice, _ = advised(asked=asked, best_rate=0.0006, cliff_octaves=1.5)

    assert advice.tried[0].status == "diverged"  # the reference
    assert advice.recommendation is not None
    assert advice.named.learning_rate < OWN[1]
