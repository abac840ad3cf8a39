"""Target, Crossing: the level of a metric that counts as trained, and where a curve met it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchlab.records.evaluation import Evaluation
from batchlab.records.quantities import Better


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The level of a validation metric that counts as trained.

    Attributes:
        metric: name of the metric.
        value: the level to reach.
        better: whether the metric goes up or down.
        held_for: it is met where it holds until so many times more examples have been processed;
            0: at the first touch, for curves that were recorded no further.
    """

    metric: str
    value: float
    better: Better
    held_for: float = 0.1

    def met_by(self, value: float | None) -> bool:
        """Whether `value` is at least as good as the target; None (unknown) is not."""
        if value is None:
            return False
        return value >= self.value if self.better == "higher" else value <= self.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """Where a validation metric met its target to stay: after `after_step`, at or before `step`.

    To stay: every evaluation met it until a tenth more examples had been processed. A curve
    wobbles, and the first touch of a level near its end is luck.

    Attributes:
        after_step: the last evaluation before it, where the target was not met (0: none before).
        step: the first evaluation of those that met the target.
        samples: examples processed by then.
        held_until_step: the evaluation at which it had held for a tenth more examples; None: the
            run ended before, at the target.
        touched_step: the first evaluation of all that met the target, to stay or not.
    """

    after_step: int
    step: int
    samples: int
    held_until_step: int | None
    touched_step: int

    @property
    def held(self) -> bool:
        """Whether it held for a tenth more examples."""
        return self.held_until_step is not None

    def would_hold_at(self, samples: int, target: Target) -> bool:
        """Whether an evaluation after so many examples that met it would say that it held."""
        return samples - self.samples >= target.held_for * self.samples

    @property
    def middle(self) -> float:
        """The steps to the target: the middle of the two evaluations that it lies between."""
        return (self.after_step + self.step) / 2


def crossing_of(evaluations: Sequence[Evaluation], target: Target) -> Crossing | None:
    """Where `target` was met on validation data to stay, or to the last evaluation; None: nowhere.

    Args:
        evaluations: of one run, by step.
        target: the level to look for.
    """
    before, here, touched = 0, None, None
    for evaluation in evaluations:
        value = evaluation.score("validation", target.metric)
        if value is None:
            if evaluation.is_not_finite("validation", target.metric):
                before, here = evaluation.step, None  # no number meets a level
            continue
        if here is not None and not target.held_for:
            return replace(here, held_until_step=evaluation.step)
        if not target.met_by(value):
            before, here = evaluation.step, None
        elif here is None:
            touched = evaluation.step if touched is None else touched
            here = Crossing(
                after_step=before,
                step=evaluation.step,
                samples=evaluation.samples,
                held_until_step=None,
                touched_step=touched,
            )
        elif here.would_hold_at(evaluation.samples, target):
            return replace(here, held_until_step=evaluation.step)
    return here
