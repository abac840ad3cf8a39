"""The exponent of the generalized law."""

from __future__ import annotations

import math

import pytest
from tests.reference.steps_to_target import WIDE, exact, on_the_law

from batchlab.laws.steps import fit_steps_to_target
from batchlab.words.reasons import reason_text


def test_points_on_the_generalized_law_give_the_exponent_back():
    fit = fit_steps_to_target(on_the_law(WIDE, exponent=0.8))

    assert fit.exponent.estimate == pytest.approx(0.8, rel=1e-6)


def test_three_batch_sizes_leave_no_exponent_to_tell():
    fit = fit_steps_to_target(on_the_law((1, 50, 800), seeds=2))

    assert "at least 4" in reason_text(fit.exponent.reason)


def test_steps_that_follow_no_law_at_all_have_an_exponent_within_its_ends():
    # Their steepest fall lies beyond where the exponent's search otherwise looks.
    logs = {1: -10.0, 2: 0.3, 3: -2.9, 4: 2.7}

    fit = fit_steps_to_target([exact(b, math.exp(log)) for b, log in logs.items()])

    assert 0.1 <= fit.exponent.estimate <= 10
