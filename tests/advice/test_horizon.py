"""Another batch size may train for more epochs than the reference, if it takes no longer."""

import math

import pytest
from tests.reference.by_day import by_day
from tests.reference.simulated_advice import (
    EPOCHS,
    OWN,
    WatchedEngine,
    advised,
    named_of,
    true_gain,
)

from batchlab.advice.study import horizon_for
from batchlab.report.advice_answer import advice_sentences

# A step takes as long at every batch size, so more epochs of a large one cost nothing. To the level
# the reference takes 8.2 epochs, a batch of 256 at its best rate 13, and one of 1024 38.
LARGE = {"step_s": lambda size: 1e-3, "s_min": 500.0, "b_crit": 300.0, "trainings": 12.0}


def whole_s(engine):
    """What a training of the reference takes."""
    return EPOCHS * math.ceil(20_000 / OWN[0]) * engine.step_s(OWN[0])


def test_a_horizon_leaves_room_for_slower_seeds():
    horizons = {0.2: 1, 0.86: 1, 0.9: 1.5, 1.3: 1.5, 1.4: 2, 2.5: 3, 3.0: 4, 9: 12}

    assert {needed: horizon_for(needed) for needed in horizons} == horizons


@pytest.mark.slow
def test_where_an_epoch_of_a_larger_batch_takes_less_time_it_has_more_of_them():
    advice, engine = advised(asked={"at_most_epochs": None}, **LARGE)

    assert advice.named.batch_size == 1024
    assert true_gain(advice, engine) > 2.5
    ends = advice.end_quality
    assert (ends.own_epochs, ends.verdict) == (EPOCHS, "no_worse")
    assert ends.named_epochs >= 2 * EPOCHS
    for asked in engine.asked:
        assert asked.last_step * engine.step_s(asked.trial.batch_size) <= 1.001 * whole_s(engine)


NO_SAVING = {"step_s": lambda size: 1e-5 * size, "trainings": 5.0}


@pytest.mark.parametrize(
    ("planned", "allowed", "truth", "most"),
    [
        (12.0, 15.0, LARGE | {"trainings": 5.0}, 15),
        (None, 15.0, LARGE | {"trainings": 5.0}, 15),
        (12.0, None, NO_SAVING, EPOCHS),
    ],
)
def test_no_training_has_more_epochs_than_are_allowed_or_save_time(planned, allowed, truth, most):
    asked = {"planned_epochs": planned, "at_most_epochs": allowed}
    advice, engine = advised(asked=asked, **truth)

    for e in engine.asked:
        epochs = e.trial.plan.epoch_at(e.last_step)
        assert epochs <= most + 0.01
    assert advice.end_quality.named_epochs <= most + 0.01
    is_capped = "capped_by_epochs" in {caveat.code for caveat in advice.caveats}
    assert not (is_capped and allowed is None)


class Scheduled(WatchedEngine):
    """A schedule of the rate spans each training, which gets to its best only at its end."""

    schedule_epochs = EPOCHS

    def _accuracy(self, trial, way):
        whole = super()._accuracy(trial, way * trial.horizon_steps / self._step_at(trial, way))
        return whole - 0.3 * (1 - self._step_at(trial, way) / trial.horizon_steps)

    def _step_at(self, trial, way):
        noise = math.exp(self.truth.noise * self._drawn(trial))
        return way * noise * self.truth.steps(trial.batch_size, trial.learning_rate)


# With a schedule the reference gets to 99.9 % of its way in 12 epochs, a batch of 256 at its best
# rate in 19, which take half the time, and one of 1024 in 56.
STRETCHED = LARGE | {"end_noise": 0.0001, "noise": 0.01}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "truth", "sizes"), [(WatchedEngine, LARGE, "256, 1024"), (Scheduled, STRETCHED, "256")]
)
def test_epochs_that_the_user_forbids_are_said_to_be_the_limit(kind, truth, sizes):
    advice, engine = advised(kind=kind, **truth | {"trainings": 30.0})

    assert advice.named.batch_size == 64
    for asked in engine.asked:
        assert asked.last_step <= asked.trial.plan.steps_in(EPOCHS)
    (capped,) = [each.named for each in advice.caveats if each.code == "capped_by_epochs"]
    assert capped == {"sizes": sizes, "epochs": EPOCHS}


@pytest.mark.slow
def test_with_a_schedule_longer_ones_of_another_size_are_tried_that_take_no_longer():
    advice, engine = advised(kind=Scheduled, asked={"at_most_epochs": None}, **STRETCHED)

    for asked in engine.asked:
        trial = asked.trial
        assert trial.plan.epoch_at(trial.horizon_steps) / EPOCHS in (0.5, 1, 1.5, 2)
        assert asked.last_step <= trial.horizon_steps
        assert trial.horizon_steps * engine.step_s(trial.batch_size) <= 1.001 * whole_s(engine)
    assert advice.named.batch_size == 256
    assert advice.named.epochs == advice.end_quality.named_epochs
    assert advice.named.epochs > EPOCHS
    assert advice.end_quality.verdict == "no_worse"
    steps = advice.candidate(advice.named.batch_size).steps_to_target.estimate
    takes_s = steps * engine.step_s(advice.named.batch_size)
    assert advice.gain.estimate == pytest.approx(whole_s(engine) / takes_s, rel=0.01)


@pytest.mark.parametrize(
    "asked", [{"at_most_epochs": EPOCHS}, {"objective": "samples"}, {"may_stretch": False}]
)
def test_with_a_schedule_nothing_is_longer_where_it_may_not_be(asked):
    scenario = STRETCHED | {"trainings": 5.0}  # in which longer ones are tried where they may be

    _, engine = advised(kind=Scheduled, asked={"at_most_epochs": None, **asked}, **scenario)

    for run in engine.asked:
        plan, is_allowed = run.trial.plan, "at_most_epochs" in asked
        shorter = [plan.steps_in(EPOCHS / 2)] if is_allowed else []
        assert run.trial.horizon_steps in (plan.steps_in(EPOCHS), *shorter)


def test_of_trainings_equally_long_the_one_that_ends_better_is_named():
    def end(size, rate):
        return 0.97 - 0.003 * abs(math.log2(rate / (0.04 * (size / 64) ** 0.7)))

    scenario = NO_SAVING | {"trainings": 12.0, "noise": 0.01, "end_noise": 0.0001, "end": end}
    advice, _ = advised(kind=Scheduled, asked={"may_stretch": False}, **scenario)

    assert named_of(advice) == (64, 0.04)
    assert (advice.gain.low, advice.gain.high) == (1.0, 1.0)
    assert [each.text for each in advice_sentences(advice)][:2] == [
        "Keep batch size 64, and set the learning rate to 0.04.",
        "As fast as 64 at 0.01 to 96.22 % validation accuracy, and it ends better (97.00 % against "
        "96.40 %): sure (more than 9 in 10).",
    ]


GIVEN = {"target": 0.95}


@pytest.mark.parametrize(
    ("trainings", "asked"),
    [(1.5, {}), (12.0, {}), pytest.param(30.0, GIVEN, marks=pytest.mark.slow)],
)
def test_the_trials_of_what_is_named_are_known_by_it(trainings, asked):
    """Also where the budget cut the pilot before its planned end, and where a target is given."""
    scenario = STRETCHED | {"trainings": trainings}

    advice, engine = advised(kind=Scheduled, asked=asked, **scenario)

    same = {a.trial for a in engine.asked if advice.is_of(a.trial, advice.named)}
    assert len(same) == len([run for run in advice.tried if advice.named.is_same(run)]) > 0
    followed = [run for run in advice.tried if run.steps_to_target not in (None, run.steps)]
    assert followed or not asked


@pytest.mark.slow
@pytest.mark.parametrize("is_usual", [False, True])
def test_with_a_schedule_half_the_epochs_are_enough_where_they_end_as_well(is_usual):
    """At its best rate the reference's own batch size gets there in a third of its epochs.

    What they save is not put down to the rate.
    """
    scenario = STRETCHED | {"s_min": 150.0, "step_s": lambda size: 1e-5 * size}

    advice, engine = advised(kind=Scheduled, asked={"is_usual": is_usual}, **scenario)

    assert advice.recommendation.epochs == EPOCHS / 2
    if is_usual:
        return
    topics = {said.topic: said.text for said in advice_sentences(advice)}
    assert advice.named.batch_size == advice.reference.batch_size
    assert "with its schedule over 6 epochs" in topics["answer"]
    assert "learning rate" not in topics

    ends = advice.end_quality
    assert (ends.named_epochs, ends.own_epochs, ends.verdict) == (EPOCHS / 2, EPOCHS, "no_worse")
    assert advice.gain.estimate > 1.8
    named = [a.trial for a in engine.asked if advice.is_of(a.trial, advice.named)]
    assert {trial.plan.epoch_at(trial.horizon_steps) for trial in named} == {EPOCHS / 2}


def test_under_a_schedule_the_time_to_the_level_is_that_of_a_whole_training():
    """What such a training reaches on its way says nothing about a shorter one."""
    advice, engine = advised(kind=Scheduled, trainings=3.0)

    for run in advice.tried:
        assert run.steps_to_target in (None, run.steps)
        assert run.end is not None or run.status != "ok"
    plan = engine.asked[0].trial.plan
    assert advice.candidates[0].steps_to_target.estimate == plan.steps_in(EPOCHS)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "has_law"), [(WatchedEngine, True), (Scheduled, False)])
def test_no_law_of_the_steps_is_stated_under_a_schedule_of_one_length(kind, has_law):
    laws = advised(kind=kind, trainings=8.0, asked={"may_stretch": False})[0].laws

    assert laws.law_holds == has_law
    assert (laws.b_crit.estimate is not None) == has_law
    assert has_law or laws.b_crit.reason.code == "steps_of_schedule"


MANY = {"at_most_epochs": None, "sizes": (32, 64, 128, 256, 512, 1024)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("salt", "s_min", "b_crit"),
    by_day([(0, 500.0, 300.0), (1, 300.0, 500.0), (0, 800.0, 150.0)], [(1, 300.0, 500.0)]),
)
def test_the_critical_batch_size_under_a_schedule_is_that_of_the_shortest_lengths(
    salt, s_min, b_crit
):
    """Here the steps at tuned lengths follow the law."""
    scenario = STRETCHED | {"s_min": s_min, "b_crit": b_crit, "salt": salt, "trainings": 30.0}

    advice, _ = advised(kind=Scheduled, asked=MANY, **scenario)

    assert advice.laws.law_holds
    assert advice.laws.b_crit.estimate is not None
    assert advice.laws.b_crit.holds(b_crit)
    assert advice.laws.b_crit.high < 4 * b_crit
