from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up import approach, made_up_curves, made_up_record, made_up_study

from batchlab.records.trial import Status
from batchlab.report.sweep.cells import (
    cells,
    chosen_cells,
    deciding_split,
    final_gap,
    held_out_split,
)


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


def test_a_trial_that_has_not_ended_is_not_averaged():
    study = made_up_study(batch_sizes=(64,), endings={(64, 0.01, 0): (None, None, 3)})

    assert cells(study)[0].final("validation", "accuracy") is None


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
