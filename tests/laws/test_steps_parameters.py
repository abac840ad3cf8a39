"""S_min, E_min and B_crit outside the measured range."""

from __future__ import annotations

import math

import numpy as np
from tests.reference.steps_to_target import FIVE, drawn, exact

from batchlab.laws.steps import fit_steps_to_target
from batchlab.words.reasons import reason_text


def test_b_crit_above_the_measured_range_is_a_lower_bound():
    fit = fit_steps_to_target(drawn(sizes=(32, 64, 128, 256, 512), b_crit=50_000))

    assert (fit.b_crit.estimate, fit.b_crit.high) == (None, None)
    assert 512 < fit.b_crit.low < 50_000
    assert "beyond the largest measured batch size, 512" in reason_text(fit.b_crit.reason)


def test_the_same_steps_at_every_batch_size_give_an_upper_bound():
    fit = fit_steps_to_target([exact(b, 700) for b in FIVE for _ in range(2)])

    assert (fit.b_crit.estimate, fit.b_crit.low) == (None, None)
    assert 0 < fit.b_crit.high < 16
    assert "below the smallest measured batch size, 16" in reason_text(fit.b_crit.reason)


def test_pure_scatter_leaves_b_crit_untold():
    rng = np.random.default_rng(0)
    seen = [exact(b, 1000 * math.exp(1.5 * rng.normal())) for b in (64, 80, 100)]

    fit = fit_steps_to_target(seen)

    assert (fit.b_crit.estimate, fit.b_crit.low, fit.b_crit.high) == (None, None, None)
    assert "more seeds or a wider range" in reason_text(fit.b_crit.reason)
