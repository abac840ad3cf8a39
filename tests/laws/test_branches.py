"""The critical batch size of branches: right where the law holds, with an interval that covers."""

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


def test_beyond_the_sizes_that_were_branched_only_a_bound_is_known() -> None:
    """Larger batches waste nothing, or take as many steps."""
    waste_nothing = critical_batch_size(OWN, [(k, 0.0, 0.9) for k in TIMES])
    as_many_steps = critical_batch_size(OWN, [(k, 0.98 * k, 0.98 * k) for k in TIMES])

    assert waste_nothing.estimate is None
    assert waste_nothing.low > 16 * OWN / 2
    assert waste_nothing.reason.code == "steps_still_fall"
    assert as_many_steps.estimate is not None
    assert as_many_steps.high < OWN


@pytest.mark.parametrize("seen", [[(2, 0.0, 4.0), (4, 0.0, math.inf)], [(2, 1.1, 1.1)]])
def test_bounds_that_exclude_nothing_or_one_size_give_no_estimate_and_no_bound(seen) -> None:
    found = critical_batch_size(OWN, seen)

    assert (found.estimate, found.low, found.reason.code) == (None, None, "too_few")


def test_examples_lie_between_the_branches_that_enclose_a_loss() -> None:
    middle = math.sqrt(2) * 100
    examples = {1.0: (100, 100), 0.75: (middle, middle), 0.5: (200, 200)}
    examples |= {1.1: (0, 100), 0.4: (200, math.inf), math.nan: (0, 100)}

    for loss, ends in examples.items():
        assert examples_to(loss, [(100, 1.0), (200, 0.5)]) == pytest.approx(ends)
