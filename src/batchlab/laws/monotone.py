"""Monotone steps: steps never grow with the batch size, and never fall faster than 1/B.

Neither is certain: under a constant rate larger batches can need fewer examples. So it is tested.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from batchlab.laws.steps_table import NO_SCATTER

Array = NDArray[np.float64]
_SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class MonotoneTest:
    """What the means of the batch sizes say against monotone steps.

    Attributes:
        steps_rise: the two batch sizes, ascending, that show most clearly that a larger batch needs
            more steps; None: no two do.
        samples_fall: the two that show most clearly that a larger batch needs fewer examples; None:
            no two do.
    """

    steps_rise: tuple[int, int] | None = None
    samples_fall: tuple[int, int] | None = None

    @property
    def rejected(self) -> bool:
        """Whether the means reject monotone steps."""
        return self.steps_rise is not None or self.samples_fall is not None


def monotone_test(
    batch_size: Array, log_mean: Array, variance: Array, degrees: int, *, tolerance: float = 0.0
) -> MonotoneTest:
    """Compare every two batch sizes; all comparisons together err 5 times in 100 (Bonferroni).

    Args:
        batch_size: ascending, shape (k,).
        log_mean: mean log steps of each, shape (k,).
        variance: of those means, shape (k,).
        degrees: of freedom behind the variances; 0: nothing was repeated and nothing is rejected.
        tolerance: what a rise or a fall must exceed to count, a log ratio >= 0.
    """
    k = len(batch_size)
    if degrees < 1 or k < 2:
        return MonotoneTest()
    small, large = np.triu_indices(k, 1)
    rise = log_mean[large] - log_mean[small]
    fall = -rise - np.log(batch_size[large] / batch_size[small])
    error = np.sqrt(variance[small] + variance[large] + NO_SCATTER**2)
    critical = float(stdtrit(degrees, 1 - _SIGNIFICANT / (k * (k - 1))))

    def clearest(away: Array) -> tuple[int, int] | None:
        t = (away - tolerance) / error
        i = int(np.argmax(t))
        pair = int(batch_size[small[i]]), int(batch_size[large[i]])
        return pair if t[i] > critical else None

    return MonotoneTest(steps_rise=clearest(rise), samples_fall=clearest(fall))


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
