"""StepIntervals: how long a script's steps take, from the moments at which it told of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# Kernels are picked, caches filled and workers started in the first steps: of the intervals so many
# are warm-up, and at least one.
_WARM_UP_FRACTION = 0.2
# Where fewer intervals than this hold no evaluation, those that do count too.
_FEWEST = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A moment at which a script told how far it is.

    Attributes:
        at_s: by a monotonic clock, in seconds.
        step: optimizer updates done.
        has_metric: whether the metric came with it, so that an evaluation lies before it.
    """

    at_s: float
    step: int
    has_metric: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class StepIntervals:
    """Seconds a step, one value for each stretch between two moments.

    Attributes:
        warmup_step_s: of the first stretches, which do not count.
        step_s: of the others, in the order they ran.
        with_evaluations: whether these hold the script's evaluations too: it told of its steps
            too seldom to keep them apart.
    """

    warmup_step_s: tuple[float, ...]
    step_s: tuple[float, ...]
    with_evaluations: bool

    @property
    def is_enough(self) -> bool:
        """Whether there are as many as an estimate needs."""
        return len(self.step_s) >= _FEWEST

    @property
    def timed_s(self) -> float:
        """The middle of the stretches that count, in seconds a step; at least one is there."""
        return statistics.median(self.step_s)


def step_intervals(moments: Sequence[Moment]) -> StepIntervals:
    """The seconds a step between the moments of one run.

    A stretch that ends with the metric holds the evaluation that gave it, and is left out where
    enough others are there.

    Args:
        moments: in the order they came; those without a new step are put to the one before.
    """
    steps = [moments[0]] if moments else []
    for moment in moments[1:]:
        if moment.step > steps[-1].step:
            steps.append(moment)
        elif moment.has_metric:
            # The next stretch begins after the evaluation.
            steps[-1] = moment
    found = [
        ((after.at_s - before.at_s) / (after.step - before.step), after.has_metric)
        for before, after in pairwise(steps)
        if after.at_s > before.at_s
    ]
    bare = [step_s for step_s, has_metric in found if not has_metric]
    with_evaluations = len(bare) <= _FEWEST
    chosen = [step_s for step_s, _ in found] if with_evaluations else bare
    n_warm = max(1, int(_WARM_UP_FRACTION * len(chosen))) if chosen else 0
    return StepIntervals(
        warmup_step_s=tuple(chosen[:n_warm]),
        step_s=tuple(chosen[n_warm:]),
        with_evaluations=with_evaluations and any(has_metric for _, has_metric in found),
    )
