"""Equal budgets: comparing the metric of trials after equal epochs, steps or time."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchlab.belief.final_value import final_value
from batchlab.records.study import Study
from batchlab.records.trial import Evaluation, Split, TrialRecord

NAMES = ("epochs", "steps", "time")


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualBudget:
    """The largest number of epochs, steps or seconds that every compared trial has spent."""

    study: Study
    name: str  # The kind of budget, one of `NAMES`.
    amount: float  # In epochs, steps, or seconds that are computed from the profiled step time.

    def spent_at(self, record: TrialRecord, evaluation: Evaluation) -> float:
        """Return the epochs, steps or seconds that a trial had spent at an evaluation."""
        if self.name == "epochs":
            return record.epoch_of(evaluation)
        if self.name == "steps":
            return float(evaluation.step)
        train_s = self.study.train_s(record.trial, evaluation.step)
        assert train_s is not None, "equal_budget has looked"
        return train_s

    def value(self, record: TrialRecord, split: Split) -> float | None:
        """Return a trial's metric at the moment it had spent the budget, by interpolation.

        The result is None unless the trial was evaluated at the budget, or before and after it.
        """
        curve = self._curve(record, split)
        if not curve:
            return None
        return curve[-1][1]

    def end(self, record: TrialRecord, split: Split) -> float | None:
        """Return the final value of a trial as if the trial had stopped at the budget."""
        if split != "validation":
            return self.value(record, split)
        curve = [point for point in self._curve(record, split) if point[0] > 0]
        better = self.study.workload.metrics[0].better
        return final_value(curve, better=better, keeps_best=record.ended_by_patience)

    def _curve(self, record: TrialRecord, split: Split) -> list[tuple[float, float]]:
        """Return (spent, metric) of the evaluations up to the budget that a final value needs."""
        at, curve = self.amount, [*record.curve(split, self.study.workload.metrics[0].name)]

        def spent(point: tuple[Evaluation, float]) -> float:
            return self.spent_at(record, point[0])

        # The budget ends exactly where the shortest trial ends, so tolerate rounding errors.
        slack, first = 1e-9 * abs(at), 0
        n = bisect_right(curve, at + slack, key=spent)
        if not record.ended_by_patience:  # then the first half of a run is not needed
            first = bisect_left(curve, at / 2 - slack, hi=n, key=spent)
        points = [(spent(point), point[1]) for point in curve[first:n]]
        if n == 0 or spent(curve[n - 1]) >= at - slack:
            return points
        if n == len(curve):
            return []
        (before, earlier), (after, later) = [(spent(p), p[1]) for p in curve[n - 1 : n + 1]]
        return [*points, (at, earlier + (later - earlier) * (at - before) / (after - before))]


def equal_budget(study: Study, records: Sequence[TrialRecord], name: str) -> EqualBudget | None:
    """Return the largest number of epochs, steps or seconds that every trial has spent.

    The result is None if no trial was evaluated, or for "time" if some batch size was not timed.
    """
    if name == "time" and None in [study.timing(record.trial.batch_size) for record in records]:
        return None
    budget = EqualBudget(study=study, name=name, amount=math.inf)
    for record in records:
        if record.evaluations:
            spent = budget.spent_at(record, record.evaluations[-1])
            budget = replace(budget, amount=min(budget.amount, spent))
    return budget if math.isfinite(budget.amount) else None
