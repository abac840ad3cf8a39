"""The margin: the difference in a final value that still counts as no worse."""

from __future__ import annotations

from batchlab.records.quantities import FRACTION_METRICS, Better

MARGIN_SHARE = 0.05
"""The part of what was learned, or of the errors that remain, that still counts as no worse."""

_PERCENT = 100.0


def margin_of(
    value: float,
    *,
    metric: str,
    better: Better,
    untrained: float | None = None,
    n_examples: int | None = None,
) -> float:
    """Return 5 % of what was learned or of the remaining errors, whichever is less.

    An accuracy, the same accuracy in percent and the error that belongs to it have the same margin,
    and so have a mean squared error of standardized targets and R2.

    Args:
        value: the final value that others are compared with.
        metric: its name.
        better: its direction.
        untrained: the value of the untrained model, if known.
        n_examples: how many examples the value is a mean of, if known. The margin of a share is at
            least one example.
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
    # If nothing is left to learn, the margin of a share is one example.
    if left > 0 or least:
        learned.append(max(left, 0.0))
    return max(MARGIN_SHARE * min(learned, default=abs(value)), least) or MARGIN_SHARE
