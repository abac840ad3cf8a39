"""What else a sweep says follows the numbers, as do its conclusion and its tables."""

import re
from dataclasses import replace

import pytest
from tests.reference.made_up import approach, made_up_curves, made_up_study
from tests.reference.said_of_sweep import (
    LEVEL,
    SIZES,
    WORSE,
    by_size,
    finals,
    leader,
    race,
    text,
    texts,
)

from batchlab.records.trial import Status
from batchlab.report.sweep_claims import conclusion, sentences
from batchlab.report.sweep_evidence import Evidence, races

RATES = (0.01, 0.1, 1.0)


def rate_curves(best):
    def curves(batch_size, learning_rate, seed):
        validation = 0.97 if learning_rate == best else 0.9
        return made_up_curves(validation=validation + 1e-4 * seed)

    return curves


@pytest.mark.slow
def test_what_differs_by_less_than_matters_is_said_to():
    study = made_up_study(seeds=6, curves=by_size(LEVEL, scatter=0.0001))

    assert {other.comparison.outcome for other in race(study, "epochs").others} == {"same"}


@pytest.mark.parametrize("seeds", [2, 3])
def test_no_interval_of_an_accuracy_exceeds_1(seeds):
    high = {64: (1.0, 0.999, 0.998), 256: (0.999, 0.99, 0.995), 1024: (0.98, 0.97, 0.99)}
    clipped = made_up_study(
        seeds=seeds,
        curves=lambda b, r, s: {
            key: (lambda epoch, curve=curve: min(1.0, curve(epoch)))
            for key, curve in by_size(high, scatter=0.004)(b, r, s).items()
        },
    )

    for row in finals(clipped).values():
        told = " ".join(row[split] for split in ("train", "validation", "test"))
        bounds = [float(x) for x in re.findall(r"(?:\(| to )([\d.]+)", told)]
        assert len(bounds) == 6
        assert max(bounds) <= 1


@pytest.mark.slow
def test_three_budgets_name_three_winners():
    # Quick per epoch, quick per step, quick per second: three different batch sizes.
    rates = {64: 0.5, 256: 0.35, 4096: 0.2}
    study = made_up_study(
        batch_sizes=tuple(rates),
        seeds=3,
        curves=lambda b, r, seed: made_up_curves(rate=rates[b] + 0.001 * seed),
        evaluations_per_epoch=8,
        epochs=12,
        step_s=lambda b: 1e-3 + 1e-5 * b,
    )

    assert [leader(study, name) for name in ("epochs", "steps", "time")] == [64, 4096, 256]
    assert "In equal time (504 ms each), batch size 256 is best with " in conclusion(study).lead
    assert "In equal steps (12 each), full batch is best with " in conclusion(study).lead


def test_equal_time_uses_the_step_time_measured_alone():
    def study_of(step_s):
        return made_up_study(
            batch_sizes=(64, 256),
            seeds=3,
            curves=lambda b, r, seed: made_up_curves(rate=0.3 + 0.001 * seed),
            evaluations_per_epoch=4,
            step_s=step_s,
        )

    slow_small = study_of(lambda b: 1e-3)
    slow_large = study_of(lambda b: {64: 1e-4, 256: 1e-2}[b])

    assert leader(slow_small, "time") == 256
    assert leader(slow_large, "time") == 64


def test_without_step_times_equal_time_cannot_be_told():
    study = made_up_study(seeds=2, timed=False)

    assert text(study, "equal time").startswith("Equal time was not compared: the step times")
    assert "time" not in {found.budget.name for found in races(Evidence.of(study))}
    assert texts(study, "speed") == []


def test_one_fixed_rate_is_labelled_as_such():
    study = made_up_study(seeds=2)

    assert "one fixed learning rate, 0.01, not tuned" in conclusion(study).lead


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("none", "at one learning rate each, not tuned"),
        ("sqrt", "at one learning rate each, set by the rule sqrt, not tuned"),
        ("sde-adam", "by the rule sde-adam (which moves Adam's betas and eps too), not tuned"),
    ],
)
def test_the_rule_that_set_the_rates_is_named(rule, told):
    study = made_up_study(seeds=2)
    records = tuple(
        replace(
            record,
            trial=replace(
                record.trial,
                learning_rate=0.01 * record.trial.batch_size,
                scaling_rule=rule,
            ),
        )
        for record in study.records
    )

    assert told in conclusion(replace(study, records=records)).lead


def test_tuned_rates_are_labelled_as_such():
    study = made_up_study(seeds=2, learning_rates=RATES)

    assert "each at the best of its learning rates on validation data" in conclusion(study).lead


@pytest.mark.parametrize(("best", "edge"), [(0.01, "lowest"), (1.0, "highest")])
def test_a_best_rate_at_the_edge_is_unfinished(best, edge):
    study = made_up_study(learning_rates=RATES, curves=rate_curves(best))

    assert text(study, "learning rate").startswith(
        f"The best learning rate is the {edge} that was tried at batch sizes 64, 256 and 1024:"
    )


def test_a_best_rate_inside_the_range_is_not_mentioned():
    assert (
        texts(made_up_study(learning_rates=RATES, curves=rate_curves(0.1)), "learning rate") == []
    )


def test_a_rate_bracketed_by_divergence_is_inside():
    endings = {(size, 1.0, 0): (Status.DIVERGED, "loss grew", 2) for size in SIZES}
    study = made_up_study(learning_rates=RATES, curves=rate_curves(0.1), endings=endings)

    assert texts(study, "learning rate") == []


@pytest.mark.slow
def test_a_trial_that_went_bad_is_named_and_in_no_mean():
    bad = {(256, 0.01, 1): (Status.NAN, "the loss is not a number at step 32", 3)}
    study = made_up_study(seeds=3, curves=by_size(WORSE), endings=bad)

    assert text(study, "left out") == (
        "Left out of every mean: batch size 256 at learning rate 0.01, seed 1: nan at epoch 3: "
        "the loss is not a number at step 32."
    )
    assert finals(study)["batch size 256"]["n"] == 2
    assert race(study, "epochs").budget.amount == 20


def test_nothing_but_bad_trials_compares_nothing():
    endings = {(size, 0.01, 0): (Status.DIVERGED, "loss grew", 2) for size in SIZES}
    study = made_up_study(endings=endings)

    assert "No trial ended well" in conclusion(study).headline
    assert [sentence.topic for sentence in sentences(study)] == ["left out"] * 3


def test_no_trial_at_all_is_said():
    study = made_up_study(batch_sizes=())

    assert "No trial" in conclusion(study).headline
    assert sentences(study) == ()


def test_whether_the_epochs_were_enough_is_said_to_be_open_where_it_is():
    short, long = made_up_study(epochs=2), made_up_study(seeds=2, curves=by_size(WORSE))

    assert text(short, "plateau").startswith(
        "Whether the epochs were enough cannot be told for batch sizes 64, 256 and 1024."
    )
    assert texts(long, "plateau") == []


def test_test_scores_choose_no_learning_rate():
    def curves(batch_size, learning_rate, seed):
        test = 0.99 if learning_rate == 0.01 else 0.5
        validation = 0.97 if learning_rate == 0.1 else 0.9
        return made_up_curves(test=test, validation=validation)

    study = made_up_study(learning_rates=RATES, curves=curves)

    assert [row["learning_rate"] for row in finals(study).values()] == [0.1] * 3


def test_speed_names_the_highest_throughput():
    study = made_up_study(step_s=lambda b: {64: 1e-3, 256: 1e-3, 1024: 0.1}[b])

    assert text(study, "speed") == (
        "Batch size 256 is the fastest: 256,000 examples a second, 25 times as many as batch size "
        "1024. A step takes 1 ms, at batch size 1024 100 ms."
    )


def test_full_batch_is_called_by_its_name():
    study = made_up_study(batch_sizes=(64, 4096), seeds=2)

    assert [*finals(study)] == ["batch size 64", "full batch"]


def test_a_sentence_reads_as_its_text():
    found = sentences(made_up_study())[0]

    assert str(found) == found.text


def test_every_sentence_ends_with_a_full_stop():
    endings = {(64, 0.1, 1): (Status.DIVERGED, "loss grew", 2)}
    study = made_up_study(
        batch_sizes=(16, 64, 4096), learning_rates=(0.01, 0.1), seeds=2, endings=endings
    )

    assert all(found.text.endswith(".") for found in sentences(study))


def test_values_between_evaluations_lie_on_the_line_between_them():
    straight = {("validation", "accuracy"): approach(0.9)}
    straight["validation", "accuracy"] = lambda epoch: 0.1 + 0.02 * epoch
    study = made_up_study(
        batch_sizes=(64, 1024), curves=lambda b, r, seed: straight, epochs=10, n_test=0
    )

    # 40 steps: the end at 1024, and 40 of 64 steps into the first epoch at 64.
    found = race(study, "steps")
    assert (found.leader.batch_size, found.level) == (1024, pytest.approx(0.3))
    assert [other.level for other in found.others] == [pytest.approx(0.1125)]


@pytest.mark.slow
def test_a_comparison_at_chosen_rates_says_that_the_best_of_several_looks_better_than_it_is() -> (
    None
):
    several = conclusion(made_up_study(learning_rates=(0.01, 0.1), seeds=2))
    one = conclusion(made_up_study(learning_rates=(0.01,), seeds=2))

    caveat = "The best of several rates looks better than it is on the validation data"
    assert caveat in several.lead
    assert caveat not in one.lead


def test_the_gap_has_an_interval_that_counts_the_examples_where_there_are_seeds():
    def gap_of(study):
        return finals(study)["batch size 64"]["generalization_gap"]

    several = gap_of(made_up_study(batch_sizes=(64,), seeds=3))
    one = gap_of(made_up_study(batch_sizes=(64,), seeds=1))

    found = re.fullmatch(r"(\S+) \((\S+) to (\S+)\)", several)
    assert found is not None
    gap, low, high = map(float, found.groups())
    assert low < gap < high
    # Of the few made-up test examples alone: the seeds scatter by a thousandth.
    assert high - low > 0.01
    assert "(" not in one


def test_the_gap_of_a_loss_has_no_interval_of_examples():
    study = made_up_study(batch_sizes=(64,), seeds=3)
    by_loss = replace(study, workload=replace(study.workload, metrics=study.workload.metrics[1:]))

    assert "(" not in finals(by_loss)["batch size 64"]["generalization_gap"]
