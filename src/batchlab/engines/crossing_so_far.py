"""CrossingSoFar: where a curve that is still told has met its target, at the same cost each time.

`crossing_of` looks at all evaluations; asked after each of thousands, that is most of the work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from batchlab.records.evaluation import Evaluation
from batchlab.records.target import Crossing, Target


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossingSoFar:
    """What the evaluations until now say of a target.

    Attributes:
        target: the level to look for.
        crossing: what `crossing_of` says of the same evaluations.
    """

    target: Target
    crossing: Crossing | None = None
    _missed_at: int = 0
    _touched_at: int | None = None

    def after(self, evaluation: Evaluation) -> CrossingSoFar:
        """What they say with one more, at a later step."""
        here = self.crossing
        if here is not None and here.held:
            return self
        value = evaluation.score("validation", self.target.metric)
        if value is None:
            if evaluation.is_not_finite("validation", self.target.metric):
                return replace(self, crossing=None, _missed_at=evaluation.step)
            return self
        if here is not None and not self.target.held_for:
            return replace(self, crossing=replace(here, held_until_step=evaluation.step))
        if not self.target.met_by(value):
            return replace(self, crossing=None, _missed_at=evaluation.step)
        if here is None:
            return self._first_met(evaluation)
        if here.would_hold_at(evaluation.samples, self.target):
            return replace(self, crossing=replace(here, held_until_step=evaluation.step))
        return self

    def _first_met(self, evaluation: Evaluation) -> CrossingSoFar:
        touched_at = evaluation.step if self._touched_at is None else self._touched_at
        crossing = Crossing(
            after_step=self._missed_at,
            step=evaluation.step,
            samples=evaluation.samples,
            held_until_step=None,
            touched_step=touched_at,
        )
        return replace(self, crossing=crossing, _touched_at=touched_at)
