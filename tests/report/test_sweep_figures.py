"""The figures of a sweep: their rows against its records, and what is said where there are none."""

from __future__ import annotations

import pytest
from tests.reference.made_up import made_up_study
from tests.reference.shown import rows_of

from batchlab.belief.cells import chosen_cells
from batchlab.records.trial import Status
from batchlab.report.cells import curve_figure
from batchlab.report.figure import Figure

DIVERGED = (Status.DIVERGED, "the loss grew", 3)


def curves(study) -> Figure:
    shown = [(split, metric) for split in ("validation", "test") for metric in ("accuracy", "loss")]
    return curve_figure(study, chosen_cells(study), shown, train_s=study.train_s)


def test_a_row_holds_mean_and_range_over_the_seeds_at_its_epoch_step_and_time():
    longer = {(64, 0.01, 2): (Status.OK, None, 22)}
    study = made_up_study(batch_sizes=(64,), seeds=3, step_s=lambda b: 0.002, endings=longer)
    finals = [record.at_epoch_ends("test", "accuracy")[20] for record in study.records]
    steps = study.records[0].steps

    shown = rows_of(curves(study), split="test", metric="accuracy")
    last = [row for row in shown if row["run"] == "mean"][-1]

    assert (last["epoch"], last["step"], last["n"]) == (20, steps, 3)
    expected = {
        "equal_time_s": 0.002 * steps,
        "mean": sum(finals) / 3,
        "low": min(finals),
        "high": max(finals),
    }
    assert {name: last[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert [row["epoch"] for row in shown if row["run"] != "mean"] == [20, 21, 22]


def test_many_long_lines_are_thinned_to_what_a_page_can_hold():
    study = made_up_study(
        batch_sizes=[2**i for i in range(13)], epochs=20, evaluations_per_epoch=16
    )

    figure = curves(study)

    assert len(figure.rows) <= 6_000
    last = rows_of(figure, split="validation", metric="loss", batch_size=64)[-1]
    assert last["mean"] == pytest.approx(study.records[6].last("validation", "loss"))


def test_a_diverged_trial_is_drawn_alone_and_is_in_no_mean():
    study = made_up_study(batch_sizes=(64,), seeds=2, endings={(64, 0.01, 1): DIVERGED})
    figure = curves(study)

    alone = rows_of(figure, split="test", metric="accuracy", run="seed 1: diverged at epoch 3")

    assert [(row["kind"], row["epoch"], row["marked"]) for row in alone] == [
        ("lone", 1, False),
        ("lone", 2, False),
        ("lone", 3, True),
    ]
    assert {row["n"] for row in rows_of(figure, run="mean")} == {1}
