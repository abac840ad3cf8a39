"""The figures of a sweep: their rows against its records, and what is said where there are none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up import made_up_curves, made_up_study, with_validation_alone

from batchlab.records.trial import Status
from batchlab.report.sweep_figures import (
    cost_figure,
    curve_figures,
    effects_figure,
    gap_figure,
    noise_figure,
    rate_figure,
)


def curves_figure(study):
    return next(curve_figures(study))


def rows_of(figure, **wanted):
    return [row for row in figure.rows if all(row.get(k) == v for k, v in wanted.items())]


def whole(figure, panel: str) -> dict[str, float]:
    return {row["batch_size"]: row["mean"] for row in rows_of(figure, panel=panel, kind="mean")}


def test_a_row_holds_mean_and_range_over_the_seeds_at_its_epoch_step_and_time():
    study = made_up_study(batch_sizes=(64,), seeds=3, step_s=lambda batch_size: 0.002)
    finals = [record.final("test", "accuracy") for record in study.records]

    last = rows_of(curves_figure(study), split="test", metric="accuracy", run="mean")[-1]

    assert last["epoch"] == 20
    assert last["step"] == study.records[0].steps
    assert last["equal_time_s"] == pytest.approx(0.002 * study.records[0].steps)
    assert last["mean"] == pytest.approx(sum(finals) / 3, rel=1e-6)
    assert last["low"] == pytest.approx(min(finals), rel=1e-6)
    assert last["high"] == pytest.approx(max(finals), rel=1e-6)
    assert last["n"] == 3


def test_the_three_views_show_the_same_rows():
    study = made_up_study()

    assert len({id(figure.rows) for figure in curve_figures(study)}) == 1


def test_a_diverged_trial_is_drawn_alone_and_is_in_no_mean():
    study = made_up_study(
        batch_sizes=(64,), seeds=2, endings={(64, 0.01, 1): (Status.DIVERGED, "the loss grew", 3)}
    )
    figure = curves_figure(study)

    alone = rows_of(figure, split="test", metric="accuracy", run="seed 1: diverged at epoch 3")

    assert [row["epoch"] for row in alone] == [0, 1, 2, 3]
    assert {row["n"] for row in rows_of(figure, run="mean")} == {1}
    assert any("in no mean" in note for note in figure.notes)


def test_without_any_step_time_the_time_view_says_why_it_is_empty():
    *_, figure = curve_figures(made_up_study(timed=False))

    assert figure.panels == ()
    assert "No step time was measured alone" in figure.absent


def test_many_long_lines_are_thinned_to_what_a_page_can_hold():
    study = made_up_study(
        batch_sizes=[2**i for i in range(13)], epochs=20, evaluations_per_epoch=16
    )

    figure = curves_figure(study)

    assert len(figure.rows) <= 9_000
    finals = [row for row in rows_of(figure, split="validation", metric="loss", batch_size=64)]
    assert finals[-1]["mean"] == pytest.approx(study.records[6].final("validation", "loss"))


def test_step_time_throughput_and_memory_are_those_of_the_run_alone():
    figure = cost_figure(made_up_study(batch_sizes=(64, 256), step_s=lambda b: b / 1e5))

    assert whole(figure, "e-step_s") == {64: pytest.approx(64e-5), 256: pytest.approx(256e-5)}
    assert whole(figure, "e-samples_per_s") == {
        64: pytest.approx(1e5),
        256: pytest.approx(1e5),
    }
    assert whole(figure, "e-peak_bytes") == {64: 30_064_000, 256: 30_256_000}


def test_the_middle_is_the_median_of_the_blocks_and_the_bar_their_range():
    study = made_up_study(batch_sizes=(64,))
    slow_once = replace(study.timings[0], block_s=(1.0, 1.0, 9.0), block_steps=10)

    figure = cost_figure(replace(study, timings=(slow_once,)))

    row = next(r for r in figure.rows if r["panel"] == "e-step_s" and r["kind"] == "mean")
    assert (row["mean"], row["low"], row["high"], row["n"]) == (0.1, 0.1, 0.9, 3)
    speed = next(r for r in figure.rows if r["panel"] == "e-samples_per_s" and r["kind"] == "mean")
    assert (speed["mean"], speed["high"]) == (640, 640)
    assert speed["low"] == pytest.approx(64 / 0.9)


def test_the_gap_is_the_mean_of_train_less_test_over_the_seeds():
    study = made_up_study(batch_sizes=(64,), seeds=3)
    expected = [r.final("train", "accuracy") - r.final("test", "accuracy") for r in study.records]

    assert whole(gap_figure(study), "d-gap") == {64: pytest.approx(sum(expected) / 3, rel=1e-6)}


def test_a_script_that_tells_its_validation_metric_alone_has_no_empty_panel():
    figure = gap_figure(with_validation_alone(made_up_study(n_test=0)))

    assert [panel.title for panel in figure.panels] == ["final accuracy: validation"]
    assert figure.rows


def best_at_3_percent(batch_size: int, learning_rate: float, seed: int):
    return made_up_curves(validation=0.9 - abs(learning_rate - 0.03), rate=2.0)


def test_every_rate_of_every_batch_size_has_its_final_validation_metric():
    study = made_up_study(
        batch_sizes=(64, 256), learning_rates=(0.01, 0.03, 0.1), curves=best_at_3_percent, seeds=2
    )

    rows = rate_figure(study).rows

    assert {(row["batch_size"], row["learning_rate"]) for row in rows} == {
        (b, rate) for b in (64, 256) for rate in (0.01, 0.03, 0.1)
    }
    at_best = next(row for row in rows if row["learning_rate"] == 0.03)
    assert at_best["mean"] == pytest.approx(0.9, abs=1e-6)
    assert at_best["n"] == 2


def test_the_best_rate_has_the_ring():
    study = made_up_study(
        batch_sizes=(64,), learning_rates=(0.01, 0.03, 0.1), curves=best_at_3_percent
    )

    assert [r["learning_rate"] for r in rate_figure(study).rows if r.get("chosen")] == [0.03]


def test_a_trial_that_ended_badly_is_a_cross_and_no_value():
    study = made_up_study(
        batch_sizes=(64,),
        learning_rates=(0.01, 0.1),
        endings={(64, 0.1, 0): (Status.DIVERGED, "the loss grew", 3)},
    )

    (cross,) = [row for row in rate_figure(study).rows if row["learning_rate"] == 0.1]

    assert cross["run"] == "seed 0: diverged at epoch 3"
    assert "mean" not in cross


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


def test_a_line_is_the_mean_over_the_seeds_with_their_range():
    study = measured(
        made_up_study(batch_sizes=(64, 256), seeds=2), noise_scale=lambda b, s, t: 100.0 + 10 * s
    )

    figure = noise_figure(study)

    rows = rows_of(figure, panel="g-noise_scale")
    assert {row["batch_size"] for row in rows} == {64, 256}
    assert {(row["mean"], row["low"], row["high"], row["n"]) for row in rows} == {
        (105, 100, 110, 2)
    }
    steps = [row["step"] for row in rows if row["batch_size"] == 64]
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

    figure = noise_figure(study)

    whole = {
        row["batch_size"]: row["mean"]
        for row in rows_of(figure, panel="g-sharpness")
        if row["kind"] == "mean"
    }
    singles = [row for row in rows_of(figure, panel="g-sharpness") if row["kind"] == "run"]
    assert whole == {b: pytest.approx(b * last[b] + 0.5) for b in (64, 256)}
    assert len(singles) == 4
    at = [column.key for column in figure.table.columns].index("g-sharpness")
    (value,) = [row[at] for row in figure.table.rows if row[0] == 256 and row[at] is not None]
    assert value == pytest.approx(256 * last[256] + 0.5)


def test_what_was_measured_is_told_of_and_what_was_not_is_named_with_its_command():
    study = measured(made_up_study(batch_sizes=(64,)), noise_scale=lambda b, s, t: 100.0)

    said = " ".join(noise_figure(study).notes)

    assert "https://arxiv.org/abs/1812.06162" in said
    assert "It is not a critical batch size" in said
    assert "1609.04836" not in said
    asked = "--measure gradient_variance --measure sharpness --measure top_eigenvalue"
    assert f"batchlab sweep {asked}" in said
    assert "--measure noise_scale" not in said


def test_the_variance_is_that_of_the_first_weights_with_the_line_of_theory():
    n_train = made_up_study().workload.n_train
    study = measured(
        made_up_study(batch_sizes=(16, 64, n_train)),
        gradient_variance=lambda b, s, t: 0.0 if b == n_train else (5 if t else 1) * 32 / b,
    )

    figure = noise_figure(study)

    (panel,) = (panel for panel in figure.panels if panel.key == "g-gradient_variance")
    assert panel.title == "variance of the gradient, at the start"
    own = [row for row in figure.rows if row["panel"] == panel.key]
    line = {row["batch_size"]: row["mean"] for row in own if row.get("kind") == "rule"}
    assert line.keys() == {16, 64}  # the whole set has none, and no place on this axis
    share = (n_train - 64) / (n_train - 16) / 4
    assert line[64] / line[16] == pytest.approx(share)
    assert {row["batch_size"] for row in own if row["kind"] == "mean"} == {16, 64}


def test_seeds_that_ended_at_unlike_steps_are_each_shown_where_they_were_measured_last():
    study = made_up_study(batch_sizes=(64,), seeds=2)
    known = measured(study, every=5, last=10, sharpness=lambda b, s, t: 10.0 * (s + 1))
    first, second = known.records
    cut = tuple(replace(e, measured=()) if i == 10 else e for i, e in enumerate(second.evaluations))

    figure = noise_figure(replace(known, records=(first, replace(second, evaluations=cut))))

    (row,) = [row for row in rows_of(figure, panel="g-sharpness") if row["kind"] == "mean"]
    assert (row["mean"], row["n"]) == (15.0, 2)


@pytest.mark.parametrize(
    ("figure", "study"),
    [
        (curves_figure, made_up_study(batch_sizes=())),
        (gap_figure, made_up_study(n_test=0, n_validation=0)),
        (rate_figure, made_up_study()),
        (effects_figure, made_up_study(batch_sizes=(64,), epochs=1, n_validation=0)),
    ],
)
def test_a_figure_that_has_nothing_to_show_says_why(figure, study) -> None:
    found = figure(study)

    assert found.panels == ()
    assert found.absent
