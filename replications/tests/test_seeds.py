"""Numbers by seed, compared with numbers made by hand and with simulations."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from batchlab import Estimate
from replications.seeds import (
    best_of,
    difference,
    each_seed,
    exponent,
    judging,
    last_measured,
    mean,
    mean_measured,
    ratio,
    ratio_of_estimates,
)


def test_a_difference_is_made_within_each_seed() -> None:
    first, second = {0: 0.9, 1: 0.8, 2: 0.7, 5: 1.0}, {0: 0.85, 1: 0.74, 2: 0.66, 7: 0.0}

    made = difference(first, second)

    apart = [0.05, 0.06, 0.04]
    expected = stats.t.interval(0.95, 2, np.mean(apart), stats.sem(apart))
    assert (made.estimate, made.n) == (pytest.approx(0.05), 3)
    assert (made.low, made.high) == pytest.approx(expected)


def test_seeds_that_agree_are_no_finer_than_one_example() -> None:
    made = difference({0: 0.9, 1: 0.9, 2: 0.9}, {0: 0.8, 1: 0.8, 2: 0.8}, n_examples=100)

    assert made.estimate == pytest.approx(0.1)
    assert made.low is not None
    assert made.low < 0.1 - 0.001


def test_a_ratio_leaves_out_what_has_no_logarithm() -> None:
    made = ratio({0: 2.0, 1: 8.0, 2: 0.0}, {0: 1.0, 1: 1.0, 2: 1.0})

    assert (made.estimate, made.n) == (pytest.approx(4.0), 2)
    assert ratio({0: 2.0}, {0: 1.0}).low is None


def test_an_exponent_is_that_of_each_seeds_power_law() -> None:
    sizes = (4, 16, 64)

    made = exponent(sizes, [{0: 3 / size, 1: 5 / size} for size in sizes])

    assert (made.estimate, made.low, made.high) == (pytest.approx(-1),) * 3


def test_the_ratio_of_two_estimates_has_the_width_of_both() -> None:
    first = Estimate.of(8.0, interval=(4.0, 16.0), n=3)
    second = Estimate.of(2.0, interval=(1.0, 4.0), n=5)

    made = ratio_of_estimates(first, second)

    half = math.log(2) * math.sqrt(2)
    assert (made.estimate, made.n) == (pytest.approx(4.0), 3)
    assert (made.low, made.high) == pytest.approx((4 * math.exp(-half), 4 * math.exp(half)))
    assert ratio_of_estimates(first, Estimate.of(2.0, n=1)).low is None


def test_each_seed_takes_what_all_parts_have() -> None:
    assert each_seed(lambda a, b: a * b, {0: 2.0, 1: 3.0}, {1: 5.0, 2: 7.0}) == {1: 15.0}
    assert mean({}).estimate is None


# ---- Choose on one half, judge on the other


def test_only_even_seeds_choose() -> None:
    candidates = {"a": {0: 1.0, 1: 0.0, 2: 1.0}, "b": {0: 0.0, 1: 9.0, 2: 0.0}}

    assert best_of(candidates, better="higher") == "a"
    assert best_of(candidates, better="lower") == "b"


def test_what_diverged_on_a_choosing_seed_cannot_be_chosen() -> None:
    assert best_of({"a": {0: 9.0}, "b": {0: 0.1, 2: 0.3}}, better="higher") == "b"
    assert best_of({"a": {1: 1.0}}, better="higher") is None
    assert best_of({}, better="higher") is None


def test_one_bad_end_among_the_judging_seeds_leaves_none() -> None:
    def record(seed: int, ended_well: bool) -> Any:
        return SimpleNamespace(trial=SimpleNamespace(seed=seed), ended_well=ended_well)

    records = tuple(record(seed, True) for seed in range(4))

    assert [each.trial.seed for each in judging(records)] == [1, 3]
    assert judging((*records, record(5, False))) == ()
    assert len(judging((*records, record(4, False)))) == 2


N_DRAWS, N_SEEDS, N_RATES = 2000, 6, 4


def chosen_by_all_other_seeds(values: np.ndarray) -> np.ndarray:
    """What was done before: each seed is valued at the rate that is best on all other seeds."""
    others = (values.sum(axis=1, keepdims=True) - values) / (N_SEEDS - 1)
    return values[others.argmax(axis=0), np.arange(N_SEEDS)]


def judged_by_odd_seeds(values: np.ndarray) -> np.ndarray:
    rates = {rate: dict(enumerate(row)) for rate, row in enumerate(values)}
    best = best_of(rates, better="higher")
    assert best is not None
    return values[best, 1::2]


@pytest.mark.parametrize(
    ("method", "is_honest"), [(judged_by_odd_seeds, True), (chosen_by_all_other_seeds, False)]
)
def test_the_interval_of_the_best_rate_covers_95_percent(method: Any, is_honest: bool) -> None:
    """Four rates that are equally good: whichever is chosen, its true value is 0."""
    draw = np.random.default_rng(20261128)
    covered = 0
    for _ in range(N_DRAWS):
        values = method(draw.normal(size=(N_RATES, N_SEEDS)))
        made = mean(dict(enumerate(values)))
        assert made.low is not None
        assert made.high is not None
        covered += made.low <= 0.0 <= made.high

    standard_error = math.sqrt(0.95 * 0.05 / N_DRAWS)
    assert (abs(covered / N_DRAWS - 0.95) < 4 * standard_error) is is_honest


def test_judging_does_not_flatter_the_best_of_many_alike() -> None:
    draw = np.random.default_rng(0)
    means = [judged_by_odd_seeds(draw.normal(size=(6, N_SEEDS))).mean() for _ in range(400)]

    standard_error = np.std(means, ddof=1) / math.sqrt(len(means))
    assert abs(np.mean(means)) < 4 * standard_error


# ---- Measurements


def record(seed: int, values: dict[int, float | None]) -> Any:
    """Make a training of ten steps per epoch whose model was measured after these steps."""
    evaluations = [
        SimpleNamespace(step=step, measurement={"noise_scale": value}.get)
        for step, value in values.items()
    ]
    plan = SimpleNamespace(position=lambda step: divmod(step, 10))
    trial = SimpleNamespace(seed=seed, plan=plan)
    return SimpleNamespace(trial=trial, evaluations=evaluations, ended_well=True)


def test_a_mean_with_an_unknown_part_is_unknown() -> None:
    """The unknown is where the noise is largest: without it the mean would be too small."""
    records = (
        record(0, {0: 1.0, 5: None, 10: 4.0, 20: 8.0}),
        record(1, {0: 1.0, 5: None, 10: 4.0, 20: None}),
    )

    assert mean_measured(records, "noise_scale", at_epoch_ends=True) == {0: 6.0}
    assert mean_measured(records, "noise_scale") == {}
    assert last_measured(records, "noise_scale") == {0: 8.0}
