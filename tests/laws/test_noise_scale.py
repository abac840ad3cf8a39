"""The noise scale: unbiased, covered, honest when lost."""

from itertools import permutations

import numpy as np
import pytest
from tests.reference.noise_scale import population, sample_of

from batchlab.laws.noise_scale import noise_scale, noise_scale_of_pairs
from batchlab.records.noise import GradientSample

N_DRAWS = 500


def drawn(gradients, stream, *, n_blocks: int, block: int):
    """The noise scale of a sample without replacement, quickly; the slow twin is `sample_of`."""
    chosen = stream.choice(len(gradients), n_blocks * block, replace=False)
    blocks = gradients[chosen].reshape(n_blocks, block, -1)
    means = blocks.mean(axis=1)
    return noise_scale(
        GradientSample(
            n_train=len(gradients),
            block_examples=block,
            products=tuple(map(tuple, means @ means.T)),
        )
    )


def population_of(stream, *, n: int, dimension: int):
    """Gradients with a mean, unequal variances and tails; and their trace and squared mean."""
    scales = np.geomspace(1.0, 0.1, dimension)
    gradients = 0.15 + stream.standard_t(6, (n, dimension)) * scales
    return gradients, *population(gradients.tolist())


def test_every_cut_of_a_few_scalars_averages_to_the_finite_sets_own_values():
    six = [[1.0], [2.0], [3.0], [6.0], [4.0], [-2.0]]
    trace, grad_sq = population(six)

    found = [
        noise_scale(sample_of([cut[:2], cut[2:4], cut[4:]], n_train=6)) for cut in permutations(six)
    ]

    assert np.mean([each.trace.estimate for each in found]) == pytest.approx(trace)
    assert np.mean([each.grad_sq.estimate for each in found]) == pytest.approx(grad_sq)


@pytest.mark.parametrize(("n_blocks", "block"), [(32, 16), (8, 100)])
def test_estimates_are_unbiased_and_their_intervals_cover(n_blocks, block):
    stream = np.random.default_rng(4)
    gradients, trace, grad_sq = population_of(stream, n=5000, dimension=40)

    found = [drawn(gradients, stream, n_blocks=n_blocks, block=block) for _ in range(N_DRAWS)]

    for estimates, truth in (
        ([each.trace for each in found], trace),
        ([each.grad_sq for each in found], grad_sq),
    ):
        values = [each.estimate for each in estimates if each.estimate is not None]
        standard_error = np.std(values, ddof=1) / N_DRAWS**0.5
        assert abs(np.mean(values) - truth) < 4 * standard_error
    covered = np.mean([each.scale.holds(trace / grad_sq) for each in found])
    assert all(each.scale.estimate is not None for each in found)
    assert 0.92 <= covered <= 0.98


def test_a_gradient_of_zero_is_not_enough_data_and_says_from_where_on_the_scale_lies():
    gradients, *_ = population_of(np.random.default_rng(5), n=4000, dimension=40)
    gradients -= gradients.mean(axis=0)
    stream = np.random.default_rng(6)

    found = [drawn(gradients, stream, n_blocks=16, block=8) for _ in range(200)]

    told = [each for each in found if each.scale.estimate is not None]
    assert len(told) <= 10  # 5 % of 200: that |G|^2 is above 0 is said wrongly that often
    lost = next(each for each in found if (each.grad_sq.estimate or 0) < 0)
    assert lost.scale.reason.code == "gradient_lost_in_noise"
    assert lost.scale.reason.named["n_needed"] > 128


@pytest.mark.slow
def test_where_the_gradient_is_hardly_seen_the_lower_bound_still_holds():
    gradients, trace, grad_sq = population_of(np.random.default_rng(7), n=20_000, dimension=60)
    stream = np.random.default_rng(8)

    found = [drawn(gradients, stream, n_blocks=8, block=1) for _ in range(N_DRAWS)]

    lows = [each.scale.low for each in found]
    assert sum(each.scale.estimate is None for each in found) > N_DRAWS / 10
    assert np.mean([low is not None and low <= trace / grad_sq for low in lows]) >= 0.92
    assert np.median([low for low in lows if low is not None]) > trace / grad_sq / 10


def test_gradients_that_are_not_finite_or_open_to_0_have_no_scale():
    broken = noise_scale(sample_of([[[1.0]], [[float("nan")]], [[2.0]]], n_train=10)).scale
    lost = noise_scale_of_pairs([9.0, 10.0, 11.0, 10.0], [0.5, -0.4, 0.3, -0.2])

    assert (broken.estimate, broken.reason.code) == (None, "gradient_not_finite")
    assert (lost.estimate, lost.reason.code) == (None, "gradient_lost_in_batches")
    assert 5 < lost.low < 200
