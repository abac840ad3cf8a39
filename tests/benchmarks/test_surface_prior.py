"""The fit of the prior: what is maximized, and what a workload has no part in."""

import math

import numpy as np
import pytest
from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.whole_situation import whole_situation
from benchmarks.surface_prior import Seen, prior_without, without_twins
from scipy.stats import multivariate_normal
from tests.reference import joint_belief as twin
from tests.reference.recorded_grid import CELLS, write_whole_grid

pytestmark = pytest.mark.nightly  # nobody who uses batchlab runs what judges the advice


def test_the_likelihood_is_a_normal_density(tmp_path):
    grid = RecordedGrid.read(write_whole_grid(tmp_path))
    seen, prior = Seen(whole_situation(grid, "cpu", draw=0)), prior_without("made-up")
    n = len(CELLS)

    mean, covariance = twin.before_any_run(prior, seen.places, np.zeros(n))
    density = multivariate_normal(mean, covariance + np.diag(seen.variances))

    expected = density.logpdf(seen.values) + n * math.log(2 * math.pi)  # of 2 n values
    assert seen.log_likelihood(prior) == pytest.approx(expected, abs=1e-6)
    # Of (64, 0.1) itself: it takes as long as the reference, and ends no worse.
    own = [(size, octave) for size, octave, _, _ in CELLS].index((64, 0))
    assert (seen.places.size[own], seen.places.rate[own]) == (0, 0)
    assert seen.values[[own, n + own]] == pytest.approx([0, 0], abs=1e-9)


def test_a_workload_and_its_twin_have_no_part_in_its_prior():
    known = {name: [] for name in ("cnn", "mlp-adam", "mlp-adam-cosine", "softmax")}
    for name in known:
        known[name].append(name)

    left = {name: [seen for (seen,) in without_twins(known, name)] for name in known}

    assert left == {
        "cnn": ["mlp-adam", "mlp-adam-cosine", "softmax"],
        "mlp-adam": ["cnn", "softmax"],
        "mlp-adam-cosine": ["cnn", "softmax"],
        "softmax": ["cnn", "mlp-adam", "mlp-adam-cosine"],
    }
