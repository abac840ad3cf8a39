from __future__ import annotations

import numpy as np
import pytest

from batchlab.laws.plateau import metric_noise


def test_of_noise_around_a_straight_trend_only_the_noise_is_left() -> None:
    draws = np.random.default_rng(0).normal(0.0, 0.003, size=(400, 10))
    curves = 0.9 + 0.002 * np.arange(10) + draws

    squares = [metric_noise(curve.tolist()) ** 2 for curve in curves]

    # Bends overlap, so the variance of their mean square is 35/18 times that of independent ones.
    scatter = np.sqrt(2 * 35 / 18 / (8 * 400))
    assert np.mean(squares) == pytest.approx(0.003**2, rel=4 * scatter)


def test_a_straight_line_has_none() -> None:
    assert metric_noise([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == pytest.approx(0.0, abs=1e-12)


def test_five_values_are_too_few() -> None:
    assert metric_noise([0.9, 0.91, 0.9, 0.92, 0.91]) is None
    assert metric_noise([0.9, 0.91, 0.9, 0.92, 0.91, 0.9]) is not None
