"""A level that is given, the best end of equally long trainings, and the weight decay."""

import math
from collections import Counter

import pytest
from tests.reference.simulated_advice import (
    END,
    MARGIN,
    OWN,
    ScriptEngine,
    WatchedEngine,
    advised,
    true_gain,
    worse_where,
)

from batchlab.errors import UsageError
from batchlab.report.advice_rows import runs_of


def given(target=0.97, *, planned_epochs=None, **truth):
    """The advice for a level; trainings go on rising, and no length is planned."""
    asked = {"target": target, "target_origin": "given", "at_most_epochs": None}
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "length", [{"planned_epochs": 12.0}, {"planned_epochs": None, "longest_s": 3.0}]
)
def test_of_equally_long_trainings_what_ends_best_is_named(length):
    """A batch of 256 ends four margins better, one of 1024 as the reference does."""
    asked, truth = {"objective": "quality"} | length, (1 - END) / (1 - END - 4 * MARGIN)

    advice, engine = advised(
        asked=asked, trainings=10.0, **worse_where(lambda size, rate: size == 256, margins=-4)
    )

    assert (advice.target, advice.named.batch_size) == (None, 256)
    for request in engine.asked:
        steps = 3.0 / engine.step_s(request.trial.batch_size)
        if "longest_s" not in length:
            steps = request.trial.plan.steps_in(12)
        assert request.last_step == int(steps)
    assert advice.gain.low <= truth <= advice.gain.high
    assert advice.chance > 0.9
    best, other = (advice.candidate(size).cost.estimate for size in (256, 1024))
    # It ends as the reference does, or has not quite got there in 12 epochs.
    assert 1 < other / best <= 1.2 * truth


def test_of_equally_long_trainings_one_that_diverges_is_never_named():
    asked = {"objective": "quality", "planned_epochs": 12.0}

    advice, _ = advised(asked=asked, best_rate=0.0006, cliff_octaves=1.5)

    assert advice.tried[0].status == "diverged"  # the reference
    assert advice.recommendation is not None
    assert advice.named.learning_rate < OWN[1]


QUALITY = {"objective": "quality", "tunes_weight_decay": True}


class BestAtFourTimes(WatchedEngine):
    """It ends best with four times its weight decay: two margins better than with its own."""

    def _accuracy(self, trial, way):
        off = math.log2(trial.weight_decay_factor) / 2 - 1
        return super()._accuracy(trial, way) - 2 * MARGIN * off**2


@pytest.mark.slow
@pytest.mark.parametrize("asked", [QUALITY, QUALITY | {"is_usual": True}])
def test_with_thirty_trainings_the_weight_decay_that_ends_best_is_recommended(asked):
    advice, engine = advised(kind=BestAtFourTimes, asked=asked, trainings=30.0)

    assert advice.verdict == "recommend"
    assert advice.named.weight_decay_factor == 4
    counted = Counter(run.weight_decay_factor for run in advice.tried)
    assert counted.most_common(1)[0][0] == 4
    own, named = advice.endings.own, advice.endings.named
    assert (own.weight_decay_factor, named.weight_decay_factor) == (1, 4)
    assert own in advice.endings.references
    assert named.mean > own.mean + MARGIN
    # A configuration's trials are those with its weight decay.
    trials = {asked.trial for asked in engine.asked if advice.is_of(asked.trial, advice.named)}
    assert {trial.weight_decay_factor for trial in trials} == {4}
    assert len(trials) == len(runs_of(advice, advice.named))


@pytest.mark.slow
def test_for_the_least_time_what_ends_worse_may_be_named_with_another_weight_decay():
    """Larger batches end two margins worse, but for four times the weight decay."""
    worse = {"end": lambda size, rate: END - (2 * MARGIN if size > 64 else 0.0)}
    asked = {"tunes_weight_decay": True}

    tuned, _ = advised(kind=BestAtFourTimes, asked=asked, trainings=40.0, **worse)
    untuned, _ = advised(kind=BestAtFourTimes, trainings=40.0, **worse)

    assert (untuned.named.batch_size, untuned.named.weight_decay_factor) == (64, 1)
    assert tuned.named.batch_size > 64
    assert tuned.named.weight_decay_factor == 4
    assert tuned.endings.verdict == "no_worse"


def test_a_budget_of_fewer_trainings_is_refused_with_how_much_it_takes():
    with pytest.raises(UsageError, match=r"has room for 20; give 1.5 times as much"):
        advised(kind=BestAtFourTimes, asked=QUALITY, trainings=20.0)
