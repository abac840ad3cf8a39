"""The pooled scatter of seeds: closed forms, the slow twin, coverage."""

import math

import numpy as np
import pytest
from scipy import stats
from tests.reference import seed_scatter as twin
from tests.reference.by_day import by_day
from tests.reference.seed_scatter import SWEEPS, misses

from batchlab.laws.scatter import OwnScatter, SeedScatter


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


def test_known_hyperparameters_give_the_moderated_t_of_smyth():
    scatter = SeedScatter(
        prior_degrees=np.array([4.0]), prior_variance=np.array([2.0]), weight=np.array([1.0])
    )

    half = scatter.half_width(OwnScatter(variance=5.0, n=3), 0.95)

    moderated = (4 * 2.0 + 2 * 5.0) / (4 + 2)
    assert half == pytest.approx(stats.t.ppf(0.975, 6) * math.sqrt(moderated / 3))


def test_many_cells_of_equal_scatter_come_near_a_known_standard_deviation():
    random = np.random.default_rng(0)
    cells = [(float(np.var(random.standard_normal(3), ddof=1)), 3) for _ in range(200)]
    scatter, own = pooled(*cells)
    middle = sorted(own, key=lambda cell: cell.variance)[100]

    half = scatter.half_width(middle, 0.95)

    assert half == pytest.approx(1.96 / math.sqrt(3), rel=0.1)


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


def test_a_cell_of_one_seed_borrows_the_scatter_of_the_others():
    scatter, own = pooled((1.0, 5), (1.1, 5), (0.9, 5), (0.0, 1))

    one, five = scatter.half_width(own[-1], 0.95), scatter.half_width(own[0], 0.95)

    assert one > 5**0.5 * five


def test_the_unit_of_the_metric_does_not_matter():
    cells = ((1.0, 2), (3.0, 2), (0.4, 3))
    scatter, own = pooled(*cells)
    large, large_own = pooled(*((1e6 * variance, n) for variance, n in cells))

    half = large.half_width(large_own[0], 0.95)

    assert half == pytest.approx(1e3 * scatter.half_width(own[0], 0.95), rel=1e-3)


def test_a_cell_that_scatters_far_more_than_the_others_keeps_a_wide_interval():
    scatter, own = pooled((1.0, 4), (1.0, 4), (1.0, 4), (400.0, 4))

    wide, narrow = scatter.half_width(own[-1], 0.95), scatter.half_width(own[0], 0.95)

    assert wide > 8 * narrow


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", by_day([2, 3, 5], [2, 5]))
@pytest.mark.parametrize("n_cells", by_day([2, 3, 6], [2, 6]))
def test_differences_cover_92_to_98_times_in_100(n_cells, n_seeds):
    n_studies = 300

    covered = 1 - np.mean(misses(SWEEPS["scatter unlike, 0.45"], n_cells, n_seeds, n_studies))

    assert 0.92 - 4 * (0.92 * 0.08 / n_studies) ** 0.5 < covered
    assert covered < 0.98 + 4 * (0.98 * 0.02 / n_studies) ** 0.5


BY_DAY = ("scatter unlike, 0.45", "accuracies near 1, unlike 0.45")


# With 2 to 10 cells and up to 5 seeds: tests/nightly.
@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(SWEEPS, BY_DAY))
def test_differences_of_every_made_up_sweep_cover_92_to_98_times_in_100(name):
    n_studies, n_cells, n_seeds = 600, 3, 2

    covered = 1 - np.mean(misses(SWEEPS[name], n_cells, n_seeds, n_studies))

    assert 0.92 - 2 * (0.92 * 0.08 / n_studies) ** 0.5 < covered
    assert covered < 0.98 + 2 * (0.98 * 0.02 / n_studies) ** 0.5
