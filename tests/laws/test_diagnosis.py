"""Diagnosis rules on made-up records: each fires on its own picture and not on a healthy one."""

import pytest
from tests.reference.made_up import approach, made_up_curves, made_up_record

from batchlab.laws.diagnosis import RULES, diagnose, unjudged
from batchlab.records.trial import Status, Target


def found_in(record, metric="accuracy", better="higher"):
    return {
        diagnosis.rule.name: diagnosis.evidence
        for diagnosis in diagnose(record, metric=metric, better=better)
    }


def with_losses(*, train, validation, accuracy=None):
    """Curves of the losses given, and of a healthy accuracy."""
    accuracy = accuracy or approach(0.97)
    return {
        ("train", "accuracy"): accuracy,
        ("validation", "accuracy"): accuracy,
        ("train", "loss"): train,
        ("validation", "loss"): validation,
    }


def falls(to, *, rate=0.5):
    return approach(to, start=2.3, rate=rate)


def turning(e):
    return falls(0.1)(e) + 0.01 * e


def batch_loss(base, spike):
    return {"epochs": 25, "batch_loss": lambda e: 2.3 * base**e + spike(e)}


HIGH_AT_REST = with_losses(
    train=falls(1.6, rate=1.0), validation=falls(1.62, rate=1.0), accuracy=approach(0.4, rate=1.0)
)
CURVES = {
    "healthy": ({"epochs": 25}, {}),
    "a bad end": ({"status": Status.DIVERGED, "epochs": 8}, {"diverged": "ended_badly"}),
    "a loss above the untrained one": (
        {"curves": with_losses(train=lambda e: 2.3 + 0.1 * e, validation=lambda e: 2.3)},
        {"diverged": "loss_before_and_after"},
    ),
    "a loss spike": (
        batch_loss(0.7, lambda e: 0.2 + (1.5 if e == 12 else 0)),
        {"unstable": "loss_spikes"},
    ),
    "a wobble by half": (batch_loss(0.7, lambda e: 0.2 + (0.1 if round(e) % 3 == 0 else 0)), {}),
    "validation loss turns": (
        {"curves": with_losses(train=falls(0.0), validation=turning), "epochs": 25},
        {"overfitting": "validation_loss_rose"},
    ),
    "both losses turn": (
        {"curves": with_losses(train=turning, validation=turning), "epochs": 25},
        {},
    ),
    "one bad epoch at the end": (
        {
            "curves": with_losses(
                train=falls(0.0), validation=lambda e: falls(0.3)(e) + (0.3 if e == 25 else 0)
            ),
            "epochs": 25,
        },
        {},
    ),
    "validation accuracy turns": (
        {
            "curves": made_up_curves(train=1.0)
            | {("validation", "accuracy"): lambda e: approach(0.97)(e) - 0.003 * max(0.0, e - 12)},
            "epochs": 25,
        },
        {"overfitting": "validation_got_worse"},
    ),
    "a wide gap": (
        {"curves": made_up_curves(train=1.0, validation=0.9), "epochs": 25},
        {"overfitting": "wide_gap"},
    ),
    "a narrow gap": ({"curves": made_up_curves(train=1.0, validation=0.96), "epochs": 25}, {}),
    "test scores far below": ({"curves": made_up_curves(train=1.0, test=0.2), "epochs": 25}, {}),
    "a high loss at rest": ({"curves": HIGH_AT_REST}, {"underfitting": "loss_before_and_after"}),
    "a high loss that still falls": (
        {
            "curves": with_losses(
                train=lambda e: 2.3 - 0.02 * e,
                validation=lambda e: 2.3 - 0.02 * e,
                accuracy=lambda e: 0.1 + 0.02 * e,
            )
        },
        {"slow_convergence": "loss_still_falls", "not_enough_epochs": "epochs_to_bring"},
    ),
    "a loss that has hardly moved": (
        {
            "curves": with_losses(
                train=lambda e: 2.3 - 0.01 * (1 - 0.5**e),
                validation=lambda e: 2.3,
                accuracy=lambda e: 0.1,
            )
        },
        {"slow_convergence": "loss_before_and_after"},
    ),
    "before its plateau": (
        {"curves": made_up_curves(rate=0.2), "epochs": 12},
        {"not_enough_epochs": "epochs_to_bring"},
    ),
    "before its plateau, at its target": (
        {
            "curves": made_up_curves(rate=0.2),
            "epochs": 12,
            "status": Status.TARGET_REACHED,
            "target": Target(metric="accuracy", value=0.8, better="higher"),
        },
        {},
    ),
    "nothing": ({"curves": {}, "status": Status.OOM, "epochs": 0}, {}),
}


@pytest.mark.parametrize("name", CURVES)
def test_each_picture_has_its_diagnosis_with_its_evidence(name):
    given, expected = CURVES[name]

    found = found_in(made_up_record(**given))

    assert {rule: evidence.code for rule, evidence in found.items()} == expected


def test_a_spike_is_told_with_its_step():
    record = made_up_record(**CURVES["a loss spike"][0])

    assert found_in(record)["unstable"].named["step"] == record.trial.plan.steps_in(12)


def test_a_falling_metric_is_diagnosed_by_its_own_direction():
    record = made_up_record(**CURVES["validation loss turns"][0])

    assert list(found_in(record, metric="loss", better="lower")) == ["overfitting"]


def test_without_validation_data_the_rules_that_need_it_are_silent_and_named():
    record = made_up_record(curves=made_up_curves(rate=0.2, has_validation=False), epochs=12)

    assert found_in(record) == {}
    assert [rule.name for rule in unjudged(record)] == ["overfitting", "not_enough_epochs"]
    assert unjudged(made_up_record()) == ()


def test_every_rule_has_its_own_name_label_and_sentence():
    for part in ("name", "label", "sentence"):
        assert len({getattr(rule, part) for rule in RULES}) == len(RULES)
