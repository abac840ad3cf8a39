"""The scatter of seeds: closed cases, the slow twin, and what the prior adds."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import polygamma

from batchlab.belief.metric_scale import MetricScale
from batchlab.belief.seed_scatter import (
    _REACH_SDS,
    PRIORS,
    PRIORS_OF_ERROR,
    ScatterPrior,
    SeedScatter,
)

N_DRAWS = 40_000


def half_widths(cells, prior=None, confidence=0.95, n_draws=N_DRAWS):
    """Half the widths of the intervals of the means of cells given as (variance, seeds)."""
    scatter = SeedScatter.of(cells, prior)
    assert scatter is not None
    return np.quantile(scatter.errors(cells, n_draws), 0.5 + confidence / 2, axis=0)


@pytest.mark.parametrize(("n", "confidence"), [(2, 0.95), (3, 0.95), (5, 0.95), (3, 0.99)])
def test_a_cell_alone_has_the_interval_of_student(n, confidence):
    (half,) = half_widths([(4.0, n)], confidence=confidence, n_draws=10 * N_DRAWS)

    student = stats.t.ppf(0.5 + confidence / 2, n - 1) * math.sqrt(4.0 / n)
    assert half == pytest.approx(student, rel=0.06)


def half_width_by_place(variances, n, at, confidence, prior):
    """The slow twin, from Smyth's model in loops: one place of d0 and s0² at a time."""
    places = []
    for unlike in np.arange(0.0375, 1.8, 0.075):
        # The d0 at which log standard deviations have this standard deviation.
        d0 = brentq(lambda d0, sd=unlike: polygamma(1, d0 / 2) ** 0.5 / 2 - sd, 1e-3, 1e6)
        for log_usual in np.arange(-26.0, 12.0, 0.5):
            s0_sq = math.exp(log_usual)
            density = stats.lognorm.pdf(unlike, 0.76, scale=math.exp(-1.27))
            if prior is not None:
                t = (log_usual / 2 - prior.log_sd) / prior.log_sd_sd
                density *= stats.t.pdf(t, prior.degrees)
            for s_sq, count in zip(variances, n, strict=True):
                if count > 1:
                    density *= stats.f.pdf(s_sq / s0_sq, count - 1, d0) * s_sq / s0_sq
            if density > 0:
                places.append((density, d0, s0_sq))
    total = sum(density for density, _, _ in places)
    places = [place for place in places if place[0] > 1e-8 * total]
    density, d0, s0_sq = np.array(places).T
    degrees = n[at] - 1 + d0
    variance = ((n[at] - 1) * variances[at] + d0 * s0_sq) / degrees

    def inside(half):
        t = half / (variance / n[at]) ** 0.5
        return (density / total) @ (2 * stats.t.cdf(t, degrees) - 1)

    return brentq(lambda half: inside(half) - confidence, 0, 1e6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variances", "n", "prior"),
    [([1.0, 30.0, 0.2], [2, 3, 2], None), ([1.0, 30.0, 2.0], [2, 3, 1], PRIORS["share"])],
)
def test_the_interval_is_that_of_the_slow_twin(variances, n, prior):
    variances = [0.01 * variance for variance in variances]
    halves = half_widths(list(zip(variances, n, strict=True)), prior)

    for at, half in enumerate(halves):
        assert half == pytest.approx(half_width_by_place(variances, n, at, 0.95, prior), rel=0.05)


def test_likely_scatters_are_means_over_parts_of_the_prior_and_close_in_on_what_is_seen():
    prior, single = PRIORS["share"], (1.0, 1)
    variance = 25 * math.exp(2 * prior.log_sd)
    some, many = (variance, 4), (variance, 2000)

    def sds(*cells):
        return SeedScatter.of(cells, prior).sds(cells, 4)

    t, sd = stats.t(prior.degrees), prior.log_sd_sd
    edges = [-_REACH_SDS, *t.ppf([0.25, 0.5, 0.75]), _REACH_SDS]
    found = [4 * t.expect(lambda at: np.exp(2 * sd * at), lb=a, ub=b) for a, b in pairwise(edges)]
    assert sds(single)[:, 0] ** 2 == pytest.approx(variance / 25 * np.array(found), 0.02)
    usual, own = sds(single, some).T
    assert (np.diff(usual) > 0).all()
    assert (sds(single)[:, 0] < usual).all()
    assert (np.abs(np.log(own**2 / variance)) < np.abs(np.log(usual**2 / variance))).all()
    assert sds(single, many)[:, 1] == pytest.approx(math.sqrt(variance), rel=0.02)
    assert np.mean(sds(single) ** 2) == pytest.approx(SeedScatter.of([single], prior).usual_sd ** 2)


def test_the_prior_stands_for_seeds_that_were_not_run():
    """Many seeds outweigh it, and a cell that scatters far more keeps a wide interval."""
    prior = PRIORS["share"]
    cells = [(math.exp(2 * prior.log_sd), 2)] * 2
    flat, known = half_widths(cells)[0], half_widths(cells, prior)[0]
    far_more = math.exp(2 * (prior.log_sd + 2))
    (half, *_) = half_widths([(far_more, 15)] * 4, prior)
    halves = half_widths([(1.0, 4), (1.0, 4), (1.0, 4), (400.0, 4)])

    assert known < 0.7 * flat
    assert half == pytest.approx(stats.norm.ppf(0.975) * math.sqrt(far_more / 15), rel=0.15)
    assert halves[-1] > 8 * halves[0]


def test_fewer_examples_than_recorded_scatter_more_and_an_unlike_metric_has_no_prior():
    many, few = (
        ScatterPrior.of(MetricScale(kind="share", n_examples=n)).log_sd for n in (50_000, 500)
    )

    assert many == PRIORS["share"].log_sd
    assert few - many == pytest.approx(math.log(20) / 2)
    for end_error in (None, 0.1):
        assert ScatterPrior.of(MetricScale(kind="plain"), end_error=end_error) is None


@pytest.mark.parametrize(("kind", "n"), [("share", 10_000), ("share", 500), ("loss", None)])
def test_ends_that_scatter_within_a_run_scatter_between_seeds(kind, n):
    scale, (known, usual) = MetricScale(kind=kind, n_examples=n), PRIORS_OF_ERROR[kind]
    few = math.sqrt(20 if n == 500 else 1)

    smooth, as_usual, rough = (
        ScatterPrior.of(scale, end_error=times * usual * few).log_sd - math.log(few)
        for times in (0, 1, math.e)
    )

    assert smooth == pytest.approx(as_usual) == pytest.approx(known.log_sd)
    assert known.log_sd + 0.5 < rough < known.log_sd + 1
