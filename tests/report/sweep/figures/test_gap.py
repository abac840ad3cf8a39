from __future__ import annotations

import pytest
from tests.reference.made_up import made_up_curves, made_up_study, with_validation_alone

from batchlab.records.trial import Status
from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.sweep import figures as sweep_figures

BUILD = {row.key: row.build for row in figure_rows(sweep_figures)}


def gaps(figure) -> dict[str, float]:
    return {
        row["batch"]: row["mean"] for row in figure.rows if row["panel"] == "d-gap" and row["whole"]
    }


def test_the_gap_is_the_mean_of_train_less_test_over_the_seeds():
    study = made_up_study(batch_sizes=(64,), seeds=3)
    expected = [r.final("train", "accuracy") - r.final("test", "accuracy") for r in study.records]

    assert gaps(BUILD["d"](study)) == {"64": pytest.approx(sum(expected) / 3, rel=1e-6)}


def test_a_reversed_effect_reverses_the_figure():
    def curves(batch_size: int, learning_rate: float, seed: int):
        return made_up_curves(test=0.9 if batch_size == 64 else 0.95, rate=2.0)

    found = gaps(BUILD["d"](made_up_study(batch_sizes=(64, 1024), curves=curves)))

    assert found["64"] > found["1024"]


def test_without_a_test_set_the_gap_is_taken_to_validation_and_says_so():
    figure = BUILD["d"](made_up_study(n_test=0))

    assert "train accuracy − validation accuracy" in figure.panels[1].title
    assert any("There is no test set" in note for note in figure.notes)


def test_without_any_held_out_data_there_is_no_gap():
    figure = BUILD["d"](made_up_study(n_test=0, n_validation=0))

    assert figure.panels == ()
    assert "neither a test nor a validation set" in figure.absent


def test_trials_that_ended_badly_have_no_gap():
    study = made_up_study(batch_sizes=(64,), endings={(64, 0.01, 0): (Status.NAN, "nan", 3)})

    figure = BUILD["d"](study)

    assert figure.rows == ()
    assert "No trial that ended well" in figure.absent


def test_a_script_that_tells_its_validation_metric_alone_has_no_empty_panel():
    figure = BUILD["d"](with_validation_alone(made_up_study(n_test=0)))

    assert [panel.title for panel in figure.panels] == ["final accuracy: validation"]
    assert figure.rows
