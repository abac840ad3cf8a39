"""The margin: a final value that is worse by at most this counts as no worse."""

from __future__ import annotations

from batchlab.records.quantities import FRACTION_METRICS, Better

MARGIN_SHARE = 0.05
"""The margin as a fraction of the improvement by training, or of what is left to improve."""

_PERCENT = 100.0


def margin_of(
    value: float,
    *,
    metric: str,
    better: Better,
    untrained: float | None = None,
    n_examples: int | None = None,
) -> float:
    """Return 5 % of the improvement by training or of what is left to improve, if that is less.

    What is left to improve is the distance to a perfect value: 1 or 100 % if higher values are
    better, else 0. So an accuracy and the error rate get equivalent margins, and so do R2 and the
    mean squared error of standardized targets.

    Args:
        value: the final value that other final values are compared with.
        metric: the name of the metric.
        better: whether "higher" or "lower" values are better.
        untrained: the value of the untrained model, if known.
        n_examples: the number of examples that the value is a mean over, if known. The margin of an
            accuracy or error rate is at least one example.
    """
    whole, least, left, learned = 1.0, 0.0, value, []
    if metric in FRACTION_METRICS:
        if max(value, untrained or 0.0) > 1:
            whole = _PERCENT
        if n_examples:
            least = whole / n_examples
    if better == "higher":
        left = whole - value
    if untrained is not None and untrained != value:
        learned.append(abs(value - untrained))
    # At a perfect accuracy or error rate, the margin is one example.
    if left > 0 or least:
        learned.append(max(left, 0.0))
    return max(MARGIN_SHARE * min(learned, default=abs(value)), least) or MARGIN_SHARE
