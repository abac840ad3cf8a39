"""Figure (h): what batch size does here, drawn from the runs of an advice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up_advice import (
    KINDS,
    N_TRAIN,
    advice_study,
    law,
    made_up_advice,
    made_up_gap,
    with_endings,
)

from batchlab.advice.advice import Advice, RateTried
from batchlab.records.estimate import Estimate, Reason
from batchlab.records.study import Study
from batchlab.report.advice.figures.effects import effects_figure
from batchlab.report.parts.charts.canvas import PAGE
from batchlab.report.parts.figure import Figure, Row
from batchlab.report.parts.vega import paper_image

ADVICE = with_endings(made_up_advice(sizes=(64, 256, 1024)))


def figure(advice: Advice = ADVICE, study: Study | None = None) -> Figure:
    return effects_figure(advice, study or advice_study(advice), key="h")


def rows(of: Figure, panel: str, **fields: object) -> list[Row]:
    return [
        row
        for row in of.rows
        if row["panel"] == f"h-{panel}"
        and all(row.get(name) == value for name, value in fields.items())
    ]


def test_there_is_a_panel_for_epochs_noise_and_the_gap() -> None:
    assert [panel.key for panel in figure().panels] == ["h-epochs", "h-noise", "h-gap"]


def test_epochs_are_points_with_their_interval_and_fresh_runs_as_circles() -> None:
    (point,) = rows(figure(), "epochs", batch="256", whole=True)
    epochs = law(256) * 256 / N_TRAIN

    assert point["mean"] == pytest.approx(epochs)
    assert (point["low"], point["high"]) == (
        pytest.approx(0.95 * epochs),
        pytest.approx(1.05 * epochs),
    )
    assert len(rows(figure(), "epochs", batch="256", kind="run")) == 3


def test_a_run_that_missed_the_target_is_an_arrow_and_no_mark_stands_for_its_batch_size() -> None:
    missed = RateTried(
        batch_size=512,
        learning_rate=0.1,
        seed=0,
        purpose="tune",
        status="ok",
        steps=80,
        steps_to_target=None,
    )
    advice = replace(ADVICE, tried=(*ADVICE.tried, missed))

    shown = figure(advice)

    (bound,) = rows(shown, "epochs", batch="512")
    assert (bound["kind"], bound["mean"]) == ("bound", 80 * 512 / N_TRAIN)
    assert "512: more than 10" in shown.panels[0].alternative
    assert any(note.startswith("↑") for note in shown.notes)


def test_train_and_test_metric_stand_as_far_apart_as_the_gap() -> None:
    shown = figure()

    for size in (64, 1024):
        (train,) = rows(shown, "gap", batch=str(size), series="train", whole=True)
        (test,) = rows(shown, "gap", batch=str(size), series="test", whole=True)
        assert float(train["mean"] or 0) - float(test["mean"] or 0) == pytest.approx(
            made_up_gap(size), abs=1e-6
        )


@pytest.mark.slow
def test_an_image_too_tells_train_from_test_by_dashes() -> None:
    image = paper_image(figure(), "svg").decode()

    assert image.count('stroke-dasharray="4,3"') == 1


def test_what_is_known_of_one_batch_size_only_is_no_picture() -> None:
    study = advice_study(ADVICE)
    own = tuple(r for r in study.records if r.trial.batch_size == 64)
    alone = figure(ADVICE, replace(study, records=own))

    assert alone.panels == ()
    assert alone.absent is not None
    assert alone.rows == ()


def test_the_axis_has_no_room_for_batch_sizes_that_were_not_trained() -> None:
    advice = replace(ADVICE, candidates=made_up_advice().candidates)

    assert {row["batch"] for row in figure(advice).rows} == {"64", "256", "1024"}
    spec = figure(advice).panels[0].plot(canvas=PAGE).to_dict()
    domain = spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert domain[0] > 32


def test_trainings_at_another_rate_have_a_row_of_their_own_in_the_table() -> None:
    study = advice_study(ADVICE)
    other = tuple(
        replace(r, trial=replace(r.trial, learning_rate=9.0))
        if r.final("train", "accuracy") is not None and r.trial.batch_size == 1024
        else r
        for r in study.records
    )
    table = figure(ADVICE, replace(study, records=other)).table
    keys = [column.key for column in table.columns]

    found = {
        (row[0], row[1]): (row[keys.index("epochs")], row[keys.index("gap")]) for row in table.rows
    }

    assert found[1024, 9.0] == (None, pytest.approx(made_up_gap(1024)))
    assert sum(size == 1024 for size, _ in found) == 2


def test_single_runs_are_told_only_where_they_give_a_number() -> None:
    single = "Epochs without an interval are of single runs."
    unknown = Estimate.cannot_tell(Reason.as_written("one run"))
    candidates = tuple(
        replace(c, steps_to_target=unknown) if c.batch_size == 256 else c for c in ADVICE.candidates
    )

    without = figure(replace(ADVICE, candidates=candidates))

    assert not any(note.startswith(single) for note in figure().notes)
    assert any(note.startswith(single) for note in without.notes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_panel_has_words_with_its_numbers(kind: str) -> None:
    advice = KINDS[kind]()

    for panel in figure(advice).panels:
        assert panel.alternative.startswith("Chart of ")
        assert ": " in panel.alternative
