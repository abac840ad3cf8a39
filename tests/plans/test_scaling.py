"""Scaling rules: the rate that goes with another batch size."""

from __future__ import annotations

import pytest

from batchlab.errors import UsageError
from batchlab.plans.scaling import SCALING_RULES, Scaled, scaled, scaled_learning_rate
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
    found = scaled_learning_rate(0.1, rule=rule, batch_size=batch_size, reference_batch_size=256)

    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rule", SCALING_RULES)
def test_at_the_reference_batch_size_every_rule_leaves_the_rate_as_it_is(rule: str) -> None:
    found = scaled_learning_rate(0.3, rule=rule, batch_size=48, reference_batch_size=48)

    assert found == 0.3


def test_an_unknown_rule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match="'quadratic': expected one of none, linear, sqrt, sde-adam"
    ):
        scaled_learning_rate(0.1, rule="quadratic", batch_size=2, reference_batch_size=1)


# Malladi et al. 2022: settings of a published run at 448 moved to 3200, and round numbers at 4.
@pytest.mark.parametrize(
    ("sizes", "given", "expected"),
    [
        (
            (448, 3200),
            (1e-4, AdamSettings(betas=(0.9, 0.96), eps=1e-8)),
            (2.6726124e-4, (0.2857143, 0.7142857), 3.7416574e-9),
        ),
        ((32, 128), (1e-3, AdamSettings()), (2e-3, (0.6, 0.996), 5e-9)),
    ],
)
def test_sde_adam_moves_rate_betas_and_eps_together(
    sizes: tuple[int, int],
    given: tuple[float, AdamSettings],
    expected: tuple[float, tuple[float, float], float],
) -> None:
    found = scaled(
        given[0],
        rule="sde-adam",
        batch_size=sizes[1],
        reference_batch_size=sizes[0],
        adam=given[1],
    )

    assert found.adam is not None
    assert found.learning_rate == pytest.approx(expected[0], rel=1e-7)
    assert found.adam.betas == pytest.approx(expected[1], abs=1e-7)
    assert found.adam.eps == pytest.approx(expected[2], rel=1e-7)


@pytest.mark.parametrize("batch_size", [640, 1024])
def test_sde_adam_is_refused_where_a_beta_would_not_stay_above_0(batch_size: int) -> None:
    with pytest.raises(
        UsageError, match=r"beta 1 = 0.9 would become .* batch sizes up to 639, use"
    ):
        scaled(1e-3, rule="sde-adam", batch_size=batch_size, reference_batch_size=64)


def test_sde_adam_goes_up_to_the_batch_size_that_its_refusal_names() -> None:
    found = scaled(1e-3, rule="sde-adam", batch_size=639, reference_batch_size=64)

    assert found.adam is not None
    assert 0 < found.adam.betas[0] < 0.01


def test_the_rules_of_sgd_leave_the_settings_alone() -> None:
    found = scaled(0.1, rule="linear", batch_size=128, reference_batch_size=64, adam=AdamSettings())

    assert found == Scaled(learning_rate=0.2, adam=None)
