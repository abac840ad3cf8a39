"""VariancePoint: how far the gradients of batches of one size lie from the whole set's."""

from __future__ import annotations

from dataclasses import dataclass

from batchlab.records.estimate import Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class VariancePoint:
    """How far the gradients of batches of one size lie from the gradient of the whole set.

    Attributes:
        batch_size: examples of each batch, drawn without replacement.
        variance: tr Cov of their gradient, the mean squared distance; n is the number of batches.
        expected: tr Sigma / B (N - B) / (N - 1), what it must be; None: tr Sigma is not known.
    """

    batch_size: int
    variance: Estimate
    expected: float | None
