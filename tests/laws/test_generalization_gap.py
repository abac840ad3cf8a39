"""The generalization gap: right in closed cases, and its interval holds the truth often enough."""

from __future__ import annotations

import numpy as np
import pytest

from batchlab.laws.scatter import generalization_gap, wilson_interval

SIZES = {"n_train": 50_000, "n_train_evaluated": 10_000, "n_held_out": 10_000}


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [
        (0.5, 100, 0.4038, 0.5962),
        (0.0, 10, 0.0, 0.2775),
        (1.0, 10, 0.7225, 1.0),
        (81 / 263, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15 / 148, 148, 0.0624, 0.1605),
    ],
)
def test_wilsons_interval_is_the_published_one(share, n, low, high) -> None:
    assert wilson_interval(share, n) == (
        pytest.approx(low, abs=6e-5),
        pytest.approx(high, abs=6e-5),
    )


def test_a_difference_of_a_thousandth_of_ten_thousand_examples_is_not_told() -> None:
    found = generalization_gap([0.981, 0.981, 0.981], [0.980, 0.980, 0.980], **SIZES)

    assert found.estimate == pytest.approx(0.001)
    assert found.low < 0 < found.high


def test_the_whole_training_set_is_no_sample() -> None:
    whole = {**SIZES, "n_train_evaluated": 50_000}
    values = [0.90, 0.90], [0.99, 0.99]

    found = generalization_gap(*values, **whole)

    low, high = wilson_interval(0.99, 10_000)
    assert (found.low, found.high) == (
        pytest.approx(0.90 - high),
        pytest.approx(0.90 - low),
    )
    part = generalization_gap(*values, **SIZES)
    assert part.high - part.low > found.high - found.low


def test_seeds_that_scatter_widen_it() -> None:
    calm = generalization_gap([0.99] * 3, [0.98, 0.98, 0.98], **SIZES)
    scattered = generalization_gap([0.99] * 3, [0.96, 0.98, 1.0], **SIZES)

    assert scattered.high - scattered.low > 3 * (calm.high - calm.low)


def test_one_seed_has_a_gap_and_no_bounds() -> None:
    found = generalization_gap([0.99], [0.98], **SIZES)

    assert (found.low, found.high, found.n) == (None, None, 1)
    assert found.estimate == pytest.approx(0.01)


def test_without_a_trial_there_is_none() -> None:
    assert generalization_gap([], [], **SIZES).estimate is None


@pytest.mark.parametrize("seeds", [2, 4])
def test_the_interval_covers(seeds: int) -> None:
    stream = np.random.default_rng(5)
    n_train, n_evaluated, n_held_out, scatter = 4000, 1000, 1500, 0.003
    hard = np.clip(stream.beta(8, 0.5, n_train) + 0.02, 0, 1)  # the training set is what it is
    truth = hard.mean() - 8 / 8.5
    held = []
    for _ in range(400):
        chosen = hard[stream.choice(n_train, n_evaluated, replace=False)]
        fresh = stream.beta(8, 0.5, n_held_out)
        shift = stream.normal(0, scatter, seeds)
        train = [np.mean(stream.random(n_evaluated) < chosen) for _ in range(seeds)]
        other = [np.mean(stream.random(n_held_out) < fresh) + each for each in shift]
        found = generalization_gap(
            train,
            np.clip(other, 0, 1).tolist(),
            n_train=n_train,
            n_train_evaluated=n_evaluated,
            n_held_out=n_held_out,
        )
        held.append(found.low <= truth <= found.high)

    assert np.mean(held) >= 0.93
