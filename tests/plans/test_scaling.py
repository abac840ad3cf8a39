"""Scaling rules: the rate that goes with another batch size."""

from typing import Any

import pytest

from batchlab.errors import UsageError
from batchlab.plans.scaling import moved_adam, scaling_rule, settings_of
from batchlab.records.study import AdamSettings


@pytest.mark.parametrize(
    ("rule", "batch_size", "expected"),
    [
        ("none", 1024, 0.1),
        ("linear", 1024, 0.4),
        ("linear", 64, 0.025),
        ("sqrt", 1024, 0.2),
        ("sqrt", 64, 0.05),
        ("sde-adam", 1024, 0.2),
    ],
)
def test_the_rate_follows_the_batch_size_by_its_rule(
    rule: str, batch_size: int, expected: float
) -> None:
    found = 0.1 * scaling_rule(rule).rate_factor(batch_size / 256)

    assert found == pytest.approx(expected, rel=1e-12)


def moved(adam: AdamSettings | None, *, rule: str = "sde-adam", size: int, reference: int):
    return moved_adam(adam, rule, batch_size=size, reference_batch_size=reference, whose="SGD")


# Malladi et al. 2022: settings of a published run at 448 moved to 3200, and round numbers at 4.
@pytest.mark.parametrize(
    ("sizes", "given", "expected"),
    [
        (
            (448, 3200),
            AdamSettings(betas=(0.9, 0.96), eps=1e-8),
            (2.6726124, (0.2857143, 0.7142857), 3.7416574e-9),
        ),
        ((32, 128), AdamSettings(), (2.0, (0.6, 0.996), 5e-9)),
    ],
)
def test_sde_adam_moves_rate_betas_and_eps_together(
    sizes: tuple[int, int], given: AdamSettings, expected: tuple[float, tuple[float, float], float]
) -> None:
    found = moved(given, size=sizes[1], reference=sizes[0])

    assert scaling_rule("sde-adam").rate_factor(sizes[1] / sizes[0]) == pytest.approx(expected[0])
    assert found.betas == pytest.approx(expected[1], abs=1e-7)
    assert found.eps == pytest.approx(expected[2], rel=1e-7)


@pytest.mark.parametrize("batch_size", [640, 1024])
def test_sde_adam_is_refused_where_a_beta_would_not_stay_above_0(batch_size: int) -> None:
    with pytest.raises(
        UsageError, match=r"beta 1 = 0.9 would become .* batch sizes up to 639, use"
    ):
        moved(AdamSettings(), size=batch_size, reference=64)


def test_sde_adam_goes_up_to_the_batch_size_that_its_refusal_names() -> None:
    assert 0 < moved(AdamSettings(), size=639, reference=64).betas[0] < 0.01


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
    beta_2: float, sizes: tuple[int, int], expected: float
) -> None:
    given = AdamSettings(betas=(0.9, beta_2))

    found = moved(given, rule="linear", size=sizes[1], reference=sizes[0])

    assert found == AdamSettings(betas=(0.9, pytest.approx(expected, abs=1e-9)))


def test_a_number_is_the_power_of_the_batch_size_that_the_rate_grows_as() -> None:
    assert scaling_rule(0.62).rate_factor(8) == pytest.approx(8**0.62)


@pytest.mark.parametrize("rule", ["linear", "sqrt", "sde-adam", 0.62])
@pytest.mark.parametrize("size", [8, 64, 96])
def test_an_epoch_decays_the_weights_as_much_at_every_batch_size(
    rule: str | float, size: int
) -> None:
    given = AdamSettings(weight_decay=0.1)

    found = moved(given, rule=rule, size=size, reference=64).weight_decay

    per_step = found * scaling_rule(rule).rate_factor(size / 64)
    assert per_step / size == pytest.approx(0.1 / 64, rel=1e-12)


def test_none_and_optimizers_of_another_kind_keep_their_settings() -> None:
    assert moved(AdamSettings(weight_decay=0.1), rule="none", size=128, reference=64) is None
    assert moved(None, rule="linear", size=128, reference=64) is None


@pytest.mark.parametrize(
    ("group", "whose", "decay"),
    [
        ({"weight_decay": 0.1, "decoupled_weight_decay": True}, "Adam", 0.1),
        ({"weight_decay": 0.1, "decoupled_weight_decay": False}, "AdamWrong", None),
        ({"weight_decay": 0.1}, "AdamW8bit", 0.1),
        ({"weight_decay": 0.1}, "NAdam", None),
        ({}, "AdamW", None),
    ],
)
def test_a_weight_decay_counts_only_if_it_is_decoupled(
    group: dict[str, Any], whose: str, decay: float | None
) -> None:
    found = settings_of({"betas": (0.9, 0.95), "eps": 1e-8, **group}, whose=whose)

    assert found == AdamSettings(betas=(0.9, 0.95), weight_decay=decay)
