"""The law with a free exponent, as a row."""

from __future__ import annotations

import pytest
from tests.reference.steps_to_target import WIDE, on_the_law

from batchlab.laws.registry import every_law
from batchlab.laws.steps import fit_steps_to_target


def test_points_on_the_generalized_law_lie_on_its_curve_and_off_the_law_with_exponent_1() -> None:
    used, free = every_law(fit_steps_to_target(on_the_law(WIDE, exponent=0.7)))

    assert free.residual_sd == pytest.approx(0, abs=1e-6)
    assert used.residual_sd is not None
    assert used.residual_sd > 0.03


def test_the_exponent_is_the_one_that_the_fit_tests_the_law_with() -> None:
    fit = fit_steps_to_target(on_the_law(WIDE, exponent=0.7))

    assert every_law(fit)[1].estimates[0][1] == fit.exponent


def test_three_batch_sizes_leave_no_curve_and_the_reason() -> None:
    fit = fit_steps_to_target(on_the_law((1, 50, 800), seeds=2))

    free = every_law(fit)[1]

    assert free.found.residuals is None
    assert free.residual_sd is None
    assert free.estimates[0][1].reason == fit.exponent.reason
