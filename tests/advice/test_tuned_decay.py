"""The weight decay as one more part of a configuration."""

import math
from collections import Counter

import pytest
from tests.reference.simulated_advice import MARGIN, WatchedEngine, advised

from batchlab.errors import UsageError

QUALITY = {"objective": "quality", "tunes_weight_decay": True}


class BestAtFourTimes(WatchedEngine):
    """It ends best with four times its weight decay: two margins better than with its own."""

    def _accuracy(self, trial, way):
        off = math.log2(trial.weight_decay_factor) / 2 - 1
        return super()._accuracy(trial, way) - 2 * MARGIN * off**2


def factors(engine):
    return {asked.trial.weight_decay_factor for asked in engine.asked}


@pytest.mark.parametrize("asked", [QUALITY, QUALITY | {"is_usual": True}])
def test_with_thirty_trainings_the_weight_decay_that_ends_best_is_named(asked):
    advice, engine = advised(kind=BestAtFourTimes, asked=asked, trainings=30.0)

    assert advice.named.weight_decay_factor == 4
    counted = Counter(run.weight_decay_factor for run in advice.tried)
    assert counted.most_common(1)[0][0] == 4
    (best,) = [b for b in advice.believed if b.weight_decay_factor == 4][:1]
    assert (
        best.end.estimate > next(b for b in advice.believed if b.weight_decay_factor == 1).end.low
    )
    for run in advice.tried:
        (trial,) = {
            asked.trial
            for asked in engine.asked
            if advice.variant(asked.trial) == (run.batch_size, None, run.weight_decay_factor)
            and (asked.trial.learning_rate, asked.trial.seed) == (run.learning_rate, run.seed)
        }
        assert trial.weight_decay_factor == run.weight_decay_factor


def test_for_the_least_time_too_it_is_tuned():
    """What ends several margins better may end at a higher rate, and sooner."""
    advice, engine = advised(
        kind=BestAtFourTimes, asked={"tunes_weight_decay": True}, trainings=30.0
    )

    assert len(factors(engine)) > 1
    assert advice.endings.verdict == "no_worse"


def test_unasked_it_stays():
    advice, engine = advised(kind=BestAtFourTimes, asked={"objective": "quality"}, trainings=30.0)

    assert factors(engine) == {1.0}
    assert advice.named.weight_decay_factor == 1


def test_a_budget_of_fewer_trainings_is_refused_with_how_much_it_takes():
    with pytest.raises(UsageError, match=r"has room for 20; give 1.5 times as much"):
        advised(kind=BestAtFourTimes, asked=QUALITY, trainings=20.0)
