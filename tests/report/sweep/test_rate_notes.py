"""What a reader is told of the learning rates under a figure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_study

from batchlab.report.cells import chosen_cells, rate_notes


def notes(study) -> str:
    return " ".join(rate_notes(study, chosen_cells(study)))


def scaled(study):
    """Each batch size at a rate of its own, by the square root of it."""
    records = tuple(
        replace(r, trial=replace(r.trial, learning_rate=0.01 * (r.trial.batch_size / 64) ** 0.5))
        for r in study.records
    )
    return replace(study, records=records)


def test_one_rate_for_all_is_said_to_be_one():
    assert "share the learning rate 0.01" in notes(made_up_study(batch_sizes=(64, 256)))


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_rate_for_each_is_not_called_the_best_of_several(seeds: int):
    said = notes(scaled(made_up_study(batch_sizes=(64, 256), seeds=seeds)))

    assert "Each batch size has one learning rate (64: 0.01, 256: 0.02)" in said
    assert "best for it" not in said


def test_the_best_of_several_is_said_to_look_better_than_it_is():
    said = notes(made_up_study(batch_sizes=(64, 256), learning_rates=(0.01, 0.1)))

    assert "best for it on validation data" in said


def test_one_batch_size_is_compared_with_nothing():
    assert notes(made_up_study(batch_sizes=(64,), learning_rates=(0.01, 0.1))) == ""
