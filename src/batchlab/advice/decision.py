"""Decision: which batch sizes are as good as the best, with a bound that holds for all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from batchlab.advice.parts import Objective, Verdict

Array = NDArray[np.float64]
_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the costs say.

    Attributes:
        batch_sizes: those compared, ascending.
        relative: each one's cost over the best one's, estimated (>= 1 but for the best: 1).
        low: 95 % lower bound of that ratio, for each alone.
        high: simultaneous 95 % upper bound.
        inside: whether `high` is at most 1 + delta.
        verdict: "recommend", "indifferent" or "cannot_tell".
        batch_size: the one to take; None where it cannot be told.
        contender: where it cannot be told: the batch size whose upper bound is the lowest.
        blocking: the batch size that the bound of `contender` is set by.
    """

    batch_sizes: tuple[int, ...]
    relative: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    inside: tuple[bool, ...]
    verdict: Verdict
    batch_size: int | None
    contender: int
    blocking: int

    def left_open(self) -> Decision:
        """The same without a batch size to take."""
        return replace(self, verdict="cannot_tell", batch_size=None)

    @property
    def flat_set(self) -> tuple[int, ...]:
        """The batch sizes inside, ascending. It may have holes: what failed is not among them."""
        return tuple(
            size for size, is_in in zip(self.batch_sizes, self.inside, strict=True) if is_in
        )


def decide(
    batch_sizes: Sequence[int],
    log_costs: Array,
    draws: Array,
    *,
    delta: float,
    objective: Objective,
    may_recommend: Sequence[bool],
    all_compared: bool,
    peak_bytes: Sequence[int | None],
    bounds: Sequence[float] = (),
) -> Decision:
    """Compare the costs of batch sizes; smaller is better.

    The upper bound of a batch size's cost over the best is the largest of its bounds against each
    other one; the critical value against each is that at which the bounds of all batch sizes
    against it hold at once in 95 % of the draws. Whichever is truly the best, the bounds against it
    are among them.

    Args:
        batch_sizes: ascending, shape (k,).
        log_costs: estimated log costs, shape (k,).
        draws: log costs as they may truly be, given the runs, shape (n, k).
        delta: tolerance, a fraction > 0.
        objective: for "samples" the largest batch size inside is taken, else the best one.
        may_recommend: which of them were trained enough to be recommended, shape (k,).
        all_compared: whether these are all the batch sizes that fit; only then can it be all the
            same which one is taken.
        peak_bytes: memory of each, shape (k,); the least decides where it is all the same.
        bounds: of batch sizes that are not among them: the least that their log cost can be.

    Source: Hsu 1984, Annals of Statistics 12(3), multiple comparisons with the best; Dunnett 1955.
    """
    k = len(batch_sizes)
    upper, blockers = _upper_bounds(log_costs, draws)
    if bounds:
        open_yet = log_costs - min(bounds)
        blockers = [i if open_yet[i] > upper[i] else blockers[i] for i in range(k)]
        upper = np.maximum(upper, open_yet)
    best = int(np.argmin(log_costs))
    relative = np.exp(log_costs - log_costs[best])
    spread = draws - draws.min(axis=1, keepdims=True)
    low = np.exp(np.quantile(spread, 1 - _CONFIDENCE, axis=0)) if k > 1 else np.ones(1)
    high = np.exp(upper)
    tolerance = np.log1p(delta)
    inside = [bool(bound <= tolerance) for bound in upper]
    eligible = [i for i in range(k) if inside[i] and may_recommend[i]]
    verdict: Verdict = "cannot_tell"
    chosen: int | None = None
    if eligible:
        verdict = "recommend"
        chosen = min(eligible, key=lambda i: (log_costs[i], batch_sizes[i]))
        if objective == "samples":
            chosen = max(eligible)
        elif all_compared and all(inside) and k > 1:
            verdict = "indifferent"
            chosen = min(eligible, key=lambda i: (_or_inf(peak_bytes[i]), batch_sizes[i]))
    contender = int(np.argmin(upper))
    return Decision(
        batch_sizes=tuple(batch_sizes),
        relative=tuple(map(float, relative)),
        low=tuple(map(float, np.minimum(low, relative))),
        high=tuple(map(float, np.maximum(high, relative))),
        inside=tuple(inside),
        verdict=verdict,
        batch_size=None if chosen is None else batch_sizes[chosen],
        contender=batch_sizes[contender],
        blocking=batch_sizes[blockers[contender]],
    )


def _upper_bounds(log_costs: Array, draws: Array) -> tuple[Array, list[int]]:
    """For each batch size the simultaneous bound of its log ratio to the best, and who sets it."""
    k = len(log_costs)
    upper = np.zeros(k)
    blockers = list(range(k))
    for j in range(k):
        others = [i for i in range(k) if i != j]
        if not others:
            break
        error = (draws[:, others] - draws[:, [j]]) - (log_costs[others] - log_costs[j])
        # Upwards alone: draws that a bound cuts off from below are wide on the other side only, and
        # don't make anything else look worse.
        spread = np.sqrt(np.mean(np.maximum(error, 0.0) ** 2, axis=0))
        # Two batch sizes that the draws tie together exactly differ by what they differ by.
        scaled = np.divide(error, spread, out=np.zeros_like(error), where=spread > 0)
        # No bound lies below its estimate, even where few draws lie above it.
        critical = max(0.0, float(np.quantile(scaled.max(axis=1), _CONFIDENCE)))
        bound = log_costs[others] - log_costs[j] + critical * spread
        for i, value in zip(others, bound, strict=True):
            if value > upper[i] or (blockers[i] == i and value > 0):
                upper[i], blockers[i] = value, j
    return upper, blockers


def _or_inf(value: int | None) -> float:
    return float("inf") if value is None else float(value)
