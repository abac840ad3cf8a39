"""How a distance grew: the law it was made with is found again, and the other one is off."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batchlab.laws.noise_scale import distance_growth

STEPS = [round(10 * 1.4**power) for power in range(16)]


def test_a_logarithm_is_found_again() -> None:
    found = distance_growth([(step, 2.0 + 0.5 * math.log2(step)) for step in STEPS])

    assert found is not None
    assert found.per_doubling == pytest.approx(0.5)
    assert found.log_error == pytest.approx(0, abs=1e-12)
    assert found.power_error > 0.001
    assert found.nearer == "logarithm"


def test_a_power_is_found_again() -> None:
    found = distance_growth([(step, 0.3 * step**0.4) for step in STEPS])

    assert found is not None
    assert found.exponent == pytest.approx(0.4)
    assert found.power_error == pytest.approx(0, abs=1e-12)
    assert found.log_error > 0.01
    assert found.nearer == "power"


def test_only_the_last_tenfold_of_steps_counts() -> None:
    early = [(1, 1e-3), (4, 0.2)]
    late = [(step, 2.0 + 0.5 * math.log2(step)) for step in range(128, 1281, 128)]

    found = distance_growth(early + late)

    assert found is not None
    assert (found.n, found.first_step, found.last_step) == (10, 128, 1280)
    assert found.log_error == pytest.approx(0, abs=1e-12)


def test_scatter_that_hides_the_law_leaves_it_open_and_seldom_names_the_other_one() -> None:
    draws = np.random.default_rng(0)
    named = []
    for _ in range(200):
        seen = [(step, 0.3 * step**0.3 * math.exp(0.05 * draws.normal())) for step in STEPS]
        found = distance_growth(seen)
        assert found is not None
        named.append(found.nearer)

    assert named.count("logarithm") <= 2
    assert named.count("either") > 100


def test_a_distance_that_does_not_grow_is_neither() -> None:
    found = distance_growth([(step, 1.0 + 0.01 * (step % 3)) for step in STEPS])

    assert found is not None
    assert found.nearer == "either"


@pytest.mark.parametrize(
    "seen",
    [[], [(1, 0.1)], [(step, 1.0) for step in (100, 250, 400, 800)],
     [(step, 1.0) for step in (100, 101, 102, 103, 104)], [(step, 0.0) for step in STEPS]],
)  # fmt: skip
def test_from_too_little_nothing_is_told(seen: list[tuple[int, float]]) -> None:
    assert distance_growth(seen) is None
