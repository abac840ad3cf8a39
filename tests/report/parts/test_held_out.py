from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up import approach, made_up_record, made_up_study

from batchlab.report.cells import deciding_split, final_gap, held_out_split


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
