"""How seeds scatter: means, differences and gaps in closed cases, and their coverage."""

import math

import numpy as np
import pytest
from scipy import stats
from tests.reference import seed_scatter as twin
from tests.reference.seed_scatter import SWEEPS, misses

from batchlab.errors import UsageError
from batchlab.laws.scatter import (
    MetricScale,
    OwnScatter,
    PooledCells,
    SeedScatter,
    generalization_gap,
    mean_interval,
    paired_difference,
    wilson_interval,
)


def test_mean_interval_agrees_with_the_textbook_t_interval():
    estimate = mean_interval([1.0, 2.0, 4.0])

    # mean 7/3, standard deviation sqrt(7/3), t(2, 0.975) = 4.302653
    half = 4.302652729911275 * math.sqrt(7 / 3) / math.sqrt(3)
    assert estimate.estimate == pytest.approx(7 / 3)
    assert (estimate.low, estimate.high) == pytest.approx((7 / 3 - half, 7 / 3 + half))
    assert estimate.n == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_never_averaged(bad):
    with pytest.raises(UsageError, match="diverged"):
        mean_interval([1.0, bad])


def pooled(*cells):
    """The scatter of cells given as (variance, seeds)."""
    own = [OwnScatter(variance=variance, n=n) for variance, n in cells]
    found = SeedScatter.of(own)
    assert found is not None
    return found, own


@pytest.mark.parametrize(("n", "confidence"), [(2, 0.95), (3, 0.95), (5, 0.95), (3, 0.99)])
def test_a_cell_alone_has_the_interval_of_student(n, confidence):
    scatter, own = pooled((4.0, n))

    half = scatter.half_width(own[0], confidence)

    student = stats.t.ppf(0.5 + confidence / 2, n - 1) * math.sqrt(4.0 / n)
    assert half == pytest.approx(student, rel=0.005)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_interval_of_a_pooled_cell_holds_just_so_much(confidence):
    scatter, (cell, _) = pooled((4.0, 2), (0.01, 3))

    half = scatter.half_width(cell, confidence)

    degrees = scatter.prior_degrees + cell.degrees
    variance = (4.0 * cell.degrees + scatter.prior_variance * scatter.prior_degrees) / degrees
    inside = 2 * stats.t.cdf(half / np.sqrt(variance / cell.n), degrees) - 1
    assert scatter.weight @ inside == pytest.approx(confidence, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variances", "n", "confidence"),
    [
        ([1.0, 1.2], [2, 2], 0.95),
        ([1.0, 30.0, 0.2], [2, 3, 2], 0.99),
        ([1.0, 0.5, 2.0], [3, 5, 1], 0.95),
    ],
)
def test_the_interval_is_that_of_the_slow_twin(variances, n, confidence):
    scatter, own = pooled(*zip(variances, n, strict=True))

    for at, cell in enumerate(own):
        half = scatter.half_width(cell, confidence)

        assert half == pytest.approx(twin.half_width(variances, n, at, confidence), rel=0.01)


def test_cells_of_one_seed_alone_have_no_scatter():
    assert SeedScatter.of([OwnScatter(variance=0.0, n=1)] * 3) is None
    assert SeedScatter.of([]) is None


def test_a_cell_that_scatters_far_more_than_the_others_keeps_a_wide_interval():
    scatter, own = pooled((1.0, 4), (1.0, 4), (1.0, 4), (400.0, 4))

    wide, narrow = scatter.half_width(own[-1], 0.95), scatter.half_width(own[0], 0.95)

    assert wide > 8 * narrow


# With 2 to 10 cells and up to 5 seeds: tests/nightly.
@pytest.mark.slow
def test_differences_of_a_made_up_sweep_cover_92_to_98_times_in_100():
    n_studies, n_cells, n_seeds = 600, 3, 2

    covered = 1 - np.mean(misses(SWEEPS["scatter unlike, 0.45"], n_cells, n_seeds, n_studies))

    assert 0.92 - 2 * (0.92 * 0.08 / n_studies) ** 0.5 < covered
    assert covered < 0.98 + 2 * (0.98 * 0.02 / n_studies) ** 0.5


SHARE = MetricScale(n_examples=1000)
PLAIN = MetricScale(n_examples=None)


@pytest.mark.parametrize(
    ("metric", "values", "n_examples"),
    [
        ("accuracy", [0.0, 1.0], 1000),
        ("error", [0.1], 1000),
        ("accuracy", [97.0, 98.5], None),  # percent
        ("loss", [0.3], None),
        ("r2", [-0.4, 0.7], None),
    ],
)
def test_a_share_is_told_by_its_name_and_its_values(metric, values, n_examples):
    assert MetricScale.of(metric, values, n_examples=1000).n_examples == n_examples


def test_scatter_of_a_share_is_that_of_its_log_odds():
    values = [0.90, 0.902, 0.898]

    found = SHARE.own_scatter(values)

    assert found.variance == pytest.approx(4e-6 / (0.9 * 0.1) ** 2)
    assert found.n == 3


def test_seeds_that_agree_scatter_by_what_rounding_hides():
    share, plain = SHARE.own_scatter([0.5, 0.5]), PLAIN.own_scatter([0.5, 0.5])

    assert share.variance == pytest.approx((1 / 1000) ** 2 / 12 / 0.25**2)
    assert 0 < plain.variance < 1e-14


@pytest.mark.parametrize("level", [0.0, 0.01, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("half", [0.01, 1.0, 50.0])
def test_no_bound_of_a_share_leaves_its_range_and_each_interval_holds_its_estimate(level, half):
    low, high = SHARE.mean_bounds(level, half)

    assert 0 <= low <= level <= high <= 1


CLOSE = ([0.9695, 0.9715], [0.9365, 0.9377], [0.951, 0.952])


def pool(cells, *, metric="accuracy", n_examples=1000):
    return PooledCells.of(cells, metric=metric, n_examples=n_examples)


def test_0_9705_against_0_9371_of_two_seeds_with_ranges_of_0_002_is_a_difference():
    for cells in (CLOSE, CLOSE[:2]):
        found = pool(cells).difference(*cells[:2])

        assert found.estimate == pytest.approx(0.0334)
        assert 0 < found.low < found.high < 0.08
        assert found.n == 4


def test_the_bounds_of_shares_are_as_uneven_as_those_of_their_means():
    first, second = [0.99, 0.98], [0.9, 0.96]
    pooled = pool([first, second])
    one, other = pooled.mean(first), pooled.mean(second)

    found = pooled.difference(first, second)

    below = math.sqrt((one.estimate - one.low) ** 2 + (other.high - other.estimate) ** 2)
    above = math.sqrt((one.high - one.estimate) ** 2 + (other.estimate - other.low) ** 2)
    assert found.low == pytest.approx(found.estimate - below)
    assert found.high == pytest.approx(found.estimate + above)
    assert above > 1.2 * below


@pytest.mark.parametrize("first", [[1.0, 1.0], [1.0, 0.1], [0.4, 0.6]])
@pytest.mark.parametrize("second", [[0.0, 0.0], [0.9, 0.0], [0.5, 0.501]])
def test_no_difference_of_accuracies_exceeds_1(first, second):
    found = pool([first, second]).difference(first, second, confidence=0.999)

    assert -1 <= found.low <= found.estimate <= found.high <= 1


def test_one_seed_each_has_no_interval():
    found = pool([[0.9], [0.8]]).difference([0.9], [0.8])

    assert (found.low, found.high) == (None, None)
    assert found.estimate == pytest.approx(0.1)
    assert pool([[0.9], [0.8]]).mean([0.9]).low is None


def test_a_cell_without_values_has_a_reason():
    pooled = pool([[0.9, 0.8], []])

    assert pooled.mean([]).reason
    assert pooled.difference([0.9, 0.8], []).reason


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
def test_the_interval_of_a_paired_difference_covers(
    seeds: int, seed_sd: float, confidence: float
) -> None:
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


def test_one_seed_has_a_difference_and_no_bounds() -> None:
    one, other = drawn(np.random.default_rng(0), seeds=1)

    found = paired_difference(one, other)

    assert found.estimate is not None
    assert (found.low, found.high) == (None, None)


def test_the_same_answers_have_no_difference() -> None:
    right = np.arange(100) % 7 > 0

    found = paired_difference([right, right], [right, right])

    assert (found.low, found.estimate, found.high) == (0, 0, 0)


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


def test_the_whole_training_set_is_no_sample() -> None:
    whole = {**SIZES, "n_train_evaluated": 50_000}
    values = [0.90, 0.90], [0.99, 0.99]

    found = generalization_gap(*values, **whole)

    low, high = wilson_interval(0.99, 10_000)
    assert (found.low, found.high) == (pytest.approx(0.90 - high), pytest.approx(0.90 - low))
    part = generalization_gap(*values, **SIZES)
    assert part.high - part.low > found.high - found.low


def test_one_seed_has_a_gap_and_no_bounds() -> None:
    found = generalization_gap([0.99], [0.98], **SIZES)

    assert (found.low, found.high, found.n) == (None, None, 1)
    assert found.estimate == pytest.approx(0.01)


def test_without_a_trial_there_is_none() -> None:
    assert generalization_gap([], [], **SIZES).estimate is None


@pytest.mark.parametrize("seeds", [2, 4])
def test_the_interval_of_a_gap_covers(seeds: int) -> None:
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
