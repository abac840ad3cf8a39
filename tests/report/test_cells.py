"""The trials of one batch size at one learning rate: their means, gaps, curves and rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reference.made_up import (
    approach,
    made_up_curves,
    made_up_record,
    made_up_study,
    made_up_trial,
)
from tests.reference.shown import rows_of

from batchlab.belief.cells import (
    Cell,
    chosen_cells,
    deciding_split,
    final_gap,
    held_out_split,
)
from batchlab.records.batch_plan import Stage
from batchlab.records.trial import Status
from batchlab.report.cells import curve_figure, mean_curve, scores_by_step, trial_counts
from batchlab.report.figure import Figure


@pytest.mark.parametrize(
    ("n_validation", "n_test", "deciding", "held_out"),
    [
        (10, 10, "validation", "test"),
        (10, 0, "validation", "validation"),
        (0, 10, "train", "test"),
        (0, 0, "train", None),
    ],
)
def test_rates_are_never_compared_on_test_data_and_the_gap_is_taken_to_it_where_it_is(
    n_validation, n_test, deciding, held_out
):
    study = made_up_study(n_validation=n_validation, n_test=n_test)

    assert (deciding_split(study), held_out_split(study)) == (deciding, held_out)


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
    assert record.last("test", "accuracy") is None
    assert final_gap(record, "test", "accuracy") is None


def better_at(best_rate: float):
    def curves(batch_size: int, learning_rate: float, seed: int):
        lost = 0.0 if learning_rate == best_rate else 0.1
        return made_up_curves(validation=0.9 - lost, test=0.5 + lost)

    return curves


@pytest.mark.parametrize("metric", [("accuracy", "higher"), ("loss", "lower")])
@pytest.mark.parametrize("best_rate", [0.01, 0.1])
def test_the_chosen_rate_is_the_best_on_validation_at_which_no_seed_diverged(best_rate, metric):
    """Whatever the test set says."""
    made = {"learning_rates": (0.01, 0.1), "curves": better_at(best_rate), "metrics": [metric]}
    diverged = {(64, best_rate, 1): (Status.DIVERGED, "the loss grew", 3)}
    plain, one_less = made_up_study(**made), made_up_study(seeds=2, endings=diverged, **made)

    assert [cell.learning_rate for cell in chosen_cells(plain)] == [best_rate] * 3
    other = 0.11 - best_rate
    rates = [cell.learning_rate for cell in chosen_cells(one_less)]
    assert rates == pytest.approx([other, best_rate, best_rate])


def test_a_batch_size_that_grows_is_shown_by_the_samples_it_has_seen():
    trial = made_up_trial(batch_size=4, n_train=96)
    grown = replace(trial, stages=(Stage(from_samples=20, batch_size=8),))
    curves = {("validation", "accuracy"): lambda epoch: 0.1 * epoch}
    run = made_up_record(trial=grown, curves=curves, epochs=3, evaluations_per_epoch=4)

    scores = scores_by_step(run, "validation", "accuracy")
    curve = mean_curve(Cell(records=(run,)), [scores])

    assert curve[-1]["step"] == grown.plan.steps_in(3) < trial.plan.steps_in(3)
    for place, evaluation in zip(curve, run.evaluations[1:], strict=True):
        assert place["epoch"] == pytest.approx(run.epoch_of(evaluation))
        assert place["epoch"] == pytest.approx(evaluation.samples / 96)
    assert run.epochs == 3.0
    assert list(run.at_epoch_ends("validation", "accuracy")) == [0, 1, 2, 3]


def test_trainings_of_several_machines_are_told_apart() -> None:
    study = made_up_study(batch_sizes=(8, 16, 32))
    here, there = "AMD EPYC, 2 cores", "NVIDIA H100"

    def counts_at(*places: str) -> str:
        records = zip(study.records, places, strict=True)
        return trial_counts(replace(study, records=tuple(replace(r, place=p) for r, p in records)))

    assert counts_at(there, here, there) == (
        f"3 trials: 3 ok. Places: 2 on {there} and 1 on {here}."
    )
    assert counts_at(here, here, here) == trial_counts(study) == "3 trials: 3 ok."


# ---- their curves


def curves(study) -> Figure:
    shown = [(split, metric) for split in ("validation", "test") for metric in ("accuracy", "loss")]
    return curve_figure(study, chosen_cells(study), shown, train_s=study.train_s)


def test_many_long_lines_are_thinned_to_what_a_page_can_hold():
    study = made_up_study(
        batch_sizes=[2**i for i in range(13)], epochs=20, evaluations_per_epoch=16
    )

    figure = curves(study)

    assert len(figure.rows) <= 6_000
    # The axis is made for what comes after the first tenth.
    assert min(row["epoch"] for row in figure.panels[0].frame) == 2
    last = rows_of(figure, split="validation", metric="loss", batch_size=64)[-1]
    assert last["mean"] == pytest.approx(study.records[6].last("validation", "loss"))


def test_a_diverged_trial_is_drawn_alone_and_is_in_no_mean():
    study = made_up_study(
        batch_sizes=(64,), seeds=2, endings={(64, 0.01, 1): (Status.DIVERGED, "the loss grew", 3)}
    )
    figure = curves(study)

    alone = rows_of(figure, split="test", metric="accuracy", run="seed 1: diverged at epoch 3")

    assert [(row["kind"], row["epoch"], row["marked"]) for row in alone] == [
        ("lone", 1, False),
        ("lone", 2, False),
        ("lone", 3, True),
    ]
    assert {row["n"] for row in rows_of(figure, run="mean")} == {1}
