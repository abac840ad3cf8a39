"""The least-squares curve of steps to target."""

from __future__ import annotations

import pytest
from tests.reference.steps_to_target import drawn, fit_by_search

from batchlab.laws.steps import fit_steps_to_target


@pytest.mark.parametrize("seed", range(4))
def test_the_point_is_least_squares_on_log_steps_as_a_general_search_finds_it(seed):
    seen = drawn(seed, cadence=0.0)

    fit = fit_steps_to_target(seen)

    s_min, e_min = fit_by_search([(one.batch_size, one.steps) for one in seen])
    assert fit.s_min.estimate == pytest.approx(s_min, rel=1e-6)
    assert fit.e_min.estimate == pytest.approx(e_min, rel=1e-6)
