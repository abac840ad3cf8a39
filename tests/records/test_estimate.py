"""Estimate: a number with its interval, and what the interval holds."""

from __future__ import annotations

import pytest

from batchlab.records.estimate import Estimate


@pytest.mark.parametrize(
    ("interval", "value", "held"),
    [
        ((1.0, 3.0), 1.0, True),
        ((1.0, 3.0), 3.0, True),
        ((1.0, 3.0), 0.99, False),
        ((1.0, 3.0), 3.01, False),
        ((None, 3.0), -1e9, True),
        ((None, 3.0), 3.01, False),
        ((1.0, None), 1e9, True),
        ((1.0, None), 0.99, False),
        ((None, None), 0.0, True),
    ],
)
def test_a_bound_that_cannot_be_told_excludes_nothing(
    interval: tuple[float | None, float | None], value: float, held: bool
) -> None:
    assert Estimate.of(2.0, interval=interval, n=5).holds(value) is held


@pytest.mark.parametrize(
    ("interval", "is_too_wide"),
    [
        ((1.0, 99.0), False),
        ((1.0, 100.0), True),
        ((0.0, 5.0), True),
        ((4.64e-8, 286_200.0), True),  # a step of 0.05 µs to 79.5 h
        ((-1.0, 5.0), False),  # no quantity above 0
        ((None, 5.0), False),
    ],
)
def test_an_interval_whose_ends_tell_nothing_is_too_wide(
    interval: tuple[float | None, float | None], is_too_wide: bool
) -> None:
    assert Estimate.of(1.0, interval=interval, n=2).is_too_wide is is_too_wide
