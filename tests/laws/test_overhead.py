"""The batch size at a given overhead of samples."""

import math

import numpy as np
import pytest
from tests.reference.steps_to_target import (
    MadeUpStudy,
    batch_at_overhead_by_search,
    fit_by_search,
)

from batchlab.errors import UsageError
from batchlab.laws.steps import StepsObservation, batch_at_overhead, fit_steps_to_target

SIZES = (64, 256, 1024, 4096)


def exact_fit(s_min=1000.0, e_min=2_000_000.0, sizes=SIZES):
    return fit_steps_to_target(
        [StepsObservation(batch_size=b, after_steps=0, steps=s_min + e_min / b) for b in sizes]
    )


def test_the_published_definition_is_met():
    found = batch_at_overhead(exact_fit(), overhead_fraction=0.2, reference_batch_size=256)

    # S_min 1000, E_min 2e6 and reference 256: 1.2 × 256 + 0.2 × 2000.
    assert found.estimate == pytest.approx(707.2, rel=1e-6)


@pytest.mark.parametrize("overhead", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("reference", [None, 100, 5000])
def test_it_is_where_dearer_linear_scaling_meets_the_curve(overhead, reference):
    study = MadeUpStudy(sizes=SIZES, b_crit=900, seeds=2, sigma=0.05, cadence=0.0)
    seen, _ = study.draw(np.random.default_rng(4))
    s_min, e_min = fit_by_search([(one.batch_size, one.steps) for one in seen])

    found = batch_at_overhead(
        fit_steps_to_target(seen), overhead_fraction=overhead, reference_batch_size=reference
    )

    expected = batch_at_overhead_by_search(
        s_min, e_min, overhead=overhead, reference=reference or 64
    )
    assert found.estimate == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_its_interval_holds_the_truth():
    rng, n_draws, held = np.random.default_rng(6), 60, 0
    study = MadeUpStudy(sizes=SIZES, b_crit=900, seeds=2, sigma=0.05)
    for _ in range(n_draws):
        fit = fit_steps_to_target(study.draw(rng)[0])
        held += batch_at_overhead(fit, reference_batch_size=64).holds(1.2 * 64 + 0.2 * 900)

    assert held >= 51  # 95 % of 60 less four standard errors of 1.7


def test_samples_that_do_not_grow_give_a_lower_bound():
    found = batch_at_overhead(exact_fit(s_min=1e-9))

    assert (found.estimate is None) or found.high is None or found.estimate > 4096
    assert found.low > 64


def test_without_a_law_it_cannot_be_told():
    seen = [
        StepsObservation(batch_size=b, after_steps=0, steps=9000 * b**-0.4 * seed)
        for b in SIZES
        for seed in (0.999, 1.001)
    ]
    fit = fit_steps_to_target(seen)

    found = batch_at_overhead(fit)

    assert not fit.law_holds
    assert (found.estimate, found.reason) == (None, fit.e_min.reason)
    assert found.reason.code == "law_does_not_hold"


@pytest.mark.parametrize(
    ("overhead", "reference"), [(0.0, 8), (-1.0, 8), (math.nan, 8), (0.2, 0), (0.2, math.inf)]
)
def test_an_overhead_or_reference_that_cannot_be_is_refused(overhead, reference):
    with pytest.raises(UsageError, match="expected"):
        batch_at_overhead(exact_fit(), overhead_fraction=overhead, reference_batch_size=reference)
