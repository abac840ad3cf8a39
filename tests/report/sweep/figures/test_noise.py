"""What the noise does: lines along training, marks at its end, and what a student is told."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_study

from batchlab.measure.measurements import on_request
from batchlab.report.cells import chosen_cells
from batchlab.report.parts.figure_row import figure_rows
from batchlab.report.sweep import figures as sweep_figures

BUILD = {row.key: row.build for row in figure_rows(sweep_figures)}


def measured(study, *, every: int = 1, last: int | None = None, **values):
    """The study with these functions of batch size, seed and step in every so-manieth place."""

    def seen(record, number, evaluation):
        known = dict(evaluation.measured)
        if number % every == 0 and (last is None or number <= last):
            size, seed = record.trial.batch_size, record.trial.seed
            known |= {name: value(size, seed, evaluation.step) for name, value in values.items()}
        return replace(evaluation, measured=tuple(known.items()))

    records = tuple(
        replace(
            record,
            evaluations=tuple(seen(record, i, each) for i, each in enumerate(record.evaluations)),
        )
        for record in study.records
    )
    return replace(study, records=records)


def rows_of(figure, panel: str) -> list:
    return [row for row in figure.rows if row["panel"] == panel]


def test_a_line_is_the_mean_over_the_seeds_with_their_range():
    study = measured(
        made_up_study(batch_sizes=(64, 256), seeds=2), noise_scale=lambda b, s, t: 100.0 + 10 * s
    )

    figure = BUILD["g"](study)

    rows = rows_of(figure, "g-noise_scale")
    assert {row["batch"] for row in rows} == {"64", "256"}
    assert {(row["mean"], row["low"], row["high"], row["n"]) for row in rows} == {
        (105, 100, 110, 2)
    }
    steps = [row["step"] for row in rows if row["batch"] == "64"]
    assert steps == sorted(set(steps))
    assert 0 not in steps


def test_sharpness_is_shown_by_batch_size_where_it_was_measured_last():
    study = measured(
        made_up_study(batch_sizes=(64, 256), seeds=2),
        every=5,
        last=10,
        sharpness=lambda b, s, t: b * t + s,
    )
    last = {b: study.records[0].evaluations[10].step * 64 // b for b in (64, 256)}

    figure = BUILD["g"](study)

    whole = {row["batch"]: row["mean"] for row in rows_of(figure, "g-sharpness") if row["whole"]}
    singles = [row for row in rows_of(figure, "g-sharpness") if not row["whole"]]
    assert whole == {str(b): pytest.approx(b * last[b] + 0.5) for b in (64, 256)}
    assert len(singles) == 4
    table = {row[0]: row for row in figure.table.rows}
    at = [column.key for column in figure.table.columns].index("sharpness")
    assert table[256][at] == pytest.approx(256 * last[256] + 0.5)


def test_what_was_measured_is_told_of_and_what_was_not_is_named_with_its_command():
    study = measured(made_up_study(batch_sizes=(64,)), noise_scale=lambda b, s, t: 100.0)

    said = " ".join(BUILD["g"](study).notes)

    assert "https://arxiv.org/abs/1812.06162" in said
    assert "It is not a critical batch size" in said
    assert "1609.04836" not in said
    asked = "--measure gradient_variance --measure sharpness --measure top_eigenvalue"
    assert f"batchlab sweep {asked}" in said
    assert "--measure noise_scale" not in said


def test_with_everything_measured_no_command_is_named():
    all_of_them = dict.fromkeys(on_request(), lambda b, s, t: 1.0)

    figure = BUILD["g"](measured(made_up_study(batch_sizes=(64,)), **all_of_them))

    assert "--measure" not in " ".join(figure.notes)
    assert [panel.key for panel in figure.panels][:4] == [f"g-{name}" for name in on_request()]


def test_what_no_seed_could_tell_has_no_panel():
    figure = BUILD["g"](
        measured(made_up_study(batch_sizes=(64,)), noise_scale=lambda b, s, t: None)
    )

    assert "g-noise_scale" not in {panel.key for panel in figure.panels}
    assert "noise scale" in " ".join(figure.notes)


def test_the_variance_is_that_of_the_first_weights_with_the_line_of_theory():
    n_train = made_up_study().workload.n_train
    study = measured(
        made_up_study(batch_sizes=(16, 64, n_train)),
        gradient_variance=lambda b, s, t: 0.0 if b == n_train else (5 if t else 1) * 32 / b,
    )

    figure = BUILD["g"](study)

    (panel,) = (panel for panel in figure.panels if panel.key == "g-gradient_variance")
    assert panel.title == "variance of the gradient, at the start"
    own = [row for row in figure.rows if row["panel"] == panel.key]
    line = {row["batch_size"]: row["mean"] for row in own if row.get("kind") == "rule"}
    assert line.keys() == {16, 64}  # the whole set has none, and no place on this axis
    share = (n_train - 64) / (n_train - 16) / 4
    assert line[64] / line[16] == pytest.approx(share)
    assert {row["batch_size"] for row in own if row.get("whole")} == {16, 64}
    table = {row[0]: row for row in figure.table.rows}
    at = [column.key for column in figure.table.columns].index("gradient_variance")
    assert table[n_train][at] == 0


def test_a_negative_eigenvalue_is_drawn():
    study = measured(
        made_up_study(batch_sizes=(64, 256)), top_eigenvalue=lambda b, s, t: -1.0 if b == 64 else 5
    )

    figure = BUILD["g"](study)

    (panel,) = (panel for panel in figure.panels if panel.key == "g-top_eigenvalue")
    assert "64: -1" in panel.alternative


def test_a_study_that_measured_nothing_says_so():
    study = made_up_study(batch_sizes=(64,))
    blind = replace(
        study,
        records=tuple(
            replace(r, evaluations=tuple(replace(e, measured=()) for e in r.evaluations))
            for r in study.records
        ),
    )

    assert BUILD["g"](blind).absent == "No model was measured on its way."


def test_seeds_that_ended_at_unlike_steps_are_each_shown_where_they_were_measured_last():
    study = made_up_study(batch_sizes=(64,), seeds=2)
    known = measured(study, every=5, last=10, sharpness=lambda b, s, t: 10.0 * (s + 1))
    first, second = known.records
    cut = tuple(replace(e, measured=()) if i == 10 else e for i, e in enumerate(second.evaluations))

    figure = BUILD["g"](replace(known, records=(first, replace(second, evaluations=cut))))

    (row,) = [row for row in rows_of(figure, "g-sharpness") if row["whole"]]
    assert (row["mean"], row["n"]) == (15.0, 2)


def test_how_the_distance_grew_is_told_of_the_longest_run():
    study = measured(
        made_up_study(batch_sizes=(16, 256), epochs=20), distance=lambda b, s, t: 0.3 * t**0.4
    )

    said = " ".join(BUILD["g"](study).notes)

    assert "at batch size 16 and learning rate 0.01 from step " in said
    assert "like a power of the steps: exponent 0.4, 0.0 % off." in said


def test_a_logarithm_is_told_as_one():
    study = measured(
        made_up_study(batch_sizes=(16,), epochs=20), distance=lambda b, s, t: math.log2(t + 1e-9)
    )

    said = " ".join(BUILD["g"](study).notes)

    assert "like the logarithm of the steps: 1.0 more with every doubling, 0.0 % off." in said


def test_how_the_distance_grew_is_told_of_a_training_that_the_figure_shows():
    study = measured(
        made_up_study(batch_sizes=(64,), learning_rates=(0.1, 0.01, 0.001), epochs=20),
        distance=lambda b, s, t: t**0.4,
    )
    (chosen,) = chosen_cells(study)
    assert chosen.learning_rate != study.records[0].trial.learning_rate  # all are equally long

    said = " ".join(BUILD["g"](study).notes)

    assert f"at batch size 64 and learning rate {chosen.learning_rate:g} from" in said


def test_what_is_known_of_other_moments_alone_is_not_shown_as_of_the_start_or_the_end():
    study = made_up_study(batch_sizes=(16, 64))
    study = measured(
        study,
        gradient_variance=lambda b, s, t: None if t == 0 else 32 / b,
        sharpness=lambda b, s, t: 5.0 if t == 0 else None,
    )

    keys = {panel.key for panel in BUILD["g"](study).panels}

    assert not {"g-gradient_variance", "g-sharpness"} & keys
