"""Scaling rules: the rate that goes with another batch size."""

from __future__ import annotations

import pytest

from batchlab.errors import UsageError
from batchlab.scaling import SCALING_RULES, scaled_learning_rate


@pytest.mark.parametrize(
    ("rule", "batch_size", "expected"),
    [
        ("none", 1024, 0.1),
        ("linear", 1024, 0.4),
        ("linear", 64, 0.025),
        ("sqrt", 1024, 0.2),
        ("sqrt", 64, 0.05),
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
    with pytest.raises(UsageError, match="'quadratic': expected one of none, linear, sqrt"):
        scaled_learning_rate(0.1, rule="quadratic", batch_size=2, reference_batch_size=1)
