"""Statements from joint draws: what is sure, what is open."""

import numpy as np
import pytest

from batchlab.belief.statements import as_good, better_than_all, falls, no_worse_than_any, rises

MARGIN = 1.0


def draws(*means, sd=0.2, n=4000):
    return np.array(means) + sd * np.random.default_rng(0).standard_normal((n, len(means)))


@pytest.mark.parametrize(
    ("means", "sd", "alike"),
    [
        ((5.0, 4.9, 2.0), 0.2, [1]),
        ((5.0, 4.9, 2.0), 3.0, [1, 2]),  # not surely worse
        ((5.0, 4.7), 0.01, [1]),  # surely within the margin
        ((5.0, 3.7), 0.01, []),
    ],
)
def test_as_good_is_what_is_not_surely_worse(means, sd, alike):
    assert as_good(draws(*means, sd=sd), 0, MARGIN) == alike


def test_pairs_that_go_the_other_way_rise_and_one_of_many_alike_pairs_hardly_ever_does():
    """The bound allows for as many looks as there are pairs."""
    assert rises(draws(5.0, 3.0, 4.5, 2.0)) == [1]
    assert rises(draws(5.0, 3.0, 3.1, 2.0)) == []
    wrong = 0
    for seed in range(200):
        stream = np.random.default_rng(seed)
        seen = stream.standard_normal(10)
        wrong += bool(rises(seen + stream.standard_normal((2000, 10))))

    assert wrong <= 20


@pytest.mark.parametrize(
    ("statement", "means", "sd", "verdict"),
    [
        (falls, (5.0, 4.0, 2.0), 0.2, "held"),
        (falls, (5.0, 4.0, 4.8), 0.2, "did_not_hold"),  # by less than the margin
        (falls, (5.0, 4.0, 7.0), 0.2, "did_not_hold"),
        (falls, (5.0, 4.0, 3.0), 3.0, "cannot_tell"),
        (no_worse_than_any, (4.5, 5.0, 3.0), 0.1, "held"),
        (no_worse_than_any, (3.0, 5.0, 3.0), 0.1, "did_not_hold"),
        (no_worse_than_any, (4.5, 5.0, 5.0), 2.0, "cannot_tell"),
        (better_than_all, (5.0, 3.5, 3.0), 0.1, "held"),
        (better_than_all, (4.0, 5.0, 3.0), 0.1, "did_not_hold"),
        (better_than_all, (5.0, 4.9, 3.0), 0.1, "did_not_hold"),  # by less than the margin
        (better_than_all, (5.0, 4.9, 3.0), 1.0, "cannot_tell"),
    ],
)
def test_a_statement_about_the_first_cell_is_held_against_the_others(statement, means, sd, verdict):
    assert statement(draws(*means, sd=sd), MARGIN) == verdict
