"""Below two whole trainings single runs race."""

import math
import statistics

import pytest
from tests.reference.simulated_advice import (
    EPOCHS,
    MARGIN,
    OWN,
    STEP_S,
    WatchedEngine,
    advised,
    runs_of_named,
    true_gain,
    worse_where,
)
from tests.reference.simulated_question import knee

from batchlab.records.estimate import Estimate
from batchlab.records.trial import Status

SIZES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)


def raced(*, trainings=1.9, sizes=SIZES, asked=None, **truth):
    return advised(trainings=trainings, asked={"sizes": sizes, **(asked or {})}, **truth)


def large_worse(margins):
    return worse_where(lambda size, rate: size > 128, margins=margins)


def sizes_to_their_end(advice):
    """The batch sizes that were trained to their end, in their order, beside the reference's."""
    sizes = [run.batch_size for run in advice.tried if run.end is not None]
    return [size for size in dict.fromkeys(sizes) if size != OWN[0]]


@pytest.mark.slow
@pytest.mark.parametrize(("trainings", "times"), [(1.2, 1.6), (1.9, 1.5)])
def test_what_it_names_is_near_the_best(trainings, times):
    """The reference takes 6.6 times as long as the best."""
    behind = []
    for salt in range(4):
        advice, engine = raced(trainings=trainings, salt=salt)
        best_s, best = min((engine.truth.best_steps(s) * STEP_S(s), s) for s in SIZES)
        behind.append(1 / true_gain(advice, engine, (best, engine.truth.best_rate_at(best))))

    assert best_s > 0
    assert statistics.median(behind) <= times
    assert max(behind) <= 2


@pytest.mark.parametrize("trainings", [1.2, 1.9])
def test_what_never_gets_to_the_level_gives_way_without_being_trained_to_its_end(trainings):
    advice, engine = raced(trainings=trainings, **large_worse(5))

    assert max(size for size, _ in engine.cells) == 512  # where it begins: eight times the own
    assert advice.named.batch_size == 128
    to_its_end = {asked.trial.batch_size for asked in engine.asked if asked.length.until is None}
    assert to_its_end == {64, 128}


def test_what_ends_a_little_worse_gives_way_to_half_of_it():
    """It still gets to the level, which is rounded to the easier side."""
    advice, _ = raced(end_noise=0.0, **large_worse(1.15))

    assert sizes_to_their_end(advice)[:2] == [512, 256]
    assert advice.named.batch_size <= 128


class FallsLater(WatchedEngine):
    """Above 128 it loses three margins from the ninth epoch on."""

    def _accuracy(self, trial, way):
        steps = way * self.truth.steps(trial.batch_size, trial.learning_rate)
        falls = trial.batch_size > 128 and trial.plan.epoch_at(round(steps)) > 9
        return super()._accuracy(trial, way) - 3 * MARGIN * falls


def test_what_meets_the_level_and_ends_worse_is_not_named():
    advice, _ = raced(kind=FallsLater, sizes=(32, 64, 128, 256))

    met = {run.batch_size for run in advice.tried if run.steps_to_target is not None}
    assert 256 in met
    assert advice.named.batch_size <= 128


@pytest.mark.parametrize(("status", "seed"), [(Status.OOM, 0), (Status.DIVERGED, 1)])
def test_what_is_out_of_memory_or_diverges_on_a_further_seed_gives_way(status, seed):
    """It is asked for once more at most."""

    def fails(size, rate, its_seed):
        return status if size > 64 and its_seed == seed else None

    advice, engine = advised(trainings=1.9, fails=fails)

    asked = [asked for asked in engine.asked if asked.trial.batch_size == 256]
    assert [one.trial.seed for one in asked].count(seed) == 1
    assert advice.named == advice.reference


@pytest.mark.parametrize(("times", "stays"), [(1.0, False), (40.0, True)])
def test_what_it_names_is_timed_in_turn_with_the_reference(times, stays):
    """Beside the reference a step takes so many times as long as by the profile."""
    asked_for = []

    def in_turn(own, size):
        asked_for.append((own, size))
        return Estimate.of_log(math.log(times), 0.05, n=3)

    advice, _ = advised(trainings=1.9, in_turn=in_turn)

    assert asked_for[0] == (64, 256)
    assert (advice.named.batch_size == OWN[0]) == stays


def test_where_the_pilot_was_cut_what_was_dropped_is_not_trained_on():
    truth = {"step_s": knee(100), "best_rate": 0.01, "b_crit": 20.0}
    asked = {"planned_epochs": 3 * EPOCHS}

    advice, _ = raced(trainings=1.5, sizes=(64, 512, 1024), asked=asked, **truth)

    assert advice.target_origin == "easier"
    assert 512 in {run.batch_size for run in advice.tried}
    assert sizes_to_their_end(advice) == []


@pytest.mark.parametrize(
    ("trainings", "truth", "is_first"),
    [(0.15, {}, True), (0.6, {}, False), (0.15, {"step_s": lambda size: 1e-5 * size}, False)],
)
def test_a_pilot_that_hardly_saw_a_training_is_raced_by_twice_both_first(
    trainings, truth, is_first
):
    """Not where it processes hardly more examples."""
    _, engine = raced(trainings=trainings, **truth)

    others = [asked.trial for asked in engine.asked if asked.trial.batch_size != OWN[0]]
    first = [(each.batch_size, each.learning_rate) for each in others[:1]]
    assert (first == [(2 * OWN[0], 2 * OWN[1])]) == is_first


def test_twice_both_is_named_if_it_leads_and_nothing_else_does():
    """Larger ones never get to the level."""
    advice, _ = raced(trainings=0.2, **large_worse(500))

    assert (advice.named.batch_size, advice.named.learning_rate) == (2 * OWN[0], 2 * OWN[1])
    assert advice.chance == 0.8
    assert runs_of_named(advice)
