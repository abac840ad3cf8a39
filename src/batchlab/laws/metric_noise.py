"""MetricNoise: how much a metric jumps from one evaluation to the next, apart from its trend."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Fewer bends than this say little: half of them lie off by more than a third.
FEWEST_BENDS = 4


def metric_noise(values: Sequence[float]) -> float | None:
    """The standard deviation of a metric around its trend, from evaluations at equal distances.

    Second differences leave nothing of a straight trend, and of independent noise with variance
    s² each has the variance 6 s² (1 + 4 + 1). A curve that bends adds to it, so a metric that
    still improves fast looks noisier than it is: give the end of a training.

    Args:
        values: the metric at equal distances, in the order of training.

    Returns:
        In the metric's unit; None of fewer than six values.
    """
    bends = [
        after - 2 * middle + before
        for before, middle, after in zip(values, values[1:], values[2:], strict=False)
    ]
    if len(bends) < FEWEST_BENDS:
        return None
    return math.sqrt(sum(bend * bend for bend in bends) / (6 * len(bends)))
