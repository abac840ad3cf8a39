"""TargetLevel: the level that counts as trained, where none was given or the one given is too far.

Source: as well as a pilot run of the reference configuration ends; an easier level on the way where
the budget does not reach for it, labelled so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchlab.advice.end_level import EndLevel, as_well_as, end_level, end_so_far
from batchlab.advice.objective import best_value, distance
from batchlab.advice.parts import TargetOrigin
from batchlab.advice.question import Question
from batchlab.laws.plateau import plateau_of
from batchlab.records.evaluation import Evaluation
from batchlab.records.reason import Reason
from batchlab.records.target import Target
from batchlab.records.trial import TrialRecord

# Where a target is out of reach: the level that the best curve had after this part of its run, so
# that slower batch sizes and rates can meet it too in the time that there is.
_EASIER_PLACE = 0.6
# So many margins better is an end that is not better by chance alone.
_CLEARLY = 2.0
# The decision is repeated at the level of the reference's curve this far along the way.
_EASIER_REPEAT_PLACE = 0.6


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetLevel:
    """A target with where it comes from, and why.

    Attributes:
        target: the level.
        origin: where it comes from.
        why: in words.
        end: what the reference ends with; None: that was not seen.
    """

    target: Target
    origin: TargetOrigin
    why: Reason
    end: EndLevel | None = None


def from_pilot(
    question: Question, records: Sequence[TrialRecord], *, planned_steps: int
) -> TargetLevel | None:
    """The level that pilot runs of the reference configuration set; None: they learned nothing.

    Where the reference has come to its end: as well as it ends, or as another of the runs where
    that one ends clearly better; single seeds differ by the margin by chance. Else a level on the
    way there, called easier.

    Args:
        question: what was asked.
        records: runs of the reference batch size; the first is the reference as it is.
        planned_steps: a training of so many steps is whole.
    """
    ends = [end_level(question, record, planned_steps=planned_steps) for record in records]
    if _has_learned_nothing(question, records[0], ends[0]):
        learned = [
            (record, end)
            for record, end in zip(records, ends, strict=True)
            if not _has_learned_nothing(question, record, end)
        ]
        ended = [end for _, end in learned if end is not None]
        if ended:
            return _at_the_end(question, ended[0], _why(ended[0]))
        others = [record for record, _ in learned]
        return easier(question, others, why=_why_no_end(question, others[0])) if others else None
    if ends[0] is None:
        why = _why_no_end(question, records[0])
        # On the way of the reference: another's may lie beyond where the reference ends.
        so_far = end_so_far(question, records[0])
        if so_far is not None and not _has_learned_nothing(question, records[0], so_far):
            cut = _at_the_end(question, so_far, why)
            return replace(cut, origin="easier", end=None)
        return easier(question, records, why=why)
    best = ends[0]
    sign = 1 if question.better == "higher" else -1
    for other in ends[1:]:
        if other is not None and sign * (other.value - best.value) > _CLEARLY * best.margin:
            best = other
    return _at_the_end(question, best, _why(best))


def of_the_worst(question: Question, ends: Sequence[EndLevel]) -> TargetLevel:
    """The level that the worst of several seeds sets: what one ends with, half of all seeds miss.

    Args:
        question: what was asked.
        ends: what a configuration ends with on each of them, at least one.
    """
    sign = 1 if question.better == "higher" else -1
    ranked = sorted(ends, key=lambda end: sign * end.value)
    why = _why(ranked[0])
    if len(ends) > 1:
        why = Reason.of("worst_of_seeds", why=why, n=len(ends), best=ranked[-1].value)
    return _at_the_end(question, ranked[0], why)


def _why_no_end(question: Question, record: TrialRecord) -> Reason:
    """Why what a pilot ends with was not seen."""
    if question.longest_epochs is not None:
        return Reason.of("pilot_was_cut", epochs=record.epochs, planned=question.longest_epochs)
    plateau = plateau_of(record, metric=question.metric, better=question.better)
    return Reason.of("pilot_without_plateau", why=plateau.reason)


def _has_learned_nothing(question: Question, record: TrialRecord, end: EndLevel | None) -> bool:
    """Whether the untrained model meets the level of this end, or is about as good all the way."""
    if end is None:
        plateau = plateau_of(record, metric=question.metric, better=question.better)
        return plateau.reason.code == "flat_as_untrained"
    start = untrained_value(record, question.metric)
    return start is not None and _at_the_end(question, end, _why(end)).target.met_by(start)


def _at_the_end(question: Question, end: EndLevel, why: Reason) -> TargetLevel:
    metric, better = question.metric, question.better
    target = as_well_as(end.value, end.margin, metric=metric, better=better)
    return TargetLevel(target=target, origin="pilot", why=why, end=end)


def _why(end: EndLevel) -> Reason:
    value, n, margin = end.value, end.n, end.margin
    if end.ended_by == "overfitting":
        return Reason.of("ends_before_overfitting", level=value, n=n, margin=margin)
    if end.ended_by == "planned_end":
        return Reason.of("ends_as_planned", level=value, n=n, margin=margin)
    return Reason.of("ends_at_plateau", level=value, n=n, margin=margin)


def easier(
    question: Question, records: Sequence[TrialRecord], *, why: Reason
) -> TargetLevel | None:
    """A level that the best of these runs met after `_EASIER_PLACE` of its way, or None.

    None where no run got better than the untrained model.
    """
    best: float | None = None
    for record in records:
        if record.has_failed:
            continue
        level = best_value(
            record,
            question.metric,
            question.better,
            within_samples=_EASIER_PLACE * record.samples,
        )
        start = untrained_value(record, question.metric)
        if level is None or not (start is None or _is_better(level, start, question)):
            continue
        if best is None or _is_better(level, best, question):
            best = level
    if best is None:
        return None
    target = Target(metric=question.metric, value=best, better=question.better)
    return TargetLevel(target=target, origin="easier", why=why)


def nearest_to_target(records: Sequence[TrialRecord], question: Question) -> TrialRecord:
    """The run whose best validation value is the best of all."""
    return min(records, key=lambda record: distance(record, question.metric, question.better))


def neighbours(target: Target, records: Sequence[TrialRecord]) -> tuple[Target, Target] | None:
    """An easier and a harder target: the curves' level at 0.6 of the way, and as far beyond / 2.

    The harder one leaves at least half of the errors.

    Args:
        target: the one decided at.
        records: runs that met it.

    Returns:
        (easier, harder), or None where the curves are flat there.
    """
    levels = []
    for record in records:
        crossing = record.crossing(target)
        if crossing is None:
            continue
        level = best_value(
            record,
            target.metric,
            target.better,
            within_samples=_EASIER_REPEAT_PLACE * crossing.samples,
        )
        if level is not None:
            levels.append(level)
    if not levels:
        return None
    level = sorted(levels)[len(levels) // 2]
    if target.met_by(level):
        return None
    beyond = target.value + (target.value - level) / 2
    # No harder than half of the errors that it leaves, where these are known.
    if target.better == "higher" and 0 < target.value < 1:
        beyond = min(beyond, (1 + target.value) / 2)
    elif target.better == "lower" and target.value > 0:
        beyond = max(beyond, target.value / 2)
    return (
        replace(target, value=level),
        replace(target, value=beyond),
    )


def untrained_value(record: TrialRecord, metric: str) -> float | None:
    """The metric before the first step."""
    first: Evaluation | None = record.evaluations[0] if record.evaluations else None
    if first is None or first.step != 0:
        return None
    return first.score("validation", metric)


def _is_better(level: float, other: float, question: Question) -> bool:
    return level > other if question.better == "higher" else level < other
