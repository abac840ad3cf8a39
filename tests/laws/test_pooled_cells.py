"""Means of cells and their differences, with the scatter of all of them."""

import math

import pytest

from batchlab.errors import UsageError
from batchlab.laws.scatter import PooledCells

CLOSE = ([0.9695, 0.9715], [0.9365, 0.9377], [0.951, 0.952])


def pool(cells, *, metric="accuracy", n_examples=1000):
    return PooledCells.of(cells, metric=metric, n_examples=n_examples)


def test_0_9705_against_0_9371_of_two_seeds_with_ranges_of_0_002_is_a_difference():
    for cells in (CLOSE, CLOSE[:2]):
        found = pool(cells).difference(*cells[:2])

        assert found.estimate == pytest.approx(0.0334)
        assert 0 < found.low < found.high < 0.08
        assert found.n == 4


def test_the_estimate_is_the_difference_of_the_means_in_the_metrics_unit():
    found = pool([[3.0, 5.0], [1.0, 2.0, 3.0]], metric="loss").difference([3.0, 5.0], [1.0, 2, 3])

    assert found.estimate == pytest.approx(2.0)
    assert found.low < 0 < found.high


def test_the_interval_of_a_difference_follows_from_those_of_the_means():
    first, second = [3.0, 5.0, 4.5], [1.0, 2.0, 3.0]
    pooled = pool([first, second], metric="loss")
    one, other = pooled.mean(first), pooled.mean(second)

    found = pooled.difference(first, second)

    # On the metric's own scale both are symmetric: their squares add up.
    half = math.sqrt((one.high - one.estimate) ** 2 + (other.high - other.estimate) ** 2)
    assert found.high - found.estimate == pytest.approx(half)
    assert found.estimate - found.low == pytest.approx(half)


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


def test_more_cells_of_like_scatter_narrow_the_interval():
    pair = ([0.9, 0.902], [0.8, 0.803])
    many = [*pair, [0.85, 0.852], [0.82, 0.823], [0.84, 0.842], [0.86, 0.863]]

    of_two, of_six = (pool(cells).difference(*pair) for cells in (pair, many))

    assert of_six.high - of_six.low < 0.8 * (of_two.high - of_two.low)


def test_no_interval_of_an_accuracy_exceeds_1():
    values = [1.0, 0.97]

    found = pool([values, [0.5, 0.9]]).mean(values)

    assert found.estimate == pytest.approx(0.985)
    assert 0 < found.low < found.estimate < found.high <= 1


def test_seeds_that_are_all_right_have_an_interval_up_to_1():
    found = pool([[1.0, 1.0], [0.99, 0.98]]).mean([1.0, 1.0])

    assert found.low < 1
    assert (found.estimate, found.high) == (1.0, 1.0)


def test_an_accuracy_in_percent_is_on_its_own_scale():
    cells = ([97.05, 97.15], [93.7, 93.8])

    found = pool(cells).difference(*cells)

    assert found.estimate == pytest.approx(3.35)
    assert 0 < found.low < found.high < 10


def test_one_seed_each_has_no_interval():
    found = pool([[0.9], [0.8]]).difference([0.9], [0.8])

    assert (found.low, found.high) == (None, None)
    assert found.estimate == pytest.approx(0.1)
    assert pool([[0.9], [0.8]]).mean([0.9]).low is None


def test_a_cell_without_values_has_a_reason():
    pooled = pool([[0.9, 0.8], []])

    assert pooled.mean([]).reason
    assert pooled.difference([0.9, 0.8], []).reason


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_never_pooled(bad):
    with pytest.raises(UsageError, match="diverged"):
        pool([[1.0, bad], [0.5, 0.6]])


def test_higher_confidence_widens_the_interval():
    pooled = pool(CLOSE)

    wide, narrow = (pooled.difference(*CLOSE[:2], confidence=c) for c in (0.99, 0.95))

    assert wide.low < narrow.low
    assert wide.high > narrow.high
