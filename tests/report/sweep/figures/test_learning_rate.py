from __future__ import annotations

import pytest
from tests.reference.made_up import made_up_curves, made_up_study

from batchlab.records.trial import Status
from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.sweep import figures as sweep_figures

BUILD = {row.key: row.build for row in figure_rows(sweep_figures)}


def curves(batch_size: int, learning_rate: float, seed: int):
    return made_up_curves(validation=0.9 - abs(learning_rate - 0.03), rate=2.0)


def test_every_rate_of_every_batch_size_has_its_final_validation_metric():
    study = made_up_study(
        batch_sizes=(64, 256), learning_rates=(0.01, 0.03, 0.1), curves=curves, seeds=2
    )

    rows = BUILD["f"](study).rows

    assert {(row["batch_size"], row["learning_rate"]) for row in rows} == {
        (b, rate) for b in (64, 256) for rate in (0.01, 0.03, 0.1)
    }
    at_best = next(row for row in rows if row["learning_rate"] == 0.03)
    assert at_best["mean"] == pytest.approx(0.9, abs=1e-6)
    assert at_best["n"] == 2


def test_the_best_rate_has_the_ring():
    study = made_up_study(batch_sizes=(64,), learning_rates=(0.01, 0.03, 0.1), curves=curves)

    assert [r["learning_rate"] for r in BUILD["f"](study).rows if r["chosen"]] == [0.03]


def test_a_trial_that_ended_badly_is_a_cross_and_no_value():
    study = made_up_study(
        batch_sizes=(64,),
        learning_rates=(0.01, 0.1),
        endings={(64, 0.1, 0): (Status.DIVERGED, "the loss grew", 3)},
    )

    (cross,) = [row for row in BUILD["f"](study).rows if row["learning_rate"] == 0.1]

    assert cross["run"] == "seed 0: diverged at epoch 3"
    assert "mean" not in cross


def test_one_rate_gives_a_sentence_and_no_panel():
    figure = BUILD["f"](made_up_study())

    assert figure.panels == ()
    assert figure.absent.startswith("One learning rate was run")


def test_rates_at_which_nothing_ended_well_give_a_sentence():
    study = made_up_study(
        batch_sizes=(64,),
        learning_rates=(0.1, 1.0),
        endings={(64, r, 0): (Status.DIVERGED, "the loss grew", 3) for r in (0.1, 1.0)},
    )

    assert BUILD["f"](study).absent == "No trial at any learning rate ended well."
