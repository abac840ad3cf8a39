"""The sentences follow the numbers: reversed stores reverse them."""

import re
from dataclasses import replace

import numpy as np
import pytest
from tests.reference.made_up import approach, made_up_curves, made_up_study

from batchlab.records.trial import Status
from batchlab.report.sweep.claims import claim_sentences
from batchlab.report.sweep.conclusion import conclusion
from batchlab.report.sweep.evidence import Evidence
from batchlab.report.sweep.finals_table import finals_table
from batchlab.report.sweep.race import races
from batchlab.report.sweep.sentences import sentences

SIZES = (64, 256, 1024)
RATES = (0.01, 0.1, 1.0)


def by_size(levels, *, scatter=0.0005, rate=1.0):
    """Curves towards the (train, validation, test) levels of a batch size, each seed a bit off."""

    def curves(batch_size, learning_rate, seed):
        offset = np.random.default_rng([batch_size, seed]).normal(0.0, scatter, 3)
        train, validation, test = np.array(levels[batch_size]) + offset
        return made_up_curves(train=train, validation=validation, test=test, rate=rate)

    return curves


WORSE = {64: (0.99, 0.97, 0.97), 256: (0.99, 0.96, 0.96), 1024: (0.99, 0.95, 0.95)}
BETTER = {64: WORSE[1024], 256: WORSE[256], 1024: WORSE[64]}
LEVEL = dict.fromkeys(SIZES, (0.99, 0.97, 0.97))


def claims(study):
    """The claims with their verdicts."""
    return {found.topic: found.verdict for found in claim_sentences(Evidence.of(study))}


def texts(study, topic):
    said = (*sentences(study), *claim_sentences(Evidence.of(study)))
    return [found.text for found in said if found.topic == topic]


def race(study, budget):
    """The race under one equal budget."""
    (found,) = (found for found in races(Evidence.of(study)) if found.budget.name == budget)
    return found


def leader(study, budget):
    """The batch size that is clearly ahead; None: none is."""
    found = race(study, budget)
    return found.leader.batch_size if found.standing == "clear" else None


def finals(study):
    """The rows of the table of final metrics, by batch size and column."""
    table = finals_table(Evidence.of(study))
    keys = [column.key for column in table.columns]
    return {row[0]: dict(zip(keys, row, strict=True)) for row in table.rows}


def text(study, topic):
    (found,) = texts(study, topic)
    return found


@pytest.mark.slow
def test_larger_batches_that_generalize_worse_are_called_so():
    study = made_up_study(seeds=4, curves=by_size(WORSE))

    assert claims(study)["Larger batches generalize worse"] == "held"
    assert claims(study)["Larger batches overfit more"] == "held"
    size = re.search(r"a difference of ([\d.]+)", text(study, "Larger batches generalize worse"))
    assert float(size[1]) == pytest.approx(0.02, abs=4 * 0.0005 * 2**0.5 / 4**0.5)


@pytest.mark.slow
def test_the_reversed_store_reverses_the_sentences():
    study = made_up_study(seeds=4, curves=by_size(BETTER))

    assert claims(study)["Larger batches generalize worse"] == "did_not_hold"
    assert "the reverse" in text(study, "Larger batches generalize worse")
    assert claims(study)["Larger batches overfit more"] == "did_not_hold"
    assert "the reverse" in text(study, "Larger batches overfit more")


@pytest.mark.slow
def test_what_these_seeds_do_not_tell_apart_is_not_called_the_same():
    study = made_up_study(seeds=3, curves=by_size(LEVEL, scatter=0.01))

    assert claims(study)["Larger batches generalize worse"] == "cannot_tell"
    assert "too close for these seeds to tell" in text(study, "Larger batches generalize worse")
    found = race(study, "epochs")
    assert {other.comparison.outcome for other in found.others} == {"cannot_tell"}
    assert found.rivals == tuple(sorted({*SIZES} - {found.leader.batch_size}))


@pytest.mark.slow
def test_what_differs_by_less_than_matters_is_said_to():
    study = made_up_study(seeds=6, curves=by_size(LEVEL, scatter=0.0001))

    assert {other.comparison.outcome for other in race(study, "epochs").others} == {"same"}


@pytest.mark.slow
def test_0_9705_against_0_9371_with_ranges_of_0_002_is_never_no_difference():
    def curves(batch_size, rate, seed):
        level = {64: 0.9705, 256: 0.958, 1024: 0.9371}[batch_size] + 0.001 * (2 * seed - 1)
        return made_up_curves(train=0.99, validation=level, test=level, rate=2.0)

    study = made_up_study(seeds=2, curves=curves)

    assert claims(study)["Larger batches generalize worse"] == "held"
    assert leader(study, "epochs") == 64
    assert {other.comparison.outcome for other in race(study, "epochs").others} == {"better"}
    assert not any("no difference" in found.text for found in claim_sentences(Evidence.of(study)))


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
def test_an_interval_within_the_tolerance_is_no_difference_that_matters():
    study = made_up_study(seeds=6, curves=by_size(LEVEL, scatter=0.0002))

    assert claims(study)["Larger batches generalize worse"] == "did_not_hold"
    assert "no difference that matters" in text(study, "Larger batches generalize worse")


@pytest.mark.slow
def test_a_trend_that_turns_in_between_did_not_hold():
    turned = WORSE | {64: WORSE[256], 256: WORSE[64]}
    study = made_up_study(seeds=4, curves=by_size(turned))

    assert claims(study)["Larger batches generalize worse"] == "did_not_hold"
    assert "from batch size 64 to batch size 256" in text(study, "Larger batches generalize worse")


def test_one_seed_claims_nothing():
    study = made_up_study(seeds=1, curves=by_size(WORSE))

    assert set(claims(study).values()) == {"cannot_tell"}
    assert "One seed: this may be chance" in text(study, "Larger batches generalize worse")
    assert "1 seed each" in conclusion(study).lead
    assert leader(study, "epochs") is None


@pytest.mark.slow
def test_a_falling_metric_is_compared_by_its_own_direction():
    def study_of(levels):
        return made_up_study(
            seeds=4,
            curves=by_size(levels),
            metrics=(("loss", "lower"),),
        )

    worse, better = claims(study_of(WORSE)), claims(study_of(BETTER))

    assert leader(study_of(WORSE), "epochs") == 64
    assert leader(study_of(BETTER), "epochs") == 1024

    assert worse["Larger batches generalize worse"] == "held"
    assert worse["Larger batches overfit more"] == "held"
    assert better["Larger batches generalize worse"] == "did_not_hold"
    assert better["Larger batches overfit more"] == "did_not_hold"


@pytest.mark.slow
def test_less_training_is_named_where_training_fell_behind_too():
    behind = {64: (0.99, 0.97, 0.97), 256: (0.987, 0.965, 0.965), 1024: (0.984, 0.96, 0.96)}
    smaller_gap = {64: (0.99, 0.95, 0.95), 256: (0.987, 0.96, 0.96), 1024: (0.984, 0.97, 0.97)}
    study = made_up_study(seeds=4, curves=by_size(behind))

    assert "which is part of this" in text(study, "Larger batches generalize worse")
    other = made_up_study(seeds=4, curves=by_size(smaller_gap))
    assert "less training makes the gap smaller" in text(other, "Larger batches overfit more")


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

    assert text(study, "equal time").startswith("This was not compared: the step times")
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


def rate_curves(best):
    def curves(batch_size, learning_rate, seed):
        validation = 0.97 if learning_rate == best else 0.9
        return made_up_curves(validation=validation + 1e-4 * seed)

    return curves


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


def test_one_batch_size_makes_no_comparison():
    study = made_up_study(batch_sizes=(64,), seeds=3)

    assert claims(study) == {}
    assert races(Evidence.of(study)) == ()
    assert conclusion(study).lead == "Trained at learning rate 0.01, 3 seeds."


@pytest.mark.slow
def test_a_good_start_is_judged_against_the_sizes_outside():
    sizes = {16: 0.97, 64: 0.97, 1024: 0.95}
    good = by_size({size: (0.99, level, level) for size, level in sizes.items()}, scatter=0.0001)
    bad = by_size(
        {16: (0.99, 0.99, 0.99), 64: (0.99, 0.95, 0.95), 1024: (0.99, 0.95, 0.95)}, scatter=0.0001
    )

    def study_of(curves):
        return made_up_study(
            batch_sizes=tuple(sizes),
            seeds=4,
            curves=curves,
            step_s=lambda b: b * 1e-6,
        )

    assert claims(study_of(good))["32 to 128 is a good start"] == "held"
    assert claims(study_of(bad))["32 to 128 is a good start"] == "did_not_hold"


def test_without_a_size_in_the_range_the_good_start_cannot_be_told():
    study = made_up_study(batch_sizes=(256, 1024), seeds=3)

    assert claims(study)["32 to 128 is a good start"] == "cannot_tell"


def full_batch_study(rates):
    return made_up_study(
        batch_sizes=tuple(rates),
        seeds=3,
        curves=lambda b, r, seed: made_up_curves(rate=rates[b] + 0.001 * seed),
        evaluations_per_epoch=8,
        epochs=10,
        step_s=lambda b: 1e-6 * b,
    )


def test_full_batch_that_is_slower_per_epoch_does_not_converge_better():
    study = full_batch_study({64: 0.5, 4096: 0.1})

    assert claims(study)["Full batch converges better"] == "did_not_hold"
    assert text(study, "Full batch converges better").endswith(
        "In equal steps, full batch is ahead of some other size."
    )


def test_full_batch_that_wins_under_every_budget_converges_better():
    study = full_batch_study({64: 0.1, 4096: 0.3})

    assert claims(study)["Full batch converges better"] == "held"


def test_whether_the_epochs_were_enough_is_said_to_be_open_where_it_is():
    short, long = made_up_study(epochs=2), made_up_study(seeds=2, curves=by_size(WORSE))

    assert text(short, "plateau").startswith(
        "Whether the epochs were enough cannot be told for batch sizes 64, 256 and 1024."
    )
    assert texts(long, "plateau") == []


@pytest.mark.slow
def test_without_validation_data_the_plateau_cannot_be_told_and_test_data_describe():
    study = made_up_study(seeds=4, n_validation=0, curves=by_size(WORSE))

    assert "Test data must not decide" in text(study, "plateau")
    assert claims(study)["Larger batches generalize worse"] == "held"
    assert "test accuracy" in conclusion(study).headline


def test_without_held_out_data_generalization_cannot_be_told():
    study = made_up_study(seeds=4, n_validation=0, n_test=0, curves=by_size(WORSE))

    assert claims(study)["Larger batches generalize worse"] == "cannot_tell"
    assert "training accuracy" in conclusion(study).headline


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
