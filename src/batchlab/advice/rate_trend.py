"""RateTrend: how the tuned rates follow the batch size, as a line of octaves over octaves."""

from __future__ import annotations

from collections.abc import Sequence

# Before two batch sizes are tuned: how the best rate follows the batch size, in octaves an octave.
# Between the rules "sqrt" and "linear" for SGD, above what was measured for Adam.
_PRIOR_EXPONENT = 0.5
_PRIOR_WEIGHT = 2.0  # in squared octaves of batch size: a factor of 4 between two sizes counts 2
_LARGEST_EXPONENT = 1.2


def rate_trend(
    points: Sequence[tuple[float, float]], *, untuned_octave: float
) -> tuple[float, float]:
    """Slope and height at the reference batch size of the line through tuned rates.

    Args:
        points: of each tuned batch size its octaves above the reference's, and those of its rate.
        untuned_octave: the height before anything is tuned.

    Returns:
        (octaves of rate an octave of batch size, octaves of rate).
    """
    if not points:
        return _PRIOR_EXPONENT, untuned_octave
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    above = sum((x - mean_x) * (y - mean_y) for x, y in points)
    below = sum((x - mean_x) ** 2 for x, _ in points)
    slope = (above + _PRIOR_WEIGHT * _PRIOR_EXPONENT) / (below + _PRIOR_WEIGHT)
    slope = min(max(slope, 0.0), _LARGEST_EXPONENT)
    return slope, mean_y - slope * mean_x
