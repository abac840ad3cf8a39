"""The trials of one batch size at one learning rate: their means, curves and gaps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.batch_plan import growing
from tests.reference.made_up import (
    approach,
    made_up_curves,
    made_up_record,
    made_up_study,
    made_up_timing,
    made_up_trial,
)

from batchlab.records.trial import Status
from batchlab.report.cells import (
    Cell,
    cells,
    chosen_cells,
    deciding_split,
    final_gap,
    held_out_split,
    lone_curves,
    mean_curve,
    observations_table,
    rate_notes,
)
from batchlab.report.figure import thinned


def test_without_validation_rates_are_compared_on_train_data_and_never_on_test_data():
    assert deciding_split(made_up_study(n_validation=0)) == "train"


@pytest.mark.parametrize(
    ("n_validation", "n_test", "split"),
    [(10, 10, "test"), (10, 0, "validation"), (0, 10, "test"), (0, 0, None)],
)
def test_the_gap_is_taken_to_test_else_to_validation(n_validation, n_test, split):
    study = made_up_study(n_validation=n_validation, n_test=n_test)

    assert held_out_split(study) == split


def test_a_gap_is_that_of_one_model_and_unknown_where_the_last_evaluation_lacks_a_split():
    record = made_up_record(
        curves={
            ("train", "accuracy"): approach(0.9),
            ("test", "accuracy"): lambda epoch: 0.5 if epoch <= 2 else None,
        },
        epochs=3,
    )
    stopped_at_2 = replace(record, evaluations=record.evaluations[:3])
    train_at_2 = record.evaluations[2].score("train", "accuracy")

    assert final_gap(stopped_at_2, "test", "accuracy") == pytest.approx(train_at_2 - 0.5)
    assert record.final("test", "accuracy") is None
    assert final_gap(record, "test", "accuracy") is None


def better_at(best_rate: float):
    def curves(batch_size: int, learning_rate: float, seed: int):
        lost = 0.0 if learning_rate == best_rate else 0.1
        return made_up_curves(validation=0.9 - lost, test=0.5 + lost)

    return curves


def test_a_cell_averages_only_trials_that_ended_well():
    study = made_up_study(
        batch_sizes=(64,),
        seeds=3,
        curves=lambda b, rate, seed: {("validation", "accuracy"): lambda epoch: 0.1 * (seed + 1)},
        endings={(64, 0.01, 2): (Status.DIVERGED, "the loss grew", 3)},
    )

    (cell,) = cells(study)

    assert cell.final("validation", "accuracy").values == pytest.approx((0.1, 0.2))
    assert [record.trial.seed for record in cell.others] == [2]


@pytest.mark.parametrize("best_rate", [0.01, 0.1])
def test_the_chosen_rate_is_the_best_on_validation_whatever_the_test_set_says(best_rate):
    study = made_up_study(learning_rates=(0.01, 0.1), curves=better_at(best_rate))

    assert [cell.learning_rate for cell in chosen_cells(study)] == [best_rate] * 3


def test_a_loss_is_chosen_by_its_lowest_value():
    study = made_up_study(
        learning_rates=(0.01, 0.1), curves=better_at(0.1), metrics=[("loss", "lower")]
    )

    assert {cell.learning_rate for cell in chosen_cells(study)} == {0.1}


def test_a_rate_at_which_a_seed_diverged_comes_after_one_at_which_all_ended_well():
    study = made_up_study(
        batch_sizes=(64,),
        learning_rates=(0.01, 0.1),
        seeds=2,
        curves=better_at(0.1),
        endings={(64, 0.1, 1): (Status.DIVERGED, "the loss grew", 3)},
    )

    assert [cell.learning_rate for cell in chosen_cells(study)] == [0.01]


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
    ((alone, _),) = lone_curves(cell, "test", "accuracy", None)
    assert alone.trial.seed == 1


def test_a_longer_seed_goes_on_alone_where_the_shared_part_ends():
    cell = cell_of(record(0.5, seed=0), record(0.7, seed=1, epochs=6))

    ((_, alone),) = lone_curves(cell, "test", "accuracy", None)

    assert mean_curve(cell, "test", "accuracy", None)[-1].epoch == 4
    assert [point.epoch for point in alone] == [4, 5, 6]


def test_equal_time_is_steps_times_the_step_time_measured_alone():
    timing = made_up_timing(64, step_s=0.002)

    point = mean_curve(cell_of(record(0.5, seed=0)), "test", "accuracy", timing)[-1]

    assert point.equal_time_s == pytest.approx(point.step * 0.002)


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


def notes(study) -> str:
    return " ".join(rate_notes(study, chosen_cells(study)))


def scaled(study):
    """Each batch size at a rate of its own, by the square root of it."""
    records = tuple(
        replace(r, trial=replace(r.trial, learning_rate=0.01 * (r.trial.batch_size / 64) ** 0.5))
        for r in study.records
    )
    return replace(study, records=records)


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_rate_for_each_is_not_called_the_best_of_several(seeds: int):
    said = notes(scaled(made_up_study(batch_sizes=(64, 256), seeds=seeds)))

    assert "Each batch size has one learning rate (64: 0.01, 256: 0.02)" in said
    assert "best for it" not in said


def test_the_best_of_several_is_said_to_look_better_than_it_is():
    said = notes(made_up_study(batch_sizes=(64, 256), learning_rates=(0.01, 0.1)))

    assert "best for it on validation data" in said


def test_every_number_of_every_trial_is_one_row():
    study = made_up_study(batch_sizes=(64,), seeds=2, epochs=3)

    table = observations_table(study)

    scores = sum(len(e.scores) for record in study.records for e in record.evaluations)
    others = sum(2 for record in study.records for e in record.evaluations if e.step)
    assert len(table.rows) == scores + others


def test_a_row_carries_the_value_and_the_equal_time():
    study = made_up_study(batch_sizes=(64,), epochs=3, step_s=lambda batch_size: 0.002)
    keys = [column.key for column in observations_table(study).columns]

    last = [dict(zip(keys, row, strict=True)) for row in observations_table(study).rows][-8]

    assert (last["split"], last["metric"]) == ("train", "accuracy")
    assert last["value"] == study.records[0].final("train", "accuracy")
    assert last["equal_time_s"] == pytest.approx(0.002 * study.records[0].steps)


def test_a_trial_without_evaluations_is_not_missing():
    study = made_up_study(batch_sizes=(64,))
    empty = replace(study.records[0], evaluations=(), status=None)

    table = observations_table(replace(study, records=(empty,)))

    assert [row[0] for row in table.rows] == [empty.trial.trial_id]
