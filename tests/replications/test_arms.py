"""What trials show, seed by seed: against numbers made by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from batchlab.records.estimate import Estimate, Reason
from batchlab.replications.arms import (
    chosen_by_others,
    drawing,
    each_seed,
    exponent,
    last_measured,
    less,
    level,
    mean_measured,
    over,
    times,
)


def test_a_difference_is_made_within_each_seed() -> None:
    first, second = {0: 0.9, 1: 0.8, 2: 0.7, 5: 1.0}, {0: 0.85, 1: 0.74, 2: 0.66, 7: 0.0}

    found = less(first, second)

    apart = [0.05, 0.06, 0.04]
    expected = stats.t.interval(0.95, 2, np.mean(apart), stats.sem(apart))
    assert found.n == 3
    assert found.estimate == pytest.approx(0.05)
    assert (found.low, found.high) == pytest.approx(expected)


def test_seeds_that_agree_on_few_examples_are_no_finer_than_one_of_them() -> None:
    found = less({0: 0.9, 1: 0.9, 2: 0.9}, {0: 0.8, 1: 0.8, 2: 0.8}, n_examples=100)

    assert found.estimate == pytest.approx(0.1)
    assert found.low is not None
    assert found.low < 0.1 - 0.001


def test_a_ratio_is_the_geometric_mean_and_leaves_out_what_has_no_logarithm() -> None:
    found = times({0: 2.0, 1: 8.0, 2: 0.0}, {0: 1.0, 1: 1.0, 2: 1.0})

    assert (found.estimate, found.n) == (pytest.approx(4.0), 2)
    assert times({0: 2.0}, {0: 1.0}).low is None


def test_an_exponent_is_that_of_a_power_law_of_each_seed() -> None:
    sizes = (4, 16, 64)
    seeds = [{0: 3 / size, 1: 5 / size} for size in sizes]

    found = exponent(sizes, seeds)

    assert (found.estimate, found.low, found.high) == (pytest.approx(-1),) * 3


def test_for_each_seed_the_others_choose() -> None:
    # Seed 0 alone would choose "a"; the others do not.
    candidates = {"a": {0: 1.0, 1: 0.1, 2: 0.2}, "b": {0: 0.0, 1: 0.5, 2: 0.6}}

    found = chosen_by_others(candidates, better="higher")
    for seed, name in found.items():
        means = {
            each: np.mean([value for other, value in values.items() if other != seed])
            for each, values in candidates.items()
        }
        assert name == max(means, key=means.__getitem__)
    assert found[0] == "b"
    assert chosen_by_others(candidates, better="lower")[0] == "a"


def test_what_diverged_on_a_seed_is_chosen_by_none() -> None:
    candidates = {"a": {0: 9.0, 1: 9.0}, "b": {0: 0.1, 1: 0.2, 2: 0.3}}

    assert set(chosen_by_others(candidates, better="higher").values()) == {"b"}
    assert chosen_by_others({"a": {0: 1.0}}, better="higher") == {}
    assert chosen_by_others({}, better="higher") == {}


def test_choosing_by_others_does_not_flatter_the_best_of_many_alike() -> None:
    draw = np.random.default_rng(0)
    values = []
    for _ in range(400):
        candidates = {name: dict(enumerate(draw.normal(size=3))) for name in range(6)}
        chosen = chosen_by_others(candidates, better="higher")
        values.append(np.mean([candidates[name][seed] for seed, name in chosen.items()]))

    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error


def test_the_ratio_of_two_estimates_has_the_width_of_both() -> None:
    first = Estimate.of(8.0, interval=(4.0, 16.0), n=3)
    second = Estimate.of(2.0, interval=(1.0, 4.0), n=5)

    found = over(first, second)

    half = math.log(2) * math.sqrt(2)
    assert found.estimate == pytest.approx(4.0)
    assert found.n == 3
    assert found.low == pytest.approx(4 * math.exp(-half))
    assert found.high == pytest.approx(4 * math.exp(half))
    assert over(first, Estimate.of(2.0, n=1)).low is None


def test_each_seed_takes_what_all_parts_have() -> None:
    assert each_seed(lambda a, b: a * b, {0: 2.0, 1: 3.0}, {1: 5.0, 2: 7.0}) == {1: 15.0}
    assert level({}).estimate is None


def record(seed: int, values: dict[int, float | None]) -> SimpleNamespace:
    """A training of ten steps an epoch whose model was measured after these."""
    evaluations = [
        SimpleNamespace(step=step, measurement={"noise_scale": value}.get)
        for step, value in values.items()
    ]
    plan = SimpleNamespace(position=lambda step: divmod(step, 10))
    return SimpleNamespace(trial=SimpleNamespace(seed=seed, plan=plan), evaluations=evaluations)


def test_a_mean_along_a_training_of_which_a_part_is_not_known_is_none() -> None:
    # What cannot be told is where the noise is largest: without it the mean would be too small.
    records = (
        record(0, {0: 1.0, 5: None, 10: 4.0, 20: 8.0}),
        record(1, {0: 1.0, 5: None, 10: 4.0, 20: None}),
    )

    assert mean_measured(records, "noise_scale", at_epoch_ends=True) == {0: 6.0}
    assert mean_measured(records, "noise_scale") == {}
    assert last_measured(records, "noise_scale") == {0: 8.0}


def test_a_figure_has_the_published_points_beside_what_was_measured() -> None:
    found = drawing(
        "by size",
        "accuracy",
        {"measured": {64: Estimate.of(0.9, n=3), 128: Estimate.cannot_tell(Reason.of("x"))}},
        published=[(64, 0.98), (1024, 0.96), (1024, 0.98)],
    )

    assert (found.over, len(found.points)) == ("batch_size", 4)
    told = [(point.at, point.value.estimate) for point in found.points if point.is_published]
    assert told == [(64, 0.98), (1024, 0.96), (1024, 0.98)]
    assert drawing("by arm", "loss", {"measured": {"SB": Estimate.of(1.0, n=1)}}).over == (
        "configuration"
    )
