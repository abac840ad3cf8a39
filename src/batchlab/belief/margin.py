"""The margin: the difference in a final value that still counts as no worse."""

from __future__ import annotations

from collections.abc import Iterator

from batchlab.laws.plateau import FRACTION_METRICS
from batchlab.records.quantities import Better

# Of what was learned, and of the errors that remain.
_SHARE = 0.05
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
        value: the final value it is held against.
        metric: its name.
        better: its direction.
        untrained: what the untrained model has, if known.
        n_examples: how many examples the value is a mean of, if known. The margin of a share is at
            least one of them.
    """
    known = list(_sizes(value, metric, better, untrained))
    margin = _SHARE * min(known, default=abs(value)) or _SHARE
    if metric in FRACTION_METRICS and n_examples:
        margin = max(margin, _whole(value) / n_examples)
    return margin


def _sizes(value: float, metric: str, better: Better, untrained: float | None) -> Iterator[float]:
    """What was learned and what is left to learn, as far as they are known and above 0."""
    if untrained is not None and untrained != value:
        yield abs(value - untrained)
    best = 0.0
    if better == "higher":
        best = _whole(value) if metric in FRACTION_METRICS else 1.0
    left = best - value if better == "higher" else value
    if left > 0:
        yield left


def _whole(value: float) -> float:
    return 1.0 if value <= 1 else _PERCENT
