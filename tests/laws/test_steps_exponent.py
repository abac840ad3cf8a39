"""The exponent of the generalised law."""

from __future__ import annotations

import pytest
from tests.reference.steps_to_target import WIDE, on_the_law

from batchlab.laws.steps_to_target import fit_steps_to_target


def test_points_on_the_generalised_law_give_the_exponent_back():
    fit = fit_steps_to_target(on_the_law(WIDE, exponent=0.8))

    assert fit.exponent.estimate == pytest.approx(0.8, rel=1e-6)


def test_three_batch_sizes_leave_no_exponent_to_tell():
    fit = fit_steps_to_target(on_the_law((1, 50, 800), seeds=2))

    assert "at least 4" in fit.exponent.reason
