from __future__ import annotations

import pytest
from tests.reference.made_up import made_up_curves, made_up_study

from batchlab.records.trial import Status
from batchlab.report.cells import cells, chosen_cells


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
