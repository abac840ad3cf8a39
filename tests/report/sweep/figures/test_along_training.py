from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_curves, made_up_study

from batchlab.records.trial import Status
from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.sweep import figures as sweep_figures

BUILD = {row.key: row.build for row in figure_rows(sweep_figures)}


def rows_of(figure, **wanted):
    return [row for row in figure.rows if all(row[key] == value for key, value in wanted.items())]


def test_a_row_holds_mean_and_range_over_the_seeds_at_its_epoch_step_and_time():
    study = made_up_study(batch_sizes=(64,), seeds=3, step_s=lambda batch_size: 0.002)
    finals = [record.final("test", "accuracy") for record in study.records]

    last = rows_of(BUILD["a"](study), split="test", metric="accuracy", run="mean")[-1]

    assert last["epoch"] == 20
    assert last["step"] == study.records[0].steps
    assert last["equal_time_s"] == pytest.approx(0.002 * study.records[0].steps)
    assert last["mean"] == pytest.approx(sum(finals) / 3, rel=1e-6)
    assert last["low"] == pytest.approx(min(finals), rel=1e-6)
    assert last["high"] == pytest.approx(max(finals), rel=1e-6)
    assert last["n"] == 3


def test_the_three_views_show_the_same_rows():
    study = made_up_study()

    assert BUILD["a"](study).rows == BUILD["b"](study).rows == BUILD["c"](study).rows


def test_every_split_of_metric_and_loss_has_a_panel():
    figure = BUILD["a"](made_up_study())

    assert [panel.title for panel in figure.panels] == [
        f"{split} {metric}"
        for metric in ("accuracy", "loss")
        for split in ("train", "validation", "test")
    ]


def test_a_diverged_trial_is_drawn_alone_and_is_in_no_mean():
    study = made_up_study(
        batch_sizes=(64,), seeds=2, endings={(64, 0.01, 1): (Status.DIVERGED, "the loss grew", 3)}
    )
    figure = BUILD["a"](study)

    alone = rows_of(figure, split="test", metric="accuracy", run="seed 1: diverged at epoch 3")

    assert [row["epoch"] for row in alone] == [0, 1, 2, 3]
    assert {row["n"] for row in rows_of(figure, run="mean")} == {1}
    assert any("in no mean" in note for note in figure.notes)


def test_without_any_step_time_the_time_view_says_why_it_is_empty():
    figure = BUILD["c"](made_up_study(timed=False))

    assert figure.panels == ()
    assert "No step time was measured alone" in figure.absent


def test_without_a_validation_set_there_is_no_panel_for_it_and_a_note_that_says_so():
    figure = BUILD["a"](made_up_study(n_validation=0))

    assert not [panel for panel in figure.panels if "validation" in panel.title]
    assert any("There is no validation set" in note for note in figure.notes)


def test_one_seed_is_said_to_have_no_band():
    assert any("One seed only" in note for note in BUILD["a"](made_up_study()).notes)


def test_one_learning_rate_is_said_to_be_no_fair_comparison():
    assert any("not each at its best" in note for note in BUILD["a"](made_up_study()).notes)


def test_the_learning_rate_shown_is_named_for_every_batch_size():
    study = made_up_study(
        learning_rates=(0.01, 0.1),
        curves=lambda b, rate, seed: made_up_curves(validation=0.9 if rate == 0.01 else 0.8),
    )

    notes = " ".join(BUILD["a"](study).notes)

    assert "64: 0.01, 256: 0.01, 1024: 0.01" in notes


def test_the_alternative_text_says_where_every_line_ends():
    study = made_up_study()
    final = study.records[-1].final("test", "accuracy")

    alternative = BUILD["a"](study).panels[2].alternative

    assert f"batch size 1024: {final:.4f} (one seed)" in alternative


def test_a_study_without_trials_says_so():
    figure = BUILD["a"](made_up_study(batch_sizes=()))

    assert figure.absent == "No trial has been evaluated after its first step yet."


def test_many_long_lines_are_thinned_to_what_a_page_can_hold():
    study = made_up_study(
        batch_sizes=[2**i for i in range(13)], epochs=20, evaluations_per_epoch=16
    )

    figure = BUILD["a"](study)

    assert len(figure.rows) <= 9_000
    finals = [row for row in rows_of(figure, split="validation", metric="loss", batch="64")]
    assert finals[-1]["mean"] == pytest.approx(study.records[6].final("validation", "loss"))


def test_a_line_has_few_marks_and_one_at_its_end():
    rows = rows_of(BUILD["a"](made_up_study()), split="test", metric="accuracy", batch="64")

    assert sum(row["marked"] for row in rows) == 8
    assert rows[-1]["marked"]
    assert not rows[0]["marked"]


def test_only_an_evaluation_before_the_first_step_is_said_not_to_be_drawn():
    study = made_up_study()
    later = [replace(each, evaluations=each.evaluations[1:]) for each in study.records]

    said = [" ".join(BUILD["a"](each).notes) for each in (study, replace(study, records=later))]

    assert ["untrained model" in notes for notes in said] == [True, False]
