"""Diagnosis rules on made-up records: each fires on its own picture and not on a healthy one."""

import pytest
from tests.reference.made_up import approach, made_up_curves, made_up_record

from batchlab.laws.diagnosis import RULES, diagnose, unjudged
from batchlab.records.trial import Status, Target
from batchlab.words.reasons import reason_text


def names(record, metric="accuracy", better="higher"):
    return [diagnosis.name for diagnosis in diagnose(record, metric=metric, better=better)]


def with_losses(*, train, validation, accuracy=None):
    """Curves of the losses given, and of a healthy accuracy."""
    accuracy = accuracy or approach(0.97)
    return {
        ("train", "accuracy"): accuracy,
        ("validation", "accuracy"): accuracy,
        ("train", "loss"): train,
        ("validation", "loss"): validation,
    }


def test_a_healthy_trial_has_no_diagnosis():
    assert names(made_up_record(epochs=25)) == []


@pytest.mark.parametrize("rate", [0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("evaluations_per_epoch", [1, 4])
def test_healthy_trials_of_any_speed_have_no_diagnosis(rate, evaluations_per_epoch):
    curves = made_up_curves(rate=rate)

    assert (
        names(made_up_record(curves=curves, epochs=40, evaluations_per_epoch=evaluations_per_epoch))
        == []
    )


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.NAN])
def test_a_trial_that_ended_in_divergence_has_that_diagnosis_alone(status):
    record = made_up_record(status=status, epochs=8)

    assert names(record) == ["diverged"]


def test_a_loss_above_the_untrained_one_is_diverged_whatever_the_status():
    curves = with_losses(train=lambda e: 2.3 + 0.1 * e, validation=lambda e: 2.3 + 0.1 * e)

    assert names(made_up_record(curves=curves)) == ["diverged"]


def test_a_loss_that_wobbles_around_the_untrained_one_is_not_diverged():
    curves = with_losses(train=lambda e: 2.3 + 0.01 * e, validation=lambda e: 2.3 + 0.01 * e)

    assert "diverged" not in names(made_up_record(curves=curves))


def test_a_loss_spike_is_unstable():
    record = made_up_record(
        epochs=25, batch_loss=lambda e: 2.3 * 0.7**e + 0.2 + (1.5 if e == 12 else 0)
    )

    (found,) = diagnose(record, metric="accuracy", better="higher")

    assert found.name == "unstable"
    assert f"step {record.trial.plan.steps_in(12)}" in reason_text(found.evidence)


def test_a_loss_that_wobbles_by_half_is_not_unstable():
    record = made_up_record(
        epochs=25, batch_loss=lambda e: 2.3 * 0.7**e + 0.2 + (0.1 if round(e) % 3 == 0 else 0)
    )

    assert names(record) == []


def test_a_doubling_of_a_tiny_loss_is_not_unstable():
    record = made_up_record(
        epochs=25, batch_loss=lambda e: 2.3 * 0.1**e + 1e-4 + (1e-3 if e == 20 else 0)
    )

    assert names(record) == []


def test_validation_loss_that_turns_while_training_loss_falls_is_overfitting():
    curves = with_losses(
        train=approach(0.0, start=2.3), validation=lambda e: approach(0.1, start=2.3)(e) + 0.01 * e
    )

    (found,) = diagnose(
        made_up_record(curves=curves, epochs=25), metric="accuracy", better="higher"
    )

    assert found.name == "overfitting"
    assert "validation loss rose" in reason_text(found.evidence)


def test_validation_loss_that_turns_together_with_training_loss_is_not_overfitting():
    turning = lambda e: approach(0.1, start=2.3)(e) + 0.01 * e  # noqa: E731
    curves = with_losses(train=turning, validation=turning)

    assert "overfitting" not in names(made_up_record(curves=curves, epochs=25))


def test_one_bad_epoch_at_the_end_is_not_overfitting():
    curves = with_losses(
        train=approach(0.0, start=2.3),
        validation=lambda e: approach(0.3, start=2.3)(e) + (0.3 if e == 25 else 0),
    )

    assert "overfitting" not in names(made_up_record(curves=curves, epochs=25))


def test_validation_accuracy_that_turns_is_overfitting():
    curves = made_up_curves(train=1.0)
    curves["validation", "accuracy"] = lambda e: approach(0.97)(e) - 0.003 * max(0.0, e - 12)

    (found,) = diagnose(
        made_up_record(curves=curves, epochs=25), metric="accuracy", better="higher"
    )

    assert found.name == "overfitting"
    assert "validation accuracy got worse" in reason_text(found.evidence)


def test_validation_accuracy_far_below_training_accuracy_is_overfitting():
    wide = made_up_record(curves=made_up_curves(train=1.0, validation=0.9), epochs=25)
    narrow = made_up_record(curves=made_up_curves(train=1.0, validation=0.96), epochs=25)

    assert "overfitting" in names(wide)
    assert names(narrow) == []


def test_test_scores_are_never_read():
    good, bad = (
        made_up_record(curves=made_up_curves(train=1.0, test=test), epochs=25)
        for test in (0.97, 0.2)
    )

    assert names(good) == names(bad) == []


def test_a_high_loss_at_rest_on_both_splits_is_underfitting():
    curves = with_losses(
        train=approach(1.6, start=2.3, rate=1.0),
        validation=approach(1.62, start=2.3, rate=1.0),
        accuracy=approach(0.4, rate=1.0),
    )

    assert names(made_up_record(curves=curves)) == ["underfitting"]


def test_a_low_loss_at_rest_is_not_underfitting():
    curves = with_losses(
        train=approach(0.9, start=2.3, rate=1.0), validation=approach(0.92, start=2.3, rate=1.0)
    )

    assert names(made_up_record(curves=curves)) == []


def test_a_high_loss_with_validation_far_behind_is_not_underfitting():
    curves = with_losses(
        train=approach(1.4, start=2.3, rate=1.0),
        validation=approach(1.9, start=2.3, rate=1.0),
        accuracy=approach(0.4, rate=1.0),
    )

    assert names(made_up_record(curves=curves)) == []


def test_a_high_loss_that_still_falls_is_slow_and_not_underfitting():
    curves = with_losses(
        train=lambda e: 2.3 - 0.02 * e,
        validation=lambda e: 2.3 - 0.02 * e,
        accuracy=lambda e: 0.1 + 0.02 * e,
    )

    found = names(made_up_record(curves=curves))

    assert found == ["slow_convergence", "not_enough_epochs"]


def test_a_time_constant_longer_than_the_run_is_slow_convergence():
    slow, quick = (
        made_up_record(curves=made_up_curves(rate=rate), epochs=20) for rate in (0.04, 0.2)
    )

    assert "slow_convergence" in names(slow)
    assert "slow_convergence" not in names(quick)


def test_a_loss_that_has_hardly_moved_is_slow_convergence():
    curves = with_losses(
        train=lambda e: 2.3 - 0.01 * (1 - 0.5**e),
        validation=lambda e: 2.3,
        accuracy=lambda e: 0.1,
    )

    assert names(made_up_record(curves=curves)) == ["slow_convergence"]


def test_a_curve_before_its_plateau_has_not_enough_epochs():
    curves = made_up_curves(rate=0.2)

    (found,) = diagnose(
        made_up_record(curves=curves, epochs=12), metric="accuracy", better="higher"
    )

    assert found.name == "not_enough_epochs"
    assert "validation accuracy" in reason_text(found.evidence)


def test_a_trial_that_met_its_target_needs_no_more_epochs():
    target = Target(metric="accuracy", value=0.8, better="higher")
    record = made_up_record(
        curves=made_up_curves(rate=0.2), epochs=12, status=Status.TARGET_REACHED, target=target
    )

    assert names(record) == []


def test_a_falling_metric_is_diagnosed_by_its_own_direction():
    curves = with_losses(
        train=approach(0.0, start=2.3), validation=lambda e: approach(0.1, start=2.3)(e) + 0.01 * e
    )

    assert names(made_up_record(curves=curves, epochs=25), metric="loss", better="lower") == [
        "overfitting"
    ]


def test_without_validation_data_the_rules_that_need_it_are_silent_and_named():
    record = made_up_record(curves=made_up_curves(rate=0.2, has_validation=False), epochs=12)

    assert names(record) == []
    assert [rule.name for rule in unjudged(record)] == ["overfitting", "not_enough_epochs"]


def test_with_all_curves_every_rule_is_judged():
    assert unjudged(made_up_record()) == ()


def test_a_record_without_evaluations_has_no_diagnosis():
    assert names(made_up_record(curves={}, status=Status.OOM, epochs=0)) == []


def test_every_rule_has_its_own_name_label_and_sentence():
    for part in ("name", "label", "sentence"):
        assert len({getattr(rule, part) for rule in RULES}) == len(RULES)
