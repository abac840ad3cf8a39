"""Scaling rules: the rate and Adam's settings that go with another batch size."""

from typing import Any

import pytest

from batchlab.plans.scaling import moved_adam, scaling_rule, settings_of
from batchlab.records.study import AdamSettings


@pytest.mark.parametrize(
    ("rule", "ratio", "expected"),
    [
        *(("none", 4, 1), ("linear", 4, 4), ("linear", 1 / 4, 1 / 4), ("sqrt", 4, 2)),
        *(("sqrt", 1 / 4, 1 / 2), ("sde-adam", 4, 2)),
        (0.62, 8, 8**0.62),  # a number is the exponent of the batch size
    ],
)
def test_the_rate_follows_the_batch_size_by_its_rule(rule, ratio, expected):
    assert scaling_rule(rule).rate_factor(ratio) == pytest.approx(expected, rel=1e-12)


def moved(
    adam: AdamSettings | None, reference: int, size: int, *, rule: str | float = "sde-adam"
) -> Any:
    return moved_adam(adam, rule, batch_size=size, reference_batch_size=reference, whose="SGD")


def test_sde_adam_moves_rate_betas_and_eps_together():
    """Malladi et al. 2022: settings of a published run at 448 moved to 3200."""
    settings = moved(AdamSettings(betas=(0.9, 0.96), eps=1e-8), 448, 3200)

    assert scaling_rule("sde-adam").rate_factor(3200 / 448) == pytest.approx(2.6726124)
    assert settings.betas == pytest.approx((0.2857143, 0.7142857), abs=1e-7)
    assert settings.eps == pytest.approx(3.7416574e-9, rel=1e-7)


@pytest.mark.parametrize(
    ("beta_2", "sizes", "expected"),
    [
        (0.95, (512, 1), 0.9998998228),  # the half-life of 0.95 at 512 is 13.5 of its steps
        (0.999, (64, 1024), 0.999**16),
        (0.95, (64, 1024), 0.9),  # not 0.44
        (0.85, (64, 1024), 0.85),  # a smaller one of the user's own is no smaller
    ],
)
def test_all_rules_but_none_keep_how_many_examples_beta_2_remembers_down_to_a_floor(
    beta_2, sizes, expected
):
    settings = moved(AdamSettings(betas=(0.9, beta_2)), *sizes, rule="linear")

    assert settings == AdamSettings(betas=(0.9, pytest.approx(expected, abs=1e-9)))


@pytest.mark.parametrize("rule", ["linear", "sqrt", "sde-adam", 0.62])
@pytest.mark.parametrize("size", [8, 64, 96])
def test_an_epoch_decays_the_weights_as_much_at_every_batch_size(rule, size):
    decay = moved(AdamSettings(weight_decay=0.1), 64, size, rule=rule).weight_decay

    per_step = decay * scaling_rule(rule).rate_factor(size / 64)
    assert per_step / size == pytest.approx(0.1 / 64, rel=1e-12)


def test_none_and_optimizers_of_another_kind_keep_their_settings():
    assert moved(AdamSettings(weight_decay=0.1), 64, 128, rule="none") is None
    assert moved(None, 64, 128, rule="linear") is None


@pytest.mark.parametrize(("group", "whose", "decay"), [
    ({"weight_decay": 0.1, "decoupled_weight_decay": True}, "Adam", 0.1),
    ({"weight_decay": 0.1, "decoupled_weight_decay": False}, "AdamWrong", None),
    ({"weight_decay": 0.1}, "AdamW8bit", 0.1),
    ({"weight_decay": 0.1}, "NAdam", None),
    ({}, "AdamW", None),
])  # fmt: skip
def test_a_weight_decay_counts_only_if_it_is_decoupled(group, whose, decay):
    settings = settings_of({"betas": (0.9, 0.95), "eps": 1e-8, **group}, whose=whose)

    assert settings == AdamSettings(betas=(0.9, 0.95), weight_decay=decay)
