"""The target that pilot runs set: the reference's final value, made one margin easier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from batchlab.advice.advice import Question
from batchlab.advice.run_log import why_it_failed
from batchlab.belief.margin import margin_of
from batchlab.laws.plateau import (
    FRACTION_DELTA,
    STARTED_DELTAS,
    MetricPlateau,
    default_delta,
    plateau_of,
)
from batchlab.records.estimate import Reason
from batchlab.records.quantities import Better
from batchlab.records.trial import Target, TrialRecord

# With fewer steps and fewer epochs than these, a plateau may be temporary, so train further.
_FEWEST_STEPS, _FEWEST_EPOCHS = 2000, 32
# Targets are rounded to the easier side, by at most this fraction of `EndLevel.margin`.
_ROUNDED_BY = 0.2


EndedBy = Literal["end", "overfitting", "cut"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EndLevel:
    """The final value of the run that sets the target and the length of whole trainings."""

    value: float  # The final value of the validation metric (see `belief.final_value`).
    ended_by: EndedBy  # "end" (planned end or plateau), "overfitting", "cut" (budget).
    why: Reason  # The reason to set the target from this value.
    margin: float  # A value worse by up to this (in the metric's unit, > 0) counts as no worse.
    epochs: float  # Passes over the training set in the run.
    learning_rate: float  # The learning rate of the run.


def end_level(question: Question, record: TrialRecord, *, planned_steps: int) -> EndLevel | None:
    """Return the final value of a reference run, or None if the run failed or is unfinished."""
    plateau = plateau_of(record, metric=question.metric, better=question.better)
    is_planned = record.has_ended_itself or record.steps >= planned_steps
    if record.has_failed or not (is_planned or _is_over(question, record, plateau)):
        return None
    # Without planned epochs, a run that was getting worse at its end counts as overfitting.
    is_worse = plateau.turned or (plateau.worsens and question.planned_epochs is None)
    overfits = plateau.verdict == "reached" and is_worse
    return _ended(question, record, "overfitting" if overfits else "end")


def ends_early(question: Question, record: TrialRecord) -> bool:
    """Return whether a reference run shows its final value before its planned end.

    A run that overfits does: its final value is its best value, and it is trained until the metric
    is clearly worse. A run that reaches a plateau does only if no end is planned, because in
    recorded runs losses still fell after the plateau. A run with a learning-rate schedule never
    does, because the metric improves when the rate falls.
    """
    plateau = plateau_of(record, metric=question.metric, better=question.better)
    return _is_over(question, record, plateau) and not plateau.worsens


def _is_over(question: Question, record: TrialRecord, plateau: MetricPlateau) -> bool:
    if record.trial.horizon_steps is not None:
        return False
    return plateau.turned or (question.planned_epochs is None and has_settled(record, plateau))


def has_settled(record: TrialRecord, plateau: MetricPlateau) -> bool:
    """Return whether a run got worse after its best value, or reached a plateau.

    A plateau counts only after `_FEWEST_STEPS` steps or `_FEWEST_EPOCHS` epochs.
    """
    is_long = record.steps >= _FEWEST_STEPS or record.epochs >= _FEWEST_EPOCHS
    return plateau.turned or (plateau.verdict == "reached" and is_long)


def end_so_far(question: Question, record: TrialRecord) -> EndLevel | None:
    """Return the final value of a run that was cut, or None if the run failed or has no value."""
    return None if record.has_failed else _ended(question, record, "cut")


def _ended(question: Question, record: TrialRecord, ended_by: EndedBy) -> EndLevel | None:
    metric, end = question.metric, question.final_value(record, ended_by == "overfitting")
    if end is None:
        return None
    margin = question.margin or margin_of(
        end,
        metric=metric,
        better=question.better,
        untrained=untrained_value(record, metric),
        n_examples=question.n_validation,
    )
    why = Reason.of("as_well_as_reference", metric=metric, value=end)
    planned = question.planned_epochs
    if ended_by == "cut" and planned is not None:
        why = Reason.of("pilot_was_cut", epochs=record.epochs, planned=planned)
    elif ended_by == "cut":
        plateau = plateau_of(record, metric=metric, better=question.better)
        why = Reason.of("pilot_without_plateau", why=plateau.reason)
    return EndLevel(
        value=end,
        ended_by=ended_by,
        why=why,
        margin=margin,
        epochs=record.epochs,
        learning_rate=record.trial.learning_rate,
    )


def _delta(question: Question, record: TrialRecord) -> float:
    """Return the least difference that the plateau rule counts as an improvement."""
    curve = question.values(record) or [0.0]
    if question.better == "higher" and 0 <= min(curve) <= max(curve) <= 1:
        return FRACTION_DELTA  # values within 0 and 1 count as a fraction, such as F1
    return default_delta(question.metric, curve)


def as_well_as(value: float, margin: float, *, metric: str, better: Better) -> Target:
    """Return the target that is worse than `value` by `margin`, rounded to the easier side."""
    worse = -1 if better == "higher" else 1
    exact = value + worse * margin
    unit = 10.0 ** math.floor(math.log10(_ROUNDED_BY * margin))
    # Tolerate floating-point errors: 0.8949999999 counts as 0.895 instead of dropping to 0.894.
    units = exact / unit - worse * 1e-6
    rounded = worse * math.ceil(worse * units) * unit
    # Remove floating-point tails such as in 0.9760000000000001.
    digits = max(0, -math.floor(math.log10(unit)))
    return Target(metric=metric, value=round(rounded, digits), better=better)


# A run has learned nothing if its accuracy rose by at most this fraction of 1 - final accuracy.
_HARDLY = 0.05
# A run that improved by less than this fraction of the best run's improvement hardly learns.
_SHARE = 0.5


class Pilots:
    """The pilot runs, one of which sets the target; the reference's own run comes first."""

    def __init__(
        self, question: Question, records: Sequence[TrialRecord], *, planned_steps: int
    ) -> None:
        """Compute how much each run improved on the untrained model.

        The improvement of a run that failed or was not evaluated after step 0 is -inf.
        """
        self._question, self._records = question, records
        self._values = [_best_value(question, record) for record in records]
        self._ends = [end_level(question, run, planned_steps=planned_steps) for run in records]
        # A run that improved by less than `clear` is hardly better than the untrained model.
        clear, start = _delta(question, records[0]), untrained_value(records[0], question.metric)
        if start is not None:
            clear *= STARTED_DELTAS
        else:
            # If the untrained model was not evaluated, measure improvements from the worst first
            # value of all runs, because a run may learn most before its first evaluation.
            firsts = [curve[0] for curve in map(question.values, records) if curve]
            start = min(firsts, key=lambda value: question.sign * value, default=0.0)
        gains = question.sign * np.array(self._values) - question.sign * start
        self._most = int(gains.argmax())
        self.best, most = records[self._most].trial, float(gains[self._most])
        best_delta = _delta(question, records[self._most])
        is_near = bool(gains[0] < clear)
        self._are_near = is_near and most < STARTED_DELTAS * best_delta
        # Try higher rates if three facts hold: the reference hardly improved; the highest rate was
        # best; and either all runs improved little, or the best run improved far more than all
        # others.
        is_highest = self.best.learning_rate == max(r.trial.learning_rate for r in records)
        by_far = np.count_nonzero(gains >= _SHARE * most) == 1
        self.is_open = is_highest and is_near and (self._are_near or by_far)
        # The runs that improved by at least `clear`, or by at least half as much as the best run.
        self._learned = []
        for index in np.flatnonzero(gains >= min(clear, _SHARE * most)).tolist():
            if not _has_learned_nothing(question, records[index], self._ends[index]):
                self._learned.append(index)

    @property
    def hardly_learns(self) -> Reason | None:
        """Why the reference configuration hardly learns; None if it learns.

        If another learning rate learns, the reason also names that rate.
        """
        reference, metric = self._records[0], self._question.metric
        if 0 in self._learned or not (reference.has_failed or math.isfinite(self._values[0])):
            return None
        if reference.has_failed:
            reason = Reason.of("own_fails", why=why_it_failed(reference))
        else:
            first, value = self._question.values(reference)[0], self._values[0]
            reason = Reason.of(
                "hardly_learns", metric=metric, epochs=reference.epochs, value=value, first=first
            )
        if not self._learned or self._are_near:
            return reason
        rate, value = self.best.learning_rate, self._values[self._most]
        return Reason.of("another_rate_learns", why=reason, metric=metric, rate=rate, value=value)

    @property
    def end(self) -> EndLevel | None:
        """The final value that sets the target: the best run's if the reference hardly learns.

        None if no run learned, or if all runs learned little and a higher rate may learn more. The
        final value of a run that was cut is the value at the cut.
        """
        question = self._question
        if not self._learned:
            return None
        if 0 in self._learned:
            record, end = self._records[0], self._ends[0]
        elif self.is_open and self._are_near:
            return None
        else:
            record = self._records[self._most]
            ended = [*filter(None, map(self._ends.__getitem__, self._learned))]
            end = max(ended, key=lambda end: question.sign * end.value, default=None)
        if end is None:
            end = end_so_far(question, record)
            if end is None or _has_learned_nothing(question, record, end):
                return None
        return end


def _best_value(question: Question, record: TrialRecord) -> float:
    value = question.final_value(record, keeps_best=True)
    if record.has_failed or value is None:
        return -question.sign * math.inf
    return value


def level_of_ends(question: Question, end: EndLevel, ends: Sequence[float]) -> Target:
    """Return the target: the mean of the final values `ends`, worsened by the margin of `end`."""
    mean = math.fsum(ends) / len(ends)
    return as_well_as(mean, end.margin, metric=question.metric, better=question.better)


def _has_learned_nothing(question: Question, record: TrialRecord, end: EndLevel | None) -> bool:
    """Return whether a run hardly beats the untrained model.

    Compare its final value `end` or, if that is None, check whether its values stayed the same.
    """
    if end is None:
        plateau = plateau_of(record, metric=question.metric, better=question.better)
        return plateau.reason.code == "flat_as_untrained"
    start = untrained_value(record, question.metric)
    if start is None:
        return False
    least = _delta(question, record) / 2
    if question.better == "higher" and 0 < end.value < 1:
        least = max(least, _HARDLY * (1 - end.value))
    return question.sign * (end.value - start) <= least


def untrained_value(record: TrialRecord, metric: str) -> float | None:
    """Return the metric at step 0, or None if step 0 was not evaluated."""
    if not record.evaluations or record.evaluations[0].step > 0:
        return None
    return record.evaluations[0].score("validation", metric)
