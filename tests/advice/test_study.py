"""What a study takes from its runs: the scatter of seeds, and the steps to the level."""

import math
from dataclasses import replace

import pytest
from tests.reference.made_up import approach, made_up_curves, made_up_record, made_up_trial
from tests.reference.simulated_engine import N_TRAIN, SimulatedEngine, Truth
from tests.reference.simulated_question import REFERENCE, knee, question

from batchlab.advice.level import as_well_as, end_so_far
from batchlab.advice.run_log import RunLog
from batchlab.advice.study import AdviceStudy, Configured
from batchlab.belief.recorded_prior import PRIOR
from batchlab.belief.seed_scatter import PRIORS_OF_ERROR

EPOCHS, END = 20, 0.97
ASKED = replace(question(knee(64), budget_s=100.0, target=None), n_validation=10_000)


def study_of(curve, *, asked=ASKED):
    """A study whose reference was trained once, along a curve of the validation metric."""
    engine = SimulatedEngine(truth=Truth(), step_s=knee(64))
    log = RunLog(question=asked, engine=engine, until=None)
    log.whole_epochs = EPOCHS
    size, rate = REFERENCE.batch_size, REFERENCE.learning_rate
    trial = made_up_trial(batch_size=size, learning_rate=rate, n_train=N_TRAIN)
    curves = {**made_up_curves(), ("validation", asked.metric): curve}
    record = made_up_record(trial=trial, curves=curves, epochs=EPOCHS, evaluations_per_epoch=4)
    study = AdviceStudy(log, PRIOR)
    study.end = end_so_far(asked, record)
    log.until = as_well_as(
        study.end.value, study.end.margin, metric=asked.metric, better=asked.better
    )
    study.take_in(study.own, 0, record)
    return study


def wobbling(height):
    """A curve that comes to its end, and wobbles around it."""
    smooth = approach(END, rate=1.0)
    return lambda epoch: smooth(epoch) + height * math.cos(7.0 * epoch)


def test_one_training_tells_by_how_rough_it_ends_how_far_seeds_will_scatter():
    smooth, rough, rougher = (
        study_of(wobbling(h)).scatter().end[:, 0] for h in (1e-5, 4e-3, 1.2e-2)
    )

    prior, _ = PRIORS_OF_ERROR["share"]
    in_margins = math.exp(prior.log_sd) * END * (1 - END) / (0.05 * (1 - END))
    assert math.sqrt(smooth[1] * smooth[2]) == pytest.approx(in_margins, rel=0.1)
    assert (rough > 1.2 * smooth).all()
    assert (rougher > 1.5 * rough).all()


def test_a_metric_unlike_all_recorded_scatters_by_about_half_a_margin():
    asked = replace(ASKED, metric="score")
    study = study_of(lambda epoch: 40 + approach(30, start=0, rate=1.0)(epoch), asked=asked)

    ends = study.scatter().end[:, 0]
    assert math.sqrt(ends[1] * ends[2]) == pytest.approx(0.5, rel=0.1)


def test_a_configuration_that_scatters_more_than_the_others_is_believed_to():
    study = study_of(wobbling(1e-5))
    one, before, other = study.cells[study.own], study.scatter().end, 0 if study.own else 1
    for seed, worse in enumerate((0.0, 3.0, -2.5, 1.0, -3.0, 2.0)):
        one.records[seed], one.ends[seed] = one.records[0], worse
        least = study.scatter().end[0]
        assert least[study.own] >= least[other] >= before[0, 0]

    assert least[study.own] > 1.5 > least[other]


def test_what_missed_the_level_does_not_count_among_the_steps_of_those_that_met_it():
    one = Configured(
        cell=(64, 0.01),
        steps={0: (10.0, 0.1), 1: (10.4, 0.1), 2: (13.5, 0.5)},
        met_on={0, 1},
        missed_on={2},
    )

    of_those_that_met = one.log2_steps(0.2, only_met=True)
    assert of_those_that_met == pytest.approx((10.2, (0.2**2 + 0.1**2) / 2))
    one.met_on.clear()
    assert one.log2_steps(0.2, only_met=True) == one.log2_steps(0.2, only_met=False)
    assert one.log2_steps(0.2, only_met=True)[0] > 10.3


def test_a_training_that_ends_below_the_level_is_likely_to_miss_it():
    study = study_of(wobbling(1e-5))
    assert study.outlook().misses[:, study.own].mean() < 0.15  # it lies a margin below the end

    far = study.nearest(256, 2.0)
    study.cells[far].ends[0], study.cells[far].records[0] = 3.0, study.cells[study.own].records[0]

    assert study.outlook().misses[:, far].mean() > 0.9
    late = (study.outlook().mean_cost - study.outlook().cost).mean(axis=0)
    assert late[far] > 1 > 0.5 > late[study.own]


def test_only_what_met_the_level_and_came_to_its_end_may_be_named():
    study = study_of(wobbling(1e-5))
    met, ended = study.nearest(256, 1.0), study.nearest(256, 2.0)
    study.cells[met].met_on.add(0)
    study.cells[ended].met_on.add(0)
    study.cells[ended].ends[0] = 0.0

    assert study.nameable == [study.own, ended]
    study.cells[ended].failed = True
    assert study.nameable == [study.own]


def taken_in(study, i, *, epochs, rate):
    """A run of a configuration, so many epochs long, that comes to the end in that time."""
    size, learning_rate, *_ = study.cells[i].cell
    trial = made_up_trial(batch_size=size, learning_rate=learning_rate, n_train=N_TRAIN)
    curves = {**made_up_curves(), ("validation", ASKED.metric): approach(END, rate=rate)}
    record = made_up_record(trial=trial, curves=curves, epochs=epochs, evaluations_per_epoch=4)
    study.take_in(i, 0, record, guess=(10.0, 0.5))
    return study.cells[i]


def test_what_has_more_epochs_to_meet_the_level_is_not_compared_before_its_last():
    """A step of 256 takes as long as one of 64, so it may have four times as many epochs."""
    flat = replace(question(knee(1024), budget_s=100.0, target=None), n_validation=10_000)
    study = study_of(approach(END, rate=1.0), asked=flat)
    i = study.nearest(256, 2.0)
    assert study.most_steps(i) == pytest.approx(4 * study.whole_steps(i), rel=0.02)

    one = taken_in(study, i, epochs=40, rate=0.05)
    assert (one.ends, one.missed_on) == ({}, set())

    one = taken_in(study, i, epochs=80, rate=0.05)
    assert study.whole_steps(i) == study.most_steps(i)
    after_80 = approach(END, rate=0.05)(80)
    assert one.ends[0] == pytest.approx((END - after_80) / study.end.margin, abs=1.0)

    one = taken_in(study, i, epochs=40, rate=0.2)
    assert one.met_on == {0}
    assert study.whole_steps(i) < study.most_steps(i)
