"""Comparisons of two cells over their common seeds."""

import pytest

from batchlab.report.sweep.comparison import compare, difference_text

GOOD = {0: 0.97, 1: 0.972, 2: 0.971}
BAD = {0: 0.951, 1: 0.952, 2: 0.953}


@pytest.mark.parametrize(
    ("first", "second", "better", "outcome"),
    [
        (GOOD, BAD, "higher", "better"),
        (BAD, GOOD, "higher", "worse"),
        (GOOD, BAD, "lower", "worse"),
        (BAD, GOOD, "lower", "better"),
        (GOOD, {0: 0.95, 1: 0.99, 2: 0.97}, "higher", "cannot_tell"),
        (GOOD, {s: v + 0.0001 for s, v in GOOD.items()}, "higher", "same"),
        ({0: 0.97}, {0: 0.9}, "higher", "cannot_tell"),
        ({0: 0.97, 1: 0.97}, {2: 0.9, 3: 0.9}, "higher", "cannot_tell"),
    ],
)
def test_outcome_follows_the_interval(first, second, better, outcome):
    assert compare(first, second, better=better, tolerance=0.002).outcome == outcome


def test_many_comparisons_widen_the_interval():
    one = compare(GOOD, BAD, better="higher", tolerance=0.002)
    many = compare(GOOD, BAD, better="higher", tolerance=0.002, n_comparisons=20)

    assert many.difference.low < one.difference.low


def test_a_size_is_told_without_its_sign():
    text = difference_text("accuracy", compare(BAD, GOOD, better="higher", tolerance=0.002))

    assert text == "0.0190 (95 %: 0.0165 to 0.0215, 3 seeds paired)"


def test_what_is_missing_is_named():
    one_seed = compare({0: 0.97}, {0: 0.9}, better="higher", tolerance=0.002)
    no_common = compare({0: 0.97}, {1: 0.9}, better="higher", tolerance=0.002)

    assert "one seed" in one_seed.missing
    assert "same seeds" in no_common.missing
    assert compare(GOOD, BAD, better="higher", tolerance=0.002).missing is None
