"""The level that counts as trained, and the level that counts as ending as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchlab.advice.advice import EndedBy, EndLevel, Question, TargetOrigin
from batchlab.advice.run_log import why_it_failed
from batchlab.belief.final_value import final_of
from batchlab.belief.margin import margin_of
from batchlab.laws.plateau import (
    FRACTION_DELTA,
    STARTED_DELTAS,
    Plateau,
    default_delta,
    plateau_of,
)
from batchlab.records.estimate import Reason
from batchlab.records.quantities import Better
from batchlab.records.trial import Target, TrialRecord

# A curve may rest on its way: with fewer steps and epochs than these a plateau may be such a rest.
_FEWEST_STEPS, _FEWEST_EPOCHS = 2000, 32
# Levels are rounded to the easier side by at most so much of that.
_ROUNDED_BY = 0.2


def end_level(question: Question, record: TrialRecord, *, planned_steps: int) -> EndLevel | None:
    """What a run of the reference ends with; None: it has not come to its end, or failed."""
    plateau = plateau_of(record, metric=question.metric, better=question.better)
    is_planned = record.has_ended_itself or record.steps >= planned_steps
    if record.has_failed or not (is_planned or _is_over(question, record, plateau)):
        return None
    # What was getting worse when the budget cut it is judged by its best too.
    gets_worse = plateau.turned or (plateau.worsens and question.longest_epochs is None)
    ended_by: EndedBy = "overfitting" if gets_worse else "plateau"
    if plateau.verdict != "reached":
        ended_by = "planned_end"
    return _ended(question, record, ended_by)


def ends_early(question: Question, record: TrialRecord) -> bool:
    """Whether what a run of the reference ends with is known before the last planned pass.

    If no end is planned, it is known at the plateau; while the run is expected to get worse it is
    trained on, until it has turned: its end is its best then. If one is planned, it is known only
    of a run that gets worse again: from what the rule calls a plateau to a planned end recorded
    losses fell by up to two margins. Under a learning-rate shape it never is: the curve is flat
    where the rate is not yet low.
    """
    plateau = plateau_of(record, metric=question.metric, better=question.better)
    return _is_over(question, record, plateau) and not plateau.worsens


def _is_over(question: Question, record: TrialRecord, plateau: Plateau) -> bool:
    if record.trial.horizon_steps is not None:
        return False
    return plateau.turned or (question.longest_epochs is None and has_settled(record, plateau))


def has_settled(record: TrialRecord, plateau: Plateau) -> bool:
    """Whether a run has turned, or is at a plateau that is no rest on its way."""
    is_long = record.steps >= _FEWEST_STEPS or record.epochs >= _FEWEST_EPOCHS
    return plateau.turned or (plateau.verdict == "reached" and is_long)


def end_so_far(question: Question, record: TrialRecord) -> EndLevel | None:
    """Return what a run was at when the budget cut it; None if it failed or was not evaluated."""
    return None if record.has_failed else _ended(question, record, "planned_end")


def _ended(question: Question, record: TrialRecord, ended_by: EndedBy) -> EndLevel | None:
    keeps_best = ended_by == "overfitting"
    metric, better = question.metric, question.better
    found = final_of(record, "validation", metric, better, keeps_best=keeps_best)
    if found is None:
        return None
    margin = question.margin or margin_of(
        found,
        metric=metric,
        better=better,
        untrained=untrained_value(record, metric),
        n_examples=question.n_validation,
    )
    return EndLevel(
        value=found,
        ended_by=ended_by,
        margin=margin,
        epochs=record.epochs,
        learning_rate=record.trial.learning_rate,
    )


def _delta(curve: Sequence[float], *, metric: str, better: Better) -> float:
    """What the plateau's rule calls an improvement."""
    if better == "higher" and all(0 <= each <= 1 for each in curve):
        return FRACTION_DELTA  # F1 or a balanced accuracy, by whatever name
    return default_delta(metric, curve)


def as_well_as(value: float, margin: float, *, metric: str, better: Better) -> Target:
    """The level that counts as ending as well: worse by the margin at most, in round figures."""
    worse = -1 if better == "higher" else 1
    exact = value + worse * margin
    unit = 10.0 ** math.floor(math.log10(_ROUNDED_BY * margin))
    # A hair's breadth off a round figure is that figure: 0.895 is not 0.894999.
    units = exact / unit - worse * 1e-6
    rounded = (math.floor if worse < 0 else math.ceil)(units) * unit
    # Sums of powers of ten leave a tail: 0.9760000000000001.
    digits = max(0, -math.floor(math.log10(unit)))
    return Target(metric=metric, value=round(rounded, digits), better=better)


# Where a target is out of reach: the level that the best curve had after this part of its run, so
# that slower batch sizes and rates can meet it too in the time that there is.
_EASIER_PLACE = 0.6
# What gained no more than this part of the errors that remain has learned nothing.
_HARDLY = 0.05
# What gained less than this share of what another rate did hardly learns.
_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetLevel:
    """A target with where it comes from, and why."""

    target: Target  # the level
    origin: TargetOrigin  # where it comes from
    why: Reason  # in words
    end: EndLevel | None = None  # what the reference ends with; None: that was not seen


class Pilots:
    """Runs of the reference batch size that may set the level, the reference's own first."""

    def __init__(
        self, question: Question, records: Sequence[TrialRecord], *, planned_steps: int
    ) -> None:
        """Judge how much better than untrained each got.

        One that failed, or was not evaluated after its first step, is infinitely worse.
        """
        sign, metric = question.sign, question.metric
        curves = [[v for _, v in record.curve("validation", metric)] for record in records]
        self._question, self._records = question, records
        self._values = [_best_value(question, record) for record in records]
        self._ends = [end_level(question, each, planned_steps=planned_steps) for each in records]
        untrained = untrained_value(records[0], metric)
        # Not seen untrained, they are measured from the worst of their first evaluations.
        firsts = [curve[0] for curve in curves if curve] if untrained is None else [untrained]
        start = min((sign * first for first in firsts), default=0.0)
        gains = [sign * value - start for value in self._values]
        most = max(gains)
        self._most = gains.index(most)
        self.best = records[self._most].trial  # what gained the most
        # The untrained model is nearly as good as what gained less.
        delta, best_delta = (
            _delta(curve or [0.0], metric=metric, better=question.better)
            for curve in (curves[0], curves[self._most])
        )
        # What was not seen untrained may have learned the most before it was first evaluated.
        clear = delta if untrained is None else STARTED_DELTAS * delta
        self._are_near = gains[0] < clear and most < STARTED_DELTAS * best_delta
        # Whether a higher rate may gain more: the highest gained by far the most, or all little.
        is_highest = self.best.learning_rate == max(r.trial.learning_rate for r in records)
        by_far = sum(gain >= _SHARE * most for gain in gains) == 1
        self.is_open = is_highest and gains[0] < clear and (self._are_near or by_far)
        # Those that got clearly better, or gained not much less than another rate.
        self._learned = [
            index
            for index, (record, end) in enumerate(zip(records, self._ends, strict=True))
            if gains[index] >= min(clear, _SHARE * most)
            and not _has_learned_nothing(question, record, end)
        ]

    @property
    def hardly_learns(self) -> Reason | None:
        """That the reference hardly learns, and which rate does; None: it learns."""
        own, metric = self._records[0], self._question.metric
        curve = list(own.curve("validation", metric))
        if 0 in self._learned or not (own.has_failed or math.isfinite(self._values[0])):
            return None
        if own.has_failed:
            why = Reason.of("own_fails", why=why_it_failed(own))
        else:
            evaluation, first = curve[0]
            seen = Reason.of("seen_at_first", metric=metric, value=first)
            if evaluation.step == 0:
                seen = Reason.of("seen_untrained", metric=metric, value=first)
            epochs, value = own.epochs, self._values[0]
            why = Reason.of("hardly_learns", metric=metric, epochs=epochs, value=value, seen=seen)
        if not self._learned or self._are_near:
            return why
        rate, value = self.best.learning_rate, self._values[self._most]
        return Reason.of("another_rate_learns", why=why, metric=metric, rate=rate, value=value)

    @property
    def level(self) -> TargetLevel | None:
        """The level that they set; None: they learned nothing, or hardly, the highest rate most.

        Where the reference has come to its end: as well as it ends. Else what it was at when it was
        cut, called easier. Where it hardly learns: as the best of the others.
        """
        question, own, best = self._question, self._records[0], self._ends[0]
        if 0 not in self._learned:
            if not self._learned or (self.is_open and self._are_near):
                return None
            ended = [end for index in self._learned if (end := self._ends[index]) is not None]
            if ended:
                best = max(ended, key=lambda end: question.sign * end.value)
                return _at_the_end(question, best, _why(best, question.metric))
            others = [self._records[index] for index in self._learned]
            return easier(question, others, why=_why_no_end(question, others[0]))
        if best is None:
            why = _why_no_end(question, own)
            # On the way of the reference: another's may lie beyond where the reference ends.
            so_far = end_so_far(question, own)
            if so_far is not None and not _has_learned_nothing(question, own, so_far):
                cut = _at_the_end(question, so_far, why)
                return replace(cut, origin="easier", end=None)
            return easier(question, self._records, why=why)
        return _at_the_end(question, best, _why(best, question.metric))


def _best_value(question: Question, record: TrialRecord) -> float:
    metric, better = question.metric, question.better
    value = final_of(record, "validation", metric, better, keeps_best=True)
    if record.has_failed or value is None:
        return -question.sign * math.inf
    return value


def level_of_ends(question: Question, end: EndLevel, ends: Sequence[float]) -> Target:
    """The level that several trainings of one configuration set: as well as they end on average."""
    mean = math.fsum(ends) / len(ends)
    return as_well_as(mean, end.margin, metric=question.metric, better=question.better)


def _why_no_end(question: Question, record: TrialRecord) -> Reason:
    """Why what a pilot ends with was not seen."""
    if question.longest_epochs is not None:
        return Reason.of("pilot_was_cut", epochs=record.epochs, planned=question.longest_epochs)
    plateau = plateau_of(record, metric=question.metric, better=question.better)
    return Reason.of("pilot_without_plateau", why=plateau.reason)


def _has_learned_nothing(question: Question, record: TrialRecord, end: EndLevel | None) -> bool:
    """Whether a run ends hardly better than untrained, or is about as good all the way."""
    if end is None:
        plateau = plateau_of(record, metric=question.metric, better=question.better)
        return plateau.reason.code == "flat_as_untrained"
    start = untrained_value(record, question.metric)
    if start is None:
        return False
    curve = [value for _, value in record.curve("validation", question.metric)]
    least = _delta(curve, metric=question.metric, better=question.better) / 2
    if question.better == "higher" and 0 < end.value < 1:
        least = max(least, _HARDLY * (1 - end.value))
    return question.sign * (end.value - start) <= least


def _at_the_end(question: Question, end: EndLevel, why: Reason) -> TargetLevel:
    target = as_well_as(end.value, end.margin, metric=question.metric, better=question.better)
    return TargetLevel(target=target, origin="pilot", why=why, end=end)


def _why(end: EndLevel, metric: str) -> Reason:
    value = end.value
    if end.ended_by == "overfitting":
        return Reason.of("ends_before_overfitting", level=value, metric=metric)
    if end.ended_by == "planned_end":
        return Reason.of("ends_as_planned", level=value, metric=metric)
    return Reason.of("ends_at_plateau", level=value, metric=metric)


def easier(
    question: Question, records: Sequence[TrialRecord], *, why: Reason
) -> TargetLevel | None:
    """A level that the best of these runs met on its way; None: none beat the untrained model."""
    levels = []
    for record in records:
        level = question.best_value(record, within_samples=_EASIER_PLACE * record.samples)
        start = untrained_value(record, question.metric)
        if level is not None and not record.has_failed:
            if start is None or question.sign * (level - start) > 0:
                levels.append(level)
    if not levels:
        return None
    best = max(levels, key=lambda level: question.sign * level)
    target = Target(metric=question.metric, value=best, better=question.better)
    return TargetLevel(target=target, origin="easier", why=why)


def untrained_value(record: TrialRecord, metric: str) -> float | None:
    """The metric before the first step."""
    first = next(iter(record.evaluations), None)
    return first.score("validation", metric) if first and first.step == 0 else None
