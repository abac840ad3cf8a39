"""The law of steps to target: known answers, coverage, and what they refuse."""

import math

import numpy as np
import pytest
from benchmarks.law_coverage import coverage
from scipy.stats import t
from tests.reference.steps_to_target import FIVE, MARKED, STUDIES, WIDE, drawn, exact, on_the_law

from batchlab.errors import BatchlabError
from batchlab.laws.steps import StepsObservation, fit_steps_to_target


def known(estimate):
    return (estimate.low, estimate.estimate, estimate.high)


def told(fit):
    """Everything that a fit tells, as numbers."""
    rows = [fit.s_min, fit.b_crit, fit.e_min, fit.exponent]
    rows += [one for at in fit.by_batch_size for one in (at.expected, at.measured)]
    return np.array([known(one) for one in rows], dtype=float)


@pytest.mark.parametrize(
    ("sizes", "seeds", "exponent"),
    [
        *((sizes, n, 1) for sizes in ((1, 50, 800), (1, 50, 200, 800)) for n in (1, 3)),
        *(((1, 10, 50, 200, 800), 2, exponent) for exponent in (0.6, 0.8, 1.25, 1.5)),
    ],
)
def test_points_on_a_known_law_give_it_back_to_1e_6(sizes, seeds, exponent):
    fit = fit_steps_to_target(on_the_law(sizes, seeds=seeds, exponent=exponent))

    assert fit.law_holds == (exponent == 1)
    if exponent == 1:
        assert fit.s_min.estimate == pytest.approx(1000, rel=1e-6)
        assert fit.b_crit.estimate == pytest.approx(200, rel=1e-6)
        assert fit.e_min.estimate == pytest.approx(200_000, rel=1e-6)
        assert known(fit.b_crit) == pytest.approx((200, 200, 200), rel=1e-4)
        lone = known(fit.by_batch_size[0].measured)
        assert seeds > 1 or (fit.seed_sd, lone) == (None, (None, pytest.approx(201_000), None))
    else:
        assert fit.exponent.estimate == pytest.approx(exponent, rel=1e-6)


def test_measured_steps_are_geometric_means_with_the_pooled_scatter():
    seen = drawn(3, cadence=0.0)
    logs = np.log([one.steps for one in seen]).reshape(len(WIDE), 3)
    sd = math.sqrt(logs.var(axis=1, ddof=1).mean())

    fit = fit_steps_to_target(seen)

    half = t.ppf(0.975, 2 * len(WIDE)) * sd / math.sqrt(3)
    assert fit.seed_sd == pytest.approx(sd, rel=1e-6)
    for at, mean in zip(fit.by_batch_size, logs.mean(axis=1), strict=True):
        assert np.log(known(at.measured)) == pytest.approx((mean - half, mean, mean + half))


def test_a_run_that_never_got_there_is_a_bound():
    """One that stopped early changes nothing; one that went far makes larger batches slower."""
    seen = drawn(0)
    early, late = (
        StepsObservation(batch_size=4096, after_steps=after, steps=None) for after in (100, 3000)
    )

    without, short, long = (fit_steps_to_target([*seen, *more]) for more in ((), (early,), (late,)))

    assert told(short)[:4] == pytest.approx(told(without)[:4], rel=1e-6, nan_ok=True)
    assert long.s_min.estimate > 1.05 * without.s_min.estimate
    last = long.by_batch_size[-1]
    assert last.measured.reason.code == "target_missed_by_all"
    assert last.expected.estimate > 1.05 * short.by_batch_size[-1].expected.estimate


@pytest.mark.parametrize("study", ["a third of two sizes stopped early", "5 sizes, 2 seeds, 6 %"])
def test_other_units_of_steps_and_examples_change_only_units(study):
    seen = STUDIES[study].draw(np.random.default_rng(1))[0]
    other = [
        StepsObservation(
            batch_size=8 * one.batch_size,
            after_steps=7 * one.after_steps,
            steps=one.steps and 7 * one.steps,
        )
        for one in seen
    ]

    here, there = told(fit_steps_to_target(seen)), told(fit_steps_to_target(other))

    factors = np.array([7, 8, 56, 1, *[7] * (len(here) - 4)])[:, None]
    assert there == pytest.approx(here * factors, rel=1e-4, nan_ok=True)


def test_without_a_law_the_steps_are_those_measured():
    fit = fit_steps_to_target(drawn(exponent=0.7, sigma=0.03))

    assert not fit.law_holds
    assert fit.exponent.holds(0.7)
    assert fit.exponent.high < 1
    codes = {one.reason.code for one in (fit.s_min, fit.b_crit, fit.e_min)}
    assert codes == {"law_does_not_hold"}
    assert all(at.expected == at.measured for at in fit.by_batch_size)


ABOVE = drawn(sizes=(32, 64, 128, 256, 512), b_crit=50_000)
STILL_FALL = [exact(b, 1e6 / b * e) for b in FIVE for e in (0.95, 1, 1.06)]
ALIKE = [exact(b, 700 * e) for b in FIVE for e in (0.98, 1.02)]
STREAM = np.random.default_rng(0)
SCATTER = [exact(b, 1000 * math.exp(1.5 * STREAM.normal())) for b in (64, 80, 100)]


@pytest.mark.parametrize(
    ("runs", "quantity", "code", "low", "high"),
    [
        (ABOVE, "b_crit", "outside_measured", (256, 50_000), None),
        (STILL_FALL, "s_min", "outside_measured", None, (0, 1e6 / FIVE[-1])),
        (ALIKE, "b_crit", "outside_measured", None, (0, 16)),
        (ALIKE, "e_min", "outside_measured", None, (0, 16 * 700)),
        (ALIKE, "exponent", "exponent_unknown", None, None),
        (SCATTER, "b_crit", "scatter_too_much", None, None),
        (on_the_law((1, 50, 800), seeds=2), "exponent", "too_few", None, None),
    ],
)
def test_what_lies_outside_the_measured_range_is_a_bound_or_untold(runs, quantity, code, low, high):
    """Each bound lies between two numbers, or is not known."""
    found = getattr(fit_steps_to_target(runs), quantity)

    assert (found.estimate, found.reason.code) == (None, code)
    for bound, ends in ((found.low, low), (found.high, high)):
        assert bound is None if ends is None else ends[0] < bound < ends[1]


def test_points_of_any_size_are_fitted_without_a_warning():
    """A run that missed, too; no power of them overflows."""
    missed = StepsObservation(batch_size=10**12, after_steps=1e10, steps=None)
    for steps in ((1e15, 1e-15, 1.0), (1e-15, 1e15, 1e-15), (1e15, 1.0, 1e-15)):
        runs = [exact(b, n) for b, n in zip((1, 10**7, 10**15), steps, strict=True)]

        with np.errstate(all="raise", under="ignore"):
            fit = fit_steps_to_target([*runs, missed])

        assert all(at.expected.estimate > 0 for at in fit.by_batch_size)


def test_fewer_than_three_batch_sizes_that_reached_the_target_are_refused_by_name():
    with pytest.raises(BatchlabError, match=r"was reached: 1 \(64\)"):
        fit_steps_to_target(on_the_law((64,), seeds=3))
    never = StepsObservation(batch_size=800, after_steps=500, steps=None)
    with pytest.raises(BatchlabError, match=r"was reached: 2 \(64, 256\)"):
        fit_steps_to_target([*on_the_law((64, 256)), never])


@pytest.mark.slow
def test_intervals_hold_the_truth_92_to_98_times_in_100():
    n_draws = 150

    shares = coverage(STUDIES["9 sizes, 3 seeds, 6 %"], n_studies=n_draws, seed=101)

    slack = 3 * (0.95 * 0.05 / n_draws) ** 0.5
    for name in ("B_crit", "S_min", "expected", "measured"):
        assert 0.92 - slack < shares[name] < 0.98 + slack / 3, (name, shares)
    assert shares["withheld"] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("marks", [(0.6, 1), (1.7, 2)])
def test_intervals_hold_the_truth_whatever_the_marks_an_epoch(marks):
    shares = coverage(MARKED[marks], n_studies=60, seed=3)

    for name in ("expected", "measured", "B_crit"):
        assert shares[name] > 0.92 - 4 * (0.95 * 0.05 / 60) ** 0.5, shares


@pytest.mark.nightly
def test_the_intervals_of_every_made_up_study_hold_the_truth_92_to_98_times_in_100():
    n_studies, shares = 1000, {}
    for name, study in STUDIES.items():
        found = coverage(study, n_studies=n_studies, seed=101)
        shares |= {(name, what): found[what] for what in ("B_crit", "expected")}

    slack = 3 * (0.95 * 0.05 / n_studies) ** 0.5
    # An exponent of 0.6 is always noticed, so B_crit is never told there.
    del shares["6 sizes, 4 seeds, 6 %, exponent 0.6", "B_crit"]
    assert {row: s for row, s in shares.items() if not 0.92 - slack < s < 0.98 + slack} == {}
