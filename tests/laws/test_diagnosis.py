"""Diagnosis rules on made-up records: each fires on its own picture and not on a healthy one."""

import pytest
from tests.reference.made_up import approach, made_up_curves, made_up_record

from batchlab.laws.diagnosis import RULES, diagnose, unjudged
from batchlab.records.trial import Status, Target


def found_in(record, metric="accuracy", better="higher"):
    found = diagnose(record, metric=metric, better=better)
    return {diagnosis.rule.name: diagnosis.evidence for diagnosis in found}


HEALTHY = approach(0.97)


def losses(train, validation, *, accuracy=HEALTHY, **changes):
    """Curves of the losses given, and of a healthy accuracy."""
    curves = dict.fromkeys([("train", "accuracy"), ("validation", "accuracy")], accuracy)
    curves |= {("train", "loss"): train, ("validation", "loss"): validation}
    return {"curves": curves, **changes}


def accuracies(*, turn=0.0, epochs=25, **changes):
    """Curves of the accuracies given; from epoch 12 on that of validation data may fall."""
    curves = made_up_curves(**changes)
    healthy = curves["validation", "accuracy"]
    curves["validation", "accuracy"] = lambda e: healthy(e) - turn * max(0.0, e - 12)
    return {"curves": curves, "epochs": epochs}


def falls(to, *, rate=0.5):
    return approach(to, start=2.3, rate=rate)


def turning(e):
    return falls(0.1)(e) + 0.01 * e


def batch_loss(spike):
    return {"epochs": 25, "batch_loss": lambda e: 2.3 * 0.7**e + 0.2 + spike(e)}


def straight(start, slope):
    return lambda e: start + slope * e


AT_REST = losses(falls(1.6, rate=1.0), falls(1.62, rate=1.0), accuracy=approach(0.4, rate=1.0))
STILL_FALLS = losses(straight(2.3, -0.02), straight(2.3, -0.02), accuracy=straight(0.1, 0.02))
HARDLY_MOVED = losses(falls(2.29, rate=0.7), straight(2.3, 0), accuracy=straight(0.1, 0))
BAD_LAST = losses(falls(0.0), lambda e: falls(0.3)(e) + (0.3 if e == 25 else 0), epochs=25)
EARLY = accuracies(rate=0.2, epochs=12)
AT_TARGET = {
    "status": Status.TARGET_REACHED,
    "target": Target(metric="accuracy", value=0.8, better="higher"),
}
CURVES = {
    "healthy": ({"epochs": 25}, {}),
    "a bad end": ({"status": Status.DIVERGED, "epochs": 8}, {"diverged": "ended_badly"}),
    "a loss above the untrained one": (
        losses(straight(2.3, 0.1), straight(2.3, 0)),
        {"diverged": "loss_before_and_after"},
    ),
    "a loss spike": (batch_loss(lambda e: 1.5 * (e == 12)), {"unstable": "loss_spikes"}),
    "a wobble by half": (batch_loss(lambda e: 0.1 * (round(e) % 3 == 0)), {}),
    "validation loss turns": (
        losses(falls(0.0), turning, epochs=25),
        {"overfitting": "validation_loss_rose"},
    ),
    "both losses turn": (losses(turning, turning, epochs=25), {}),
    "one bad epoch at the end": (BAD_LAST, {}),
    "validation accuracy turns": (
        accuracies(train=1.0, turn=0.003),
        {"overfitting": "validation_got_worse"},
    ),
    "a wide gap": (accuracies(train=1.0, validation=0.9), {"overfitting": "wide_gap"}),
    "a narrow gap": (accuracies(train=1.0, validation=0.96), {}),
    "test scores far below": (accuracies(train=1.0, test=0.2), {}),
    "a high loss at rest": (AT_REST, {"underfitting": "loss_before_and_after"}),
    "a high loss that still falls": (
        STILL_FALLS,
        {"slow_convergence": "loss_still_falls", "not_enough_epochs": "epochs_to_bring"},
    ),
    "a loss that has hardly moved": (HARDLY_MOVED, {"slow_convergence": "loss_before_and_after"}),
    "before its plateau": (EARLY, {"not_enough_epochs": "epochs_to_bring"}),
    "before its plateau, at its target": (EARLY | AT_TARGET, {}),
    "nothing": ({"curves": {}, "status": Status.OOM, "epochs": 0}, {}),
}


@pytest.mark.parametrize("name", CURVES)
def test_each_picture_has_its_diagnosis_with_its_evidence(name):
    given, expected = CURVES[name]
    record = made_up_record(**given)

    found = found_in(record)

    assert {rule: evidence.code for rule, evidence in found.items()} == expected
    if "unstable" in found:
        assert found["unstable"].named["step"] == record.trial.plan.steps_in(12)


def test_a_falling_metric_is_diagnosed_by_its_own_direction():
    record = made_up_record(**CURVES["validation loss turns"][0])

    assert list(found_in(record, metric="loss", better="lower")) == ["overfitting"]
    errors = {
        ("train", "error"): lambda e: 1 - approach(1.0)(e),
        ("validation", "error"): lambda e: 1 - approach(0.9)(e),
    }
    found = found_in(made_up_record(curves=errors, epochs=25), metric="error", better="lower")
    assert found["overfitting"].code == "wide_gap"


def test_without_validation_data_the_rules_that_need_it_are_silent_and_named():
    record = made_up_record(curves=made_up_curves(rate=0.2, has_validation=False), epochs=12)

    assert found_in(record) == {}
    assert [rule.name for rule in unjudged(record)] == ["overfitting", "not_enough_epochs"]
    assert unjudged(made_up_record()) == ()
    for part in ("name", "label", "sentence"):
        assert len({getattr(rule, part) for rule in RULES}) == len(RULES)
