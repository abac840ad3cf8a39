"""StepIntervals: how long a script's steps take, from the moments at which it told of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

# Kernels are picked, caches filled and workers started in the first steps: of the stretches so many
# are warm-up, and at least one.
_WARM_UP_FRACTION = 0.2
# Where fewer stretches than this hold no evaluation, those that do count too.
_FEWEST = 3
# A stretch is at least so long, and so many times as long as its ends are uncertain; of a training
# that is over before, it is one of so many parts.
_PARTS = 10
_SHORTEST_S = 0.05
_TIMES_RESOLUTION = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A moment at which a script told how far it is.

    Attributes:
        at_s: by a monotonic clock, in seconds.
        step: optimizer updates done.
        has_metric: whether the metric came with it, so that an evaluation lies before it.
        resolution_s: how late `at_s` may be; 0.0 where the script itself read the clock.
    """

    at_s: float
    step: int
    has_metric: bool
    resolution_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StepIntervals:
    """Seconds a step, one value for each stretch of the training.

    Attributes:
        warmup_step_s: of the first stretches, which do not count.
        step_s: of the others, in the order they ran.
        with_evaluations: whether these hold the script's evaluations too: it told of its steps
            too seldom, or too fast, to keep them apart.
    """

    warmup_step_s: tuple[float, ...]
    step_s: tuple[float, ...]
    with_evaluations: bool

    @property
    def is_enough(self) -> bool:
        """Whether there are as many as an estimate needs."""
        return len(self.step_s) >= _FEWEST


def step_intervals(moments: Sequence[Moment]) -> StepIntervals:
    """The seconds a step between the moments of one run.

    What lies before a moment with the metric holds the evaluation that gave it, and is left out
    where enough else is there and the clock is fine enough to tell the two apart.

    Args:
        moments: in the order they came.
    """
    pieces = list(_pieces(moments))
    resolution_s = max((moment.resolution_s for moment in moments), default=0.0)
    whole_s = sum(piece.seconds for piece in pieces)
    if whole_s <= _TIMES_RESOLUTION * resolution_s:
        pieces = []  # it came all at once, out of a buffer: these are no times of steps
    shortest_s = min(max(_SHORTEST_S, _TIMES_RESOLUTION * resolution_s), whole_s / _PARTS)
    bare = [piece for piece in pieces if not piece.has_metric]
    stretches = _stretches(bare, shortest_s)
    is_apart = resolution_s == 0.0 or (
        bool(bare)
        and statistics.median(p.seconds for p in bare) >= _TIMES_RESOLUTION * resolution_s
    )
    with_evaluations = len(bare) < len(pieces) and (len(stretches) <= _FEWEST or not is_apart)
    if with_evaluations:
        stretches = _stretches(pieces, shortest_s)
    n_warm = max(1, int(_WARM_UP_FRACTION * len(stretches))) if stretches else 0
    return StepIntervals(
        warmup_step_s=tuple(stretches[:n_warm]),
        step_s=tuple(stretches[n_warm:]),
        with_evaluations=with_evaluations,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """What lies between two moments."""

    seconds: float
    steps: int
    has_metric: bool


def _pieces(moments: Sequence[Moment]) -> Iterator[_Piece]:
    """Between moments at which the step had grown; an evaluation told at the same step ends one."""
    kept: list[Moment] = []
    for moment in moments:
        if kept and moment.step <= kept[-1].step:
            if moment.has_metric and moment.at_s > kept[-1].at_s:
                kept[-1] = moment  # the next piece begins after the evaluation
            continue
        kept.append(moment)
    for before, after in pairwise(kept):
        yield _Piece(
            seconds=after.at_s - before.at_s,
            steps=after.step - before.step,
            has_metric=after.has_metric,
        )


def _stretches(pieces: Sequence[_Piece], shortest_s: float) -> list[float]:
    """Seconds a step of stretches of at least so many seconds; what is left over is left out."""
    found = []
    seconds, steps = 0.0, 0
    for piece in pieces:
        seconds += piece.seconds
        steps += piece.steps
        if seconds >= shortest_s:
            found.append(seconds / steps)
            seconds, steps = 0.0, 0
    return found
