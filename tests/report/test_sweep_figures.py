"""The figures of a sweep: their rows against its records, and what is said where there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.reference.made_up import made_up_curves, made_up_study, with_validation_alone
from tests.reference.shown import rows_of

from batchlab.laws.plateau import metric_noise
from batchlab.records.trial import Status
from batchlab.report.effects import effects
from batchlab.report.sweep_figures import (
    cost_figure,
    curve_figure,
    effects_figure,
    finals_figure,
    noise_figure,
    rate_figure,
)

DIVERGED = (Status.DIVERGED, "the loss grew", 3)


def effects_of(study):
    return effects_figure(study, effects(study))


def finals_of(study):
    return finals_figure(study, effects(study))


def whole(figure, panel: str) -> dict[int, float]:
    return {row["batch_size"]: row["mean"] for row in rows_of(figure, panel=panel, kind="mean")}


def test_a_row_holds_mean_and_range_over_the_seeds_at_its_epoch_step_and_time():
    longer = {(64, 0.01, 2): (Status.OK, None, 22)}
    study = made_up_study(batch_sizes=(64,), seeds=3, step_s=lambda b: 0.002, endings=longer)
    finals = [record.at_epoch_ends("test", "accuracy")[20] for record in study.records]
    steps = study.records[0].steps

    shown = rows_of(curve_figure(study), split="test", metric="accuracy")
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


def test_a_diverged_trial_is_drawn_alone_and_is_in_no_mean():
    study = made_up_study(batch_sizes=(64,), seeds=2, endings={(64, 0.01, 1): DIVERGED})
    figure = curve_figure(study)

    alone = rows_of(figure, split="test", metric="accuracy", run="seed 1: diverged at epoch 3")

    assert [(row["kind"], row["epoch"], row["marked"]) for row in alone] == [
        ("start", 0, False),
        ("lone", 1, False),
        ("lone", 2, False),
        ("lone", 3, True),
    ]
    assert {row["n"] for row in rows_of(figure, run="mean")} == {1}


def test_without_a_step_time_there_is_no_view_by_time_and_a_note_says_why():
    timed, untimed = (curve_figure(made_up_study(timed=timed)) for timed in (True, False))

    assert list(timed.views) == ["epochs", "steps", "time"]
    assert list(untimed.views) == ["epochs", "steps"]
    assert any("No step time was measured alone" in note for note in untimed.notes)


def test_many_long_lines_are_thinned_to_what_a_page_can_hold():
    study = made_up_study(
        batch_sizes=[2**i for i in range(13)], epochs=20, evaluations_per_epoch=16
    )

    figure = curve_figure(study)

    assert len(figure.rows) <= 9_000
    last = rows_of(figure, split="validation", metric="loss", batch_size=64)[-1]
    assert last["mean"] == pytest.approx(study.records[6].final("validation", "loss"))


def test_step_time_throughput_and_memory_are_those_of_the_run_alone():
    study = made_up_study(batch_sizes=(64, 256), step_s=lambda b: b / 1e5)
    uneven = replace(study.timings[0], block_s=(1.0, 1.0, 9.0), block_steps=10)

    figure = cost_figure(study)
    (middle,) = rows_of(
        cost_figure(replace(study, timings=(uneven,))), panel="d-step_s", kind="mean"
    )

    assert whole(figure, "d-step_s") == pytest.approx({64: 64e-5, 256: 256e-5})
    assert whole(figure, "d-samples_per_s") == pytest.approx({64: 1e5, 256: 1e5})
    assert whole(figure, "d-peak_bytes") == {64: 30_064_000, 256: 30_256_000}
    # The median of the blocks, and their range.
    assert [middle[name] for name in ("mean", "low", "high", "n")] == [0.1, 0.1, 0.9, 3]


def test_the_gap_is_the_mean_of_train_less_test_over_the_seeds():
    study = made_up_study(batch_sizes=(64,), seeds=3)
    expected = [r.final("train", "accuracy") - r.final("test", "accuracy") for r in study.records]

    assert whole(effects_of(study), "b-gap") == {64: pytest.approx(sum(expected) / 3, rel=1e-6)}


def test_a_script_that_tells_its_validation_metric_alone_has_no_empty_panel():
    figure = finals_of(with_validation_alone(made_up_study(n_test=0)))

    assert [panel.title for panel in figure.panels] == ["final accuracy: validation"]


def best_at_3_percent(batch_size: int, learning_rate: float, seed: int):
    return made_up_curves(validation=0.9 - abs(learning_rate - 0.03), rate=2.0)


def test_every_rate_of_every_batch_size_has_its_metric_and_the_best_has_the_ring():
    study = made_up_study(
        batch_sizes=(64, 256),
        learning_rates=(0.01, 0.03, 0.1),
        curves=best_at_3_percent,
        seeds=2,
        endings={(64, 0.1, seed): DIVERGED for seed in (0, 1)},
    )

    figure = rate_figure(study)

    means = {(row["batch_size"], row["learning_rate"]): row for row in rows_of(figure, run="mean")}
    assert means.keys() == {(b, r) for b in (64, 256) for r in (0.01, 0.03, 0.1)} - {(64, 0.1)}
    assert {cell for cell, row in means.items() if row["chosen"]} == {(64, 0.03), (256, 0.03)}
    assert means[64, 0.03]["mean"] == pytest.approx(0.9, abs=1e-6)
    assert means[64, 0.03]["n"] == 2
    crosses = rows_of(figure, kind="lost")
    assert [row["run"] for row in crosses] == [f"seed {s}: diverged at epoch 3" for s in (0, 1)]
    assert not any("mean" in row for row in crosses)


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


def test_what_was_measured_along_training_is_a_line_and_what_was_not_is_named_with_its_command():
    study = measured(
        made_up_study(batch_sizes=(64, 256), seeds=2), noise_scale=lambda b, s, t: 100.0 + 10 * s
    )

    figure = noise_figure(study)

    rows = rows_of(figure, panel="f-noise_scale")
    assert {row["batch_size"] for row in rows} == {64, 256}
    assert {(row["mean"], row["low"], row["high"], row["n"]) for row in rows} == {
        (105, 100, 110, 2)
    }
    steps = [row["step"] for row in rows if row["batch_size"] == 64]
    assert steps == sorted(set(steps) - {0})
    said = " ".join(figure.notes)
    assert "https://arxiv.org/abs/1812.06162" in said
    assert "1609.04836" not in said
    asked = "--measure gradient_variance --measure sharpness --measure top_eigenvalue"
    assert f"batchlab sweep {asked}" in said


def test_sharpness_is_shown_by_batch_size_where_each_seed_was_measured_last():
    study = measured(
        made_up_study(batch_sizes=(64, 256), seeds=2),
        every=5,
        last=10,
        sharpness=lambda b, s, t: b * t + s,
    )
    first, second, *others = study.records
    cut = tuple(replace(e, measured=()) if i == 10 else e for i, e in enumerate(second.evaluations))
    at = {i: first.evaluations[i].step for i in (5, 10)}

    figure = noise_figure(
        replace(study, records=(first, replace(second, evaluations=cut), *others))
    )

    assert whole(figure, "f-sharpness") == {
        64: pytest.approx((64 * at[10] + 64 * at[5] + 1) / 2),
        256: pytest.approx(64 * at[10] + 0.5),
    }
    assert len(rows_of(figure, panel="f-sharpness", kind="run")) == 4


def test_the_variance_is_that_of_the_first_weights_with_the_line_of_theory():
    n_train = made_up_study().workload.n_train
    study = measured(
        made_up_study(batch_sizes=(16, 64, n_train)),
        gradient_variance=lambda b, s, t: 0.0 if b == n_train else (5 if t else 1) * 32 / b,
    )

    figure = noise_figure(study)

    theory = rows_of(figure, panel="f-gradient_variance", kind="rule")
    line = {row["batch_size"]: row["mean"] for row in theory}
    assert line.keys() == {16, 64}  # the whole set has none, and no place on this axis
    assert line[64] / line[16] == pytest.approx((n_train - 64) / (n_train - 16) / 4)
    assert whole(figure, "f-gradient_variance") == {16: 2, 64: 0.5}


@pytest.mark.parametrize(
    ("figure", "study"),
    [
        (curve_figure, made_up_study(batch_sizes=())),
        (finals_of, made_up_study(batch_sizes=())),
        (rate_figure, made_up_study()),
        (effects_of, made_up_study(batch_sizes=(64,), epochs=1, n_validation=0, n_test=0)),
    ],
)
def test_a_figure_that_has_nothing_to_show_says_why(figure, study) -> None:
    found = figure(study)

    assert found.panels == ()
    assert found.absent


# Batch size 64 is at its level long before the end, 1024 still climbs.
LEVELLING = {64: 2.0, 1024: 0.02}


def levelled(batch_size: int, learning_rate: float, seed: int):
    return made_up_curves(validation=0.95, test=0.9, rate=LEVELLING[batch_size])


LEVELLED = made_up_study(batch_sizes=(64, 1024), seeds=2, epochs=30, curves=levelled)


def test_epochs_are_enough_where_the_plateau_was_reached_and_a_bound_where_not() -> None:
    small, large = effects(LEVELLED)

    assert len(small.plateau_epochs) == 2
    assert max(small.plateau_epochs) < 15
    assert (large.plateau_epochs, large.unfinished_epochs) == ((), (30.0, 30.0))
    figure = effects_of(LEVELLED)
    bounds = [row for row in figure.rows if row.get("kind") == "bound"]
    assert [(row["batch_size"], row["mean"]) for row in bounds] == [(1024, 30.0), (1024, 30.0)]
    assert any(note.startswith("↑") for note in figure.notes)


def test_noise_is_that_of_trainings_that_surely_no_longer_improve() -> None:
    small, large = effects(LEVELLED)
    values = small.records[0].at_epoch_ends("validation", "accuracy")
    last = [value for epoch, value in sorted(values.items()) if epoch > 15]
    unsure = made_up_study(
        batch_sizes=(64, 1024), epochs=30, curves=levelled, n_validation=0, n_test=0
    )

    assert small.noises[0] == pytest.approx(metric_noise(last))
    assert np.isfinite(small.noises).all()
    assert [large.noises, *(effect.noises for effect in effects(unsure))] == [()] * 3
