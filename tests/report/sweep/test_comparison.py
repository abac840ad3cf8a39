"""Comparisons of two cells, with the scatter of all of them."""

import pytest
from tests.reference.made_up import made_up_study

from batchlab.laws.scatter import PooledCells
from batchlab.report.cells import cells
from batchlab.report.sweep_evidence import Measured, difference_text

GOOD = {0: 0.97, 1: 0.972, 2: 0.971}
BAD = {0: 0.951, 1: 0.952, 2: 0.953}
FIRST, SECOND, THIRD = cells(made_up_study(batch_sizes=(64, 256, 1024)))


def measured(*seeds, better="higher", tolerance=0.002):
    by_batch_size = dict(zip((64, 256, 1024), seeds, strict=False))
    values = [list(of_size.values()) for of_size in by_batch_size.values()]
    return Measured(
        by_batch_size=by_batch_size,
        pooled=PooledCells.of(values, metric="accuracy", n_examples=1000),
        better=better,
        tolerance=tolerance,
    )


def compare(first, second, *, better="higher", n_comparisons=1):
    return measured(first, second, better=better).compare(
        FIRST, SECOND, n_comparisons=n_comparisons
    )


@pytest.mark.parametrize(
    ("first", "second", "better", "outcome"),
    [
        (GOOD, BAD, "higher", "better"),
        (BAD, GOOD, "higher", "worse"),
        (GOOD, BAD, "lower", "worse"),
        (BAD, GOOD, "lower", "better"),
        (GOOD, {0: 0.95, 1: 0.99, 2: 0.97}, "higher", "cannot_tell"),
        ({0: 0.97}, {0: 0.9}, "higher", "cannot_tell"),
        ({0: 0.97, 1: 0.971}, {2: 0.9, 3: 0.901}, "higher", "better"),  # seeds need not be shared
    ],
)
def test_outcome_follows_the_interval(first, second, better, outcome):
    assert compare(first, second, better=better).outcome == outcome


def test_an_interval_within_the_tolerance_is_the_same():
    first = {seed: 0.97 + 0.0001 * (seed % 3) for seed in range(6)}
    second = {seed: value + 0.0001 for seed, value in first.items()}

    assert compare(first, second).outcome == "same"


def test_many_comparisons_widen_the_interval():
    one = compare(GOOD, BAD)
    many = compare(GOOD, BAD, n_comparisons=20)

    assert many.difference.low < one.difference.low


def test_what_other_cells_scatter_counts():
    quiet = {0: 0.960, 1: 0.9601, 2: 0.9602}
    noisy = {0: 0.90, 1: 0.99, 2: 0.95}
    pair = ({0: 0.970, 1: 0.9701}, {0: 0.9600, 1: 0.9602})

    beside_quiet = measured(*pair, quiet).compare(FIRST, SECOND).difference
    beside_noisy = measured(*pair, noisy).compare(FIRST, SECOND).difference

    assert beside_quiet.high - beside_quiet.low < beside_noisy.high - beside_noisy.low


def test_a_size_is_told_without_its_sign():
    found = compare(BAD, GOOD)

    told = difference_text("accuracy", found)

    low, high = -found.difference.high, -found.difference.low
    assert 0.0150 < low < 0.0190 < high < 0.0230
    assert told == f"0.0190 (95 %: {low:.4f} to {high:.4f})"


def test_what_is_missing_is_named():
    one_seed = compare({0: 0.97}, {0: 0.9})
    nothing = compare({0: 0.97, 1: 0.98}, {})

    assert "one seed" in one_seed.missing
    assert "no trial ended well" in nothing.missing
    assert compare(GOOD, BAD).missing is None


def test_the_level_of_a_cell_is_the_mean_of_its_seeds():
    known = measured(GOOD, BAD, {})

    assert known.level(FIRST) == pytest.approx(0.971)
    assert known.level(THIRD) is None
    assert known.mean(FIRST).low < 0.971 < known.mean(FIRST).high
