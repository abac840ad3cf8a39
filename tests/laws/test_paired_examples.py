"""Paired differences: right in closed cases, and their intervals hold the truth often enough."""

from __future__ import annotations

import math

import numpy as np
import pytest

from batchlab.laws.scatter import paired_difference


def drawn(stream, *, n=1500, seeds=3, apart=0.02, seed_sd=0.005, shared=0.8):
    """Two configurations over the same examples: some are hard for both, and seeds differ.

    An example is right with a probability of its own, up or down with the seed; a part of the
    examples' luck is shared by the configurations.
    """
    hard = stream.beta(6, 0.6, n)
    other = shared * hard + (1 - shared) * stream.beta(6, 0.6, n)
    sides = []
    for base, shift in ((hard, 0.0), (other, -apart)):
        sides.append(
            [
                stream.random(n) < np.clip(base + shift + stream.normal(0, seed_sd), 0, 1)
                for _ in range(seeds)
            ]
        )
    return sides


def truth(apart: float, seed_sd: float, shared: float) -> float:
    """Of very many examples and seeds."""
    stream = np.random.default_rng(99)
    one, other = drawn(stream, n=400_000, seeds=20, apart=apart, seed_sd=seed_sd, shared=shared)
    return float(np.mean(one) - np.mean(other))


@pytest.mark.parametrize("confidence", [0.95, 0.9875])
@pytest.mark.parametrize(
    ("seeds", "seed_sd"), [(2, 0.005), (2, 0.015), (2, 0.03), (3, 0.015), (5, 0.01)]
)
def test_the_interval_covers(seeds: int, seed_sd: float, confidence: float) -> None:
    stream = np.random.default_rng(1)
    expected = truth(0.02, seed_sd, 0.8)

    held = [
        found.low <= expected <= found.high
        for found in (
            paired_difference(*drawn(stream, seeds=seeds, seed_sd=seed_sd), confidence=confidence)
            for _ in range(400)
        )
    ]

    # Of two seeds that scatter much the degrees of freedom are known roughly only.
    assert sum(held) / len(held) >= confidence - 0.03


def test_configurations_that_err_on_the_same_examples_are_told_apart_sooner() -> None:
    right = np.ones(1000, dtype=bool)
    worse = right.copy()
    worse[:10] = False
    elsewhere = right.copy()
    elsewhere[500:540] = False
    also = elsewhere.copy()
    also[:10] = False

    paired = paired_difference([elsewhere] * 3, [also] * 3)
    unpaired = paired_difference([elsewhere] * 3, [np.roll(also, 300)] * 3)

    assert paired.estimate == pytest.approx(0.01) == unpaired.estimate
    assert paired.low > 0
    assert unpaired.low < 0
    # McNemar's: ten of a thousand examples changed sides, all in one direction.
    spread = math.sqrt((0.01 - 0.01**2) / 999)
    assert (paired.high - paired.low) / 2 == pytest.approx(1.962 * spread, rel=1e-3)


def test_seeds_that_scatter_widen_it() -> None:
    stream = np.random.default_rng(0)
    calm = paired_difference(*drawn(stream, seed_sd=0.0))
    scattered = paired_difference(*drawn(stream, seed_sd=0.03))

    assert scattered.high - scattered.low > 1.5 * (calm.high - calm.low)


def test_one_seed_has_a_difference_and_no_bounds() -> None:
    one, other = drawn(np.random.default_rng(0), seeds=1)

    found = paired_difference(one, other)

    assert found.estimate is not None
    assert (found.low, found.high) == (None, None)


def test_the_same_answers_have_no_difference() -> None:
    right = np.arange(100) % 7 > 0

    found = paired_difference([right, right], [right, right])

    assert (found.low, found.estimate, found.high) == (0, 0, 0)


def test_without_a_trial_there_is_none() -> None:
    assert paired_difference([], [np.ones(3, dtype=bool)]).estimate is None
