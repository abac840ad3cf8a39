"""The critical batch size of branches: right where the law holds, with an interval that covers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batchlab.laws.branches import critical_batch_size, examples_to

OWN = 64
TIMES = (2, 4, 8, 16)


def wasted(b_crit: float, times: float) -> float:
    return (1 + times * OWN / b_crit) / (1 + OWN / b_crit)


@pytest.mark.parametrize("b_crit", [64.0, 150.0, 400.0])
def test_exact_examples_give_the_critical_batch_size_back(b_crit: float) -> None:
    found = critical_batch_size(OWN, [(k, wasted(b_crit, k), wasted(b_crit, k)) for k in TIMES])

    assert found.estimate == pytest.approx(b_crit, rel=0.03)
    assert found.holds(b_crit)


@pytest.mark.parametrize("b_crit", [64.0, 300.0])
def test_the_interval_covers(b_crit: float) -> None:
    """Examples are off by a tenth, and more than four times as many are only known to be more."""
    stream = np.random.default_rng(7)
    held = []
    for _ in range(200):
        seen = []
        for times in TIMES:
            examples = wasted(b_crit, times) * math.exp(0.1 * stream.standard_normal())
            seen.append((times, min(examples, 4.0), examples if examples < 4 else math.inf))
        held.append(critical_batch_size(OWN, seen).holds(b_crit))

    assert 0.9 <= np.mean(held) <= 1.0


def test_where_larger_batches_waste_nothing_only_a_bound_is_known() -> None:
    found = critical_batch_size(OWN, [(k, 0.0, 0.9) for k in TIMES])

    assert found.estimate is None
    assert found.low > 16 * OWN / 2
    assert found.reason.code == "steps_still_fall"


def test_where_larger_batches_take_as_many_steps_it_is_far_below_the_batch_size_in_use() -> None:
    found = critical_batch_size(OWN, [(k, 0.98 * k, 0.98 * k) for k in TIMES])

    assert found.estimate is not None
    assert found.high < OWN


def test_bounds_that_exclude_nothing_give_no_estimate_and_no_bound() -> None:
    found = critical_batch_size(OWN, [(2, 0.0, 4.0), (4, 0.0, math.inf)])

    assert (found.estimate, found.low, found.reason.code) == (None, None, "too_few")


def test_one_batch_size_gives_no_estimate() -> None:
    found = critical_batch_size(OWN, [(2, 1.1, 1.1)])

    assert (found.estimate, found.low, found.reason.code) == (None, None, "too_few")


@pytest.mark.parametrize(
    ("loss", "examples"),
    [
        (1.0, (100, 100)),
        (0.75, (math.sqrt(2) * 100, math.sqrt(2) * 100)),
        (0.5, (200, 200)),
        (1.1, (0, 100)),
        (0.4, (200, math.inf)),
        (math.nan, (0, 100)),
    ],
)
def test_examples_lie_between_the_branches_that_enclose_a_loss(
    loss: float, examples: tuple[float, float]
) -> None:
    assert examples_to(loss, [(100, 1.0), (200, 0.5)]) == pytest.approx(examples)
