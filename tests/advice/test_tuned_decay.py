"""The weight decay as one more part of a configuration."""

import math
from collections import Counter

import pytest
from tests.reference.simulated_advice import END, MARGIN, WatchedEngine, advised

from batchlab.errors import UsageError
from batchlab.report.advice_rows import runs_of

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


def test_unasked_it_stays():
    advice, engine = advised(kind=BestAtFourTimes, asked={"objective": "quality"}, trainings=6.0)

    assert {asked.trial.weight_decay_factor for asked in engine.asked} == {1}
    assert advice.named.weight_decay_factor == 1


def test_a_budget_of_fewer_trainings_is_refused_with_how_much_it_takes():
    with pytest.raises(UsageError, match=r"has room for 20; give 1.5 times as much"):
        advised(kind=BestAtFourTimes, asked=QUALITY, trainings=20.0)
