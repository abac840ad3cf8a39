"""Which rates of a batch size are recorded: around the best, and more seeds where it may fall."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from benchmarks.regret.rate_window import CellCost, near_octaves, window_around

WHOLE = 100.0


def met(samples: float, shortfall: float = 0.0) -> CellCost:
    return CellCost(samples=samples, shortfall=shortfall, misses=0.0)


def missed(shortfall: float) -> CellCost:
    return CellCost(samples=2 * WHOLE, shortfall=shortfall, misses=1.0)


DIVERGED = missed(math.inf)


def cost_at(costs: Mapping[int, CellCost], octave: int) -> CellCost:
    """The cost; below what is given nothing is learned, above it all diverges."""
    if octave < min(costs):
        return missed(50.0 - octave)
    return costs.get(octave, DIVERGED)


@pytest.mark.parametrize("start", [-3, 0, 2, 3, 9])
def test_a_window_ends_at_the_first_rate_that_fails_wherever_it_begins(start: int) -> None:
    costs = {0: met(80), 1: met(40), 2: met(20), 3: missed(3)}

    window = window_around(lambda octave: cost_at(costs, octave), start)

    assert window == (0, 1, 2, 3)


def test_a_window_ends_two_octaves_above_the_best_where_nothing_fails() -> None:
    costs = {octave: met(20 + 10 * abs(octave - 2)) for octave in range(-6, 9)}

    window = window_around(lambda octave: cost_at(costs, octave), 0)

    assert window == (0, 1, 2, 3, 4)


def test_near_is_what_is_fast_and_what_ends_well() -> None:
    costs = {
        0: met(60, shortfall=-0.9),  # slow, but ends within two margins of the best end
        1: met(49, shortfall=0.5),
        2: met(20, shortfall=0.5),
        3: met(45, shortfall=0.9),
        4: met(51, shortfall=0.9),  # more than 2.5 times the least time
        5: missed(4),
    }

    assert near_octaves(costs, best_shortfall=-2.8) == (0, 1, 2, 3)
