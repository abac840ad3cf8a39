"""Monotone steps: steps never grow with the batch size, and never fall faster than 1/B."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def monotone_log_steps(log_steps: Array, log_batch_size: Array) -> Array:
    """Log steps with scatter, made to fall with the batch size but never faster than 1/B.

    The result lies half-way between the monotone curves that touch from above and from below: it
    leaves monotone steps alone and pushes a flat truth neither way.

    Args:
        log_steps: shape (..., k), by ascending batch size.
        log_batch_size: shape (k,).

    Returns:
        Shape (..., k): S is non-increasing in B, and B * S non-decreasing.
    """
    falling = 0.5 * (_running_min(log_steps) + _running_max(log_steps[..., ::-1])[..., ::-1])
    samples = falling + log_batch_size
    # Its running extremes grow by no more than it does, so the steps still fall.
    rising = 0.5 * (_running_max(samples) + _running_min(samples[..., ::-1])[..., ::-1])
    return np.asarray(rising - log_batch_size)


def interpolated(log_steps: Array, log_batch_size: Array, at: Array) -> Array:
    """Straight lines on log-log scales between the measured batch sizes.

    Args:
        log_steps: shape (m, k).
        log_batch_size: ascending, shape (k,), k >= 2.
        at: where, within the measured range, shape (j,).

    Returns:
        Shape (m, j).
    """
    left = np.clip(
        np.searchsorted(log_batch_size, at, side="right") - 1, 0, len(log_batch_size) - 2
    )
    share = (at - log_batch_size[left]) / (log_batch_size[left + 1] - log_batch_size[left])
    return np.asarray(log_steps[:, left] * (1 - share) + log_steps[:, left + 1] * share)


def _running_max(values: Array) -> Array:
    return np.asarray(np.maximum.accumulate(values, axis=-1))


def _running_min(values: Array) -> Array:
    return np.asarray(np.minimum.accumulate(values, axis=-1))
