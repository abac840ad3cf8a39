"""The law of the steps, read off joint draws: exact without noise, and honest with it."""

import numpy as np
import pytest
from scipy.stats import binom

from batchlab.belief.steps_law import StepsLaw
from batchlab.laws.steps import law_through

SIZES = np.array([16.0, 64.0, 256.0, 1024.0])
N_DRAWS = 256


def law(s_min, b_crit, sizes=SIZES):
    return s_min * (1 + b_crit / sizes)


def draws_around(steps, error, *, seed=0):
    """Draws of log2 of the steps around what is believed, each so far off it."""
    standard = np.random.default_rng(seed).standard_normal((N_DRAWS, len(steps)))
    return np.log2(steps) + error * standard


@pytest.mark.parametrize(("s_min", "b_crit"), [(500.0, 200.0), (30.0, 4000.0), (2000.0, 20.0)])
@pytest.mark.parametrize("n", [2, 4])
def test_draws_on_the_law_give_it_back(s_min, b_crit, n):
    sizes = SIZES[:n]

    found = StepsLaw.of(sizes, np.tile(np.log2(law(s_min, b_crit, sizes)), (N_DRAWS, 1)))

    assert found.law_holds
    truths = (found.s_min, s_min), (found.b_crit, b_crit), (found.e_min, s_min * b_crit)
    for each, truth in truths:
        assert (each.low, each.estimate, each.high) == pytest.approx((truth,) * 3, rel=1e-8)


def test_draws_that_contradict_a_bound_are_dropped():
    """A batch of 4096 needs 524 steps by one half of the draws, and 598 by the other."""
    draws = np.log2(np.repeat([law(500.0, 200.0), law(500.0, 800.0)], N_DRAWS, axis=0))
    needs_more = np.ones(len(draws), dtype=bool)

    kept, none = (StepsLaw.of(SIZES, draws, [(4096, np.log2(n), needs_more)]) for n in (560, 700))

    assert kept.b_crit.estimate == kept.b_crit.low == pytest.approx(800.0)
    assert (none.law_holds, none.b_crit.reason.code) == (False, "steps_off_the_law")


def test_it_is_weighted_by_relative_steps():
    """The least sum of squares of (S - a - c / B) / S, by NumPy's own solver."""
    steps = law(500.0, 200.0) * np.array([1.1, 0.95, 1.03, 0.98])

    (fewest,), (slope,) = law_through(SIZES, np.log2(steps)[None, :])

    terms = np.stack([1 / steps, 1 / (SIZES * steps)], axis=1)
    assert (fewest, slope) == pytest.approx(np.linalg.lstsq(terms, np.ones(len(SIZES)))[0])


@pytest.mark.parametrize("error", [0.05, 0.2])
def test_intervals_hold_the_truth_95_times_in_100(error):
    """What is believed is off by as much as it says."""
    n_studies, held = 400, np.zeros(3)
    rng = np.random.default_rng(1)
    for seed in range(n_studies):
        believed = law(500.0, 200.0) * 2 ** (error * rng.standard_normal(len(SIZES)))
        found = StepsLaw.of(SIZES, draws_around(believed, error, seed=seed))
        truths = (found.s_min, 500.0), (found.b_crit, 200.0), (found.e_min, 100_000.0)
        # Where the steps lie off the law it says nothing.
        held += [
            each.reason is not None or (each.low or 0.0) <= truth <= (each.high or np.inf)
            for each, truth in truths
        ]

    few, many = binom.ppf((1e-4, 1 - 1e-4), n_studies, 0.95)
    assert np.all((held >= few) & (held <= many))


def test_steps_that_still_fall_or_hardly_fall_leave_one_bound_of_the_critical_batch_size():
    """It may be as small as one likes where they hardly fall."""
    perfect, beyond = (1e6 / SIZES**power for power in (1.0, 1.05))

    on_the_verge = StepsLaw.of(SIZES, draws_around(perfect, 0.1))
    found = StepsLaw.of(SIZES, draws_around(beyond, 0.1))
    flat = StepsLaw.of(SIZES, draws_around(law(500.0, 0.2), 0.1))

    for each in (on_the_verge, found):
        assert each.law_holds
        assert 1024 < each.b_crit.low < 1e6
        assert each.b_crit.high is None
    assert on_the_verge.e_min.low <= 1e6 <= on_the_verge.e_min.high
    assert found.b_crit.estimate is None
    assert found.b_crit.reason.code == "steps_still_fall"
    assert flat.law_holds
    assert flat.b_crit.low is None
    assert flat.b_crit.high < 16
    assert flat.s_min.low <= 500 <= flat.s_min.high


@pytest.mark.parametrize("steps", [(1000, 900, 200, 100), (100, 200, 400, 800)])
def test_steps_further_off_than_they_scatter_are_not_the_law(steps):
    sharp, blurred = (draws_around(np.array(steps, float), error) for error in (0.02, 2.0))

    found = StepsLaw.of(SIZES, sharp)

    assert not found.law_holds
    for each in (found.s_min, found.b_crit, found.e_min):
        assert (each.estimate, each.low, each.high) == (None, None, None)
        assert each.reason.code == "steps_off_the_law"
    if steps[0] > steps[-1]:
        assert StepsLaw.of(SIZES, blurred).law_holds
