"""Steps made monotone, and interpolated."""

import numpy as np
import pytest

from batchlab.laws.monotone import interpolated, monotone_log_steps

LOG_SIZES = np.log([8, 16, 64, 100, 1000])


def test_steps_with_scatter_come_out_falling_and_never_faster_than_perfect_scaling():
    raw = np.random.default_rng(0).normal(size=(500, 5)) - 0.5 * LOG_SIZES

    made = monotone_log_steps(raw, LOG_SIZES)

    assert np.all(np.diff(made) <= 1e-12)
    assert np.all(np.diff(made + LOG_SIZES) >= -1e-12)


@pytest.mark.parametrize("slope", [0.0, -0.4, -1.0])
def test_steps_that_are_monotone_already_stay_as_they_are(slope):
    raw = 3 + slope * LOG_SIZES[None, :]

    assert monotone_log_steps(raw, LOG_SIZES) == pytest.approx(raw, abs=1e-12)


def test_a_flat_truth_is_not_pushed_up_or_down():
    n_draws = 4000
    raw = np.random.default_rng(1).normal(size=(n_draws, 5))

    middle = monotone_log_steps(raw, LOG_SIZES * 100)[:, 2]

    assert abs(middle.mean()) < 4 * middle.std() / n_draws**0.5


def test_between_batch_sizes_a_power_law_is_followed_exactly():
    log_steps = (2 - 0.7 * LOG_SIZES)[None, :]
    at = np.log([8, 11, 64, 500, 1000])

    assert interpolated(log_steps, LOG_SIZES, at)[0] == pytest.approx(2 - 0.7 * at)
