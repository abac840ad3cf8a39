"""Scaling rules: how the learning rate follows the batch size from a reference configuration."""

from __future__ import annotations

import math
from collections.abc import Callable

from batchlab.errors import UsageError

# Each rule: factor of the learning rate for a factor of the batch size.
SCALING_RULES: dict[str, Callable[[float], float]] = {
    "none": lambda factor: 1.0,
    "linear": lambda factor: factor,  # Goyal et al. 2017, arXiv:1706.02677
    "sqrt": math.sqrt,  # Hoffer et al. 2017, arXiv:1705.08741
}


def scaled_learning_rate(
    learning_rate: float, *, rule: str, batch_size: int, reference_batch_size: int
) -> float:
    """The learning rate for `batch_size` when `learning_rate` is right for the reference.

    Args:
        learning_rate: at the reference batch size, > 0.
        rule: a name of `SCALING_RULES`.
        batch_size: examples per step, >= 1.
        reference_batch_size: examples per step, >= 1.

    Raises:
        UsageError: an unknown rule.
    Source: Goyal et al. 2017, arXiv:1706.02677 (linear); Hoffer et al. 2017, arXiv:1705.08741
        (square root).
    """
    if rule not in SCALING_RULES:
        raise UsageError(f"scaling rule {rule!r}: expected one of {', '.join(SCALING_RULES)}")
    return learning_rate * SCALING_RULES[rule](batch_size / reference_batch_size)
