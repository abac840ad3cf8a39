from __future__ import annotations

import pytest
from tests.reference.batch_plan import growing
from tests.reference.made_up import made_up_record, made_up_timing, made_up_trial

from batchlab.records.trial import Status
from batchlab.report.cells import Cell, lone_curves, mean_curve, thinned


def constant(value: float):
    return {("test", "accuracy"): lambda epoch: value}


def cell_of(*records) -> Cell:
    return Cell(batch_size=64, learning_rate=0.01, records=records)


def record(value: float, *, seed: int, epochs: int = 4, status: Status | None = Status.OK):
    return made_up_record(
        trial=made_up_trial(seed=seed), curves=constant(value), epochs=epochs, status=status
    )


def test_a_mean_curve_holds_one_value_per_seed_at_every_shared_place():
    curve = mean_curve(cell_of(record(0.5, seed=0), record(0.7, seed=1)), "test", "accuracy", None)

    assert [point.epoch for point in curve] == [0, 1, 2, 3, 4]
    assert curve[-1].spread.mean == pytest.approx(0.6)
    assert (curve[-1].spread.low, curve[-1].spread.high, curve[-1].spread.n) == (0.5, 0.7, 2)


def test_a_diverged_trial_is_no_part_of_a_mean_and_is_drawn_alone():
    cell = cell_of(record(0.5, seed=0), record(0.1, seed=1, status=Status.DIVERGED))

    assert mean_curve(cell, "test", "accuracy", None)[-1].spread.values == (0.5,)
    assert [curve.record.trial.seed for curve in lone_curves(cell, "test", "accuracy", None)] == [1]


def test_a_longer_seed_goes_on_alone_where_the_shared_part_ends():
    cell = cell_of(record(0.5, seed=0), record(0.7, seed=1, epochs=6))

    (alone,) = lone_curves(cell, "test", "accuracy", None)

    assert mean_curve(cell, "test", "accuracy", None)[-1].epoch == 4
    assert [point.epoch for point in alone.points] == [4, 5, 6]


def test_equal_time_is_steps_times_the_step_time_measured_alone():
    timing = made_up_timing(64, step_s=0.002)

    point = mean_curve(cell_of(record(0.5, seed=0)), "test", "accuracy", timing)[-1]

    assert point.equal_time_s == pytest.approx(point.step * 0.002)


def test_without_a_step_time_the_equal_time_is_not_known():
    point = mean_curve(cell_of(record(0.5, seed=0)), "test", "accuracy", None)[-1]

    assert point.equal_time_s is None


def test_thinning_keeps_the_first_and_the_last_point():
    points = mean_curve(cell_of(record(0.5, seed=0, epochs=100)), "test", "accuracy", None)

    few = thinned(points, 7)

    assert len(few) == 7
    assert (few[0], few[-1]) == (points[0], points[-1])


def test_a_batch_size_that_grows_is_shown_by_the_samples_it_has_seen():
    trial = made_up_trial(batch_size=4, n_train=96)
    grown = growing(trial, doubled_every=5)
    curves = {("validation", "accuracy"): lambda epoch: 0.1 * epoch}
    run = made_up_record(trial=grown, curves=curves, epochs=3, evaluations_per_epoch=4)

    curve = mean_curve(cell_of(run), "validation", "accuracy", None)

    assert [point.step for point in curve][-1] == grown.plan.steps_in(3) < trial.plan.steps_in(3)
    for point, evaluation in zip(curve, run.evaluations, strict=True):
        assert point.epoch == run.epoch_of(evaluation) == pytest.approx(evaluation.samples / 96)
    # By steps it would be anywhere else: the same steps are more and more of an epoch.
    assert [point.epoch for point in curve] != [trial.plan.epoch_at(p.step) for p in curve]
    assert run.epochs == 3.0
    assert list(run.at_epoch_ends("validation", "accuracy")) == [0, 1, 2, 3]
