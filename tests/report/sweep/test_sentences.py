"""The sentences follow the numbers: reversed stores reverse them."""

import re
from dataclasses import replace

import numpy as np
import pytest
from tests.reference.made_up import approach, made_up_curves, made_up_study

from batchlab.records.trial import Status
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
    return {
        found.topic: found.verdict for found in sentences(study) if found.topic[0].isupper()
    } | {found.topic: found.verdict for found in sentences(study) if found.topic.startswith("32")}


def texts(study, topic):
    return [found.text for found in sentences(study) if found.topic == topic]


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
    assert "not told apart by these seeds" in text(study, "Larger batches generalize worse")
    assert "these seeds do not tell" in text(study, "equal epochs")
    assert "within" not in text(study, "equal epochs")


@pytest.mark.slow
def test_what_differs_by_less_than_matters_is_said_to():
    study = made_up_study(seeds=6, curves=by_size(LEVEL, scatter=0.0001))

    assert "; within 0.0020 of batch size" in text(study, "equal epochs")
    assert "do not tell" not in text(study, "equal epochs")


@pytest.mark.slow
def test_0_9705_against_0_9371_with_ranges_of_0_002_is_never_no_difference():
    def curves(batch_size, rate, seed):
        level = {64: 0.9705, 256: 0.958, 1024: 0.9371}[batch_size] + 0.001 * (2 * seed - 1)
        return made_up_curves(train=0.99, validation=level, test=level, rate=2.0)

    study = made_up_study(seeds=2, curves=curves)

    assert claims(study)["Larger batches generalize worse"] == "held"
    assert "batch size 64 was best" in text(study, "equal epochs")
    assert not any("no difference" in found.text for found in sentences(study)
                   if found.topic != "equal time")  # fmt: skip


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

    for told in texts(clipped, "final metrics"):
        bounds = [float(x) for x in re.findall(r"(?:%: | to )([\d.]+)", told)]
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
    assert "one seed: no interval" in text(study, "Larger batches generalize worse")
    assert "one seed" in text(study, "what was compared")


@pytest.mark.slow
def test_a_falling_metric_is_compared_by_its_own_direction():
    def study_of(levels):
        return made_up_study(
            seeds=4,
            curves=by_size(levels),
            metrics=(("loss", "lower"),),
        )

    worse, better = claims(study_of(WORSE)), claims(study_of(BETTER))

    assert "batch size 64 was best" in text(study_of(WORSE), "equal epochs")
    assert "batch size 1024 was best" in text(study_of(BETTER), "equal epochs")

    assert worse["Larger batches generalize worse"] == "held"
    assert worse["Larger batches overfit more"] == "held"
    assert better["Larger batches generalize worse"] == "did_not_hold"
    assert better["Larger batches overfit more"] == "did_not_hold"


@pytest.mark.slow
def test_less_training_is_named_where_training_fell_behind_too():
    behind = {64: (0.99, 0.97, 0.97), 256: (0.987, 0.965, 0.965), 1024: (0.984, 0.96, 0.96)}
    smaller_gap = {64: (0.99, 0.95, 0.95), 256: (0.987, 0.96, 0.96), 1024: (0.984, 0.97, 0.97)}
    study = made_up_study(seeds=4, curves=by_size(behind))

    assert "part of it is less training" in text(study, "Larger batches generalize worse")
    other = made_up_study(seeds=4, curves=by_size(smaller_gap))
    assert "sign of less training" in text(other, "Larger batches overfit more")


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

    assert "batch size 64 was best" in text(study, "equal epochs")
    assert "full batch was best" in text(study, "equal steps")
    assert "batch size 256 was best" in text(study, "equal time")
    assert "do not agree" in text(study, "equal budgets")


def test_equal_time_uses_the_step_time_measured_alone():
    def study_of(step_s):
        return made_up_study(
            batch_sizes=(64, 256),
            seeds=3,
            curves=lambda b, r, seed: made_up_curves(rate=0.3 + 0.001 * seed),
            evaluations_per_epoch=4,
            step_s=step_s,
        )

    slow_small = text(study_of(lambda b: 1e-3), "equal time")
    slow_large = text(study_of(lambda b: {64: 1e-4, 256: 1e-2}[b]), "equal time")

    assert "batch size 256 was best" in slow_small
    assert "batch size 64 was best" in slow_large


def test_without_step_times_equal_time_cannot_be_told():
    study = made_up_study(seeds=2, timed=False)

    assert "cannot tell" in text(study, "equal time")
    assert texts(study, "speed") == []


def test_one_fixed_rate_is_labelled_as_such():
    study = made_up_study(seeds=2)

    assert "one fixed learning rate, 0.01, not tuned" in text(study, "what was compared")
    assert "one fixed learning rate" in text(study, "Larger batches generalize worse")


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("none", "one learning rate for each batch size, not tuned"),
        ("sqrt", "one learning rate for each batch size, set by the rule sqrt, not tuned"),
        ("sde-adam", "set by the rule sde-adam, which moves Adam's betas and eps too, not tuned"),
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

    assert told in text(replace(study, records=records), "what was compared")


def test_tuned_rates_are_labelled_as_such():
    study = made_up_study(seeds=2, learning_rates=RATES)

    assert "best of its learning rates on validation data" in text(study, "what was compared")


def rate_curves(best):
    def curves(batch_size, learning_rate, seed):
        validation = 0.97 if learning_rate == best else 0.9
        return made_up_curves(validation=validation + 1e-4 * seed)

    return curves


@pytest.mark.parametrize(("best", "edge"), [(0.01, "lowest"), (1.0, "highest")])
def test_a_best_rate_at_the_edge_is_unfinished(best, edge):
    study = made_up_study(learning_rates=RATES, curves=rate_curves(best))

    assert len(texts(study, "learning rate")) == len(SIZES)
    assert (
        f"the {edge} of the 3 tried: the search has not finished"
        in texts(study, "learning rate")[0]
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

    assert text(study, "in no mean") == (
        "In no mean: batch size 256 at learning rate 0.01, seed 1: nan at epoch 3: "
        "the loss is not a number at step 32."
    )
    (final,) = (found for found in texts(study, "final metrics") if "size 256" in found)
    assert "2 seeds" in final
    assert "Equal epochs (20 each)" in text(study, "equal epochs")


def test_nothing_but_bad_trials_compares_nothing():
    endings = {(size, 0.01, 0): (Status.DIVERGED, "loss grew", 2) for size in SIZES}
    found = sentences(made_up_study(endings=endings))

    assert "No trial ended well" in found[0].text
    assert [sentence.topic for sentence in found[1:]] == ["in no mean"] * 3


def test_no_trial_at_all_is_said():
    (found,) = sentences(made_up_study(batch_sizes=()))

    assert "No trial" in found.text


def test_one_batch_size_makes_no_comparison():
    study = made_up_study(batch_sizes=(64,), seeds=3)

    assert claims(study) == {}
    assert texts(study, "equal epochs") == []


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
    assert "ahead of some size under equal steps" in text(study, "Full batch converges better")


def test_full_batch_that_wins_under_every_budget_converges_better():
    study = full_batch_study({64: 0.1, 4096: 0.3})

    assert claims(study)["Full batch converges better"] == "held"


def test_curves_before_their_plateau_are_named():
    study = made_up_study(
        seeds=2,
        curves=lambda b, r, seed: made_up_curves(rate={64: 0.8, 256: 0.7, 1024: 0.1}[b]),
    )

    assert "Still improving at the end: batch size 1024;" in text(study, "plateau")


def test_all_at_their_plateau_is_said():
    study = made_up_study(seeds=2, curves=by_size(WORSE))

    assert text(study, "plateau") == "All of these trials reached their plateau."


@pytest.mark.slow
def test_without_validation_data_the_plateau_cannot_be_told_and_test_data_describe():
    study = made_up_study(seeds=4, n_validation=0, curves=by_size(WORSE))

    assert "test data must not decide" in text(study, "plateau")
    assert claims(study)["Larger batches generalize worse"] == "held"
    assert "test accuracy" in text(study, "equal epochs")


def test_without_held_out_data_generalization_cannot_be_told():
    study = made_up_study(seeds=4, n_validation=0, n_test=0, curves=by_size(WORSE))

    assert claims(study)["Larger batches generalize worse"] == "cannot_tell"
    assert "training accuracy" in text(study, "equal epochs")


def test_test_scores_choose_no_learning_rate():
    def curves(batch_size, learning_rate, seed):
        test = 0.99 if learning_rate == 0.01 else 0.5
        validation = 0.97 if learning_rate == 0.1 else 0.9
        return made_up_curves(test=test, validation=validation)

    study = made_up_study(learning_rates=RATES, curves=curves)

    assert all("at learning rate 0.1:" in found for found in texts(study, "final metrics"))


def test_speed_names_the_highest_throughput():
    study = made_up_study(step_s=lambda b: {64: 1e-3, 256: 1e-3, 1024: 0.1}[b])

    assert text(study, "speed").startswith("Batch size 256 had the highest throughput, 256,000")


def test_full_batch_is_called_by_its_name():
    study = made_up_study(batch_sizes=(64, 4096), seeds=2)

    assert any("Full batch at learning rate" in found for found in texts(study, "final metrics"))


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
    assert "0.3000 at batch size 1024, 0.1125 at batch size 64" in text(study, "equal steps")


@pytest.mark.slow
def test_a_comparison_at_chosen_rates_says_that_the_best_of_several_looks_better_than_it_is() -> (
    None
):
    several = sentences(made_up_study(learning_rates=(0.01, 0.1), seeds=2))
    one = sentences(made_up_study(learning_rates=(0.01,), seeds=2))

    caveat = "the best of several looks better than it is"
    assert any(caveat in sentence.text for sentence in several)
    assert not any(caveat in sentence.text for sentence in one)


def test_the_gap_has_an_interval_that_counts_the_examples_where_there_are_seeds():
    several = text(made_up_study(batch_sizes=(64,), seeds=3), "generalization gap")
    one = text(made_up_study(batch_sizes=(64,), seeds=1), "generalization gap")

    found = re.search(r": (\S+) \(95 %: (\S+) to (\S+)\) at batch size 64", several)
    assert found is not None
    gap, low, high = map(float, found.groups())
    assert low < gap < high
    # Of the few made-up test examples alone: the seeds scatter by a thousandth.
    assert high - low > 0.01
    assert "95 %" not in one


def test_the_gap_of_a_loss_has_no_interval_of_examples():
    study = made_up_study(batch_sizes=(64,), seeds=3)
    by_loss = replace(study, workload=replace(study.workload, metrics=study.workload.metrics[1:]))

    assert "95 %" not in text(by_loss, "generalization gap")
