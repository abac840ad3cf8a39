"""EndLevel: what a run ends with, and the level that counts as ending as well.

The question of batchlab is what trains well in the least time, so the level to reach comes from
the end of a training: its plateau, or the last of the passes that were planned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from batchlab.advice.parts import MORE_ERRORS
from batchlab.advice.question import Question
from batchlab.laws.plateau import (
    FRACTION_DELTA,
    FRACTION_METRICS,
    Plateau,
    default_delta,
    plateau_of,
)
from batchlab.records.quantities import Better
from batchlab.records.target import Target
from batchlab.records.trial import TrialRecord

# The last part of a curve that its level is taken from; of one under a rate that falls, where it is
# still rising at three quarters.
TAIL = 0.25
TAIL_OF_A_SHAPE = 0.05
# Of a run that gets worse again: the best mean over so many evaluations in a row.
_IN_A_ROW = 3
# Levels are rounded to the easier side by at most so much of that.
_ROUNDED_BY = 0.2

EndedBy = Literal["plateau", "overfitting", "planned_end"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EndLevel:
    """What a run ends with.

    Attributes:
        value: of the validation metric, a mean over the last quarter of the run, under a
            learning-rate shape over its last twentieth; of one that overfits, over its best
            evaluations in a row. Of several seeds that of the worst.
        n: how many evaluations that is the mean of.
        ended_by: what makes it the end.
        margin: how much worse than it counts as ending as well, > 0, in the metric's unit.
        epochs: passes over the training set of the run: a whole training.
        learning_rate: of the run.
    """

    value: float
    n: int
    ended_by: EndedBy
    margin: float
    epochs: float
    learning_rate: float


def end_level(question: Question, record: TrialRecord, *, planned_steps: int) -> EndLevel | None:
    """What a run of the reference ends with.

    Args:
        question: what was asked; its metric is read on validation data.
        record: the run.
        planned_steps: a training of so many steps is whole.

    Returns:
        None where the run has not come to its end, or failed.
    """
    plateau = plateau_of(record, metric=question.metric, better=question.better)
    is_over = record.has_ended_itself or record.steps >= planned_steps
    is_over = is_over or _is_over(question, record, plateau)
    if record.has_failed or not is_over:
        return None
    # What was getting worse when the budget cut it is judged by its best too.
    gets_worse = plateau.turned or (plateau.worsens and question.longest_epochs is None)
    ended_by: EndedBy = "overfitting" if gets_worse else "plateau"
    if plateau.verdict != "reached":
        ended_by = "planned_end"
    values = last_values(question, record, overfits=ended_by == "overfitting")
    if not values:
        return None
    return _ended(question, record, values, ended_by)


def ends_early(question: Question, record: TrialRecord) -> bool:
    """Whether what a run of the reference ends with is known before the last planned pass.

    If no end is planned, it is known at the plateau; while the run is expected to get worse it is
    trained on, until it has turned: its end is its best then. If one is planned, it is known only
    of a run that gets worse again: from what the rule calls a plateau to a planned end recorded
    losses fell by up to two margins (docs/regret.md). Under a learning-rate shape it never is: the
    curve is flat where the rate is not yet low.
    """
    plateau = plateau_of(record, metric=question.metric, better=question.better)
    return _is_over(question, record, plateau) and not plateau.worsens


def _is_over(question: Question, record: TrialRecord, plateau: Plateau) -> bool:
    if record.trial.horizon_steps is not None:
        return False
    if question.longest_epochs is not None:
        return plateau.turned
    return plateau.verdict == "reached"


def end_so_far(question: Question, record: TrialRecord) -> EndLevel | None:
    """What a run of the reference was at when the budget cut it, as if it had ended there.

    None where it failed, or was not evaluated in its last quarter.
    """
    values = [] if record.has_failed else last_values(question, record, overfits=False)
    return _ended(question, record, values, "planned_end") if values else None


def end_as(question: Question, end: EndLevel, again: TrialRecord) -> EndLevel | None:
    """What another seed of a configuration ends with, read as the first one was.

    Args:
        question: what was asked.
        end: of the first seed.
        again: the other, a run as long.

    Returns:
        None where the other failed, or was not evaluated there.
    """
    values = last_values(question, again, overfits=end.ended_by == "overfitting")
    if not again.ended_well or not values:
        return None
    return replace(_ended(question, again, values, end.ended_by), epochs=end.epochs)


def _ended(
    question: Question, record: TrialRecord, values: Sequence[float], ended_by: EndedBy
) -> EndLevel:
    value = math.fsum(values) / len(values)
    curve = [v for e, v in record.curve("validation", question.metric) if e.step > 0]
    return EndLevel(
        value=value,
        n=len(values),
        ended_by=ended_by,
        margin=margin_of(value, curve, metric=question.metric, better=question.better),
        epochs=record.epochs,
        learning_rate=record.trial.learning_rate,
    )


def last_values(
    question: Question, record: TrialRecord, *, overfits: bool, steps: int | None = None
) -> list[float]:
    """The validation values that a run's end is the mean of.

    Empty where it was not evaluated there, or one of them was not a finite number.

    Args:
        question: what was asked.
        record: the run, as far as it went.
        overfits: whether the reference gets worse again: then the best in a row count, for it is
            stopped there.
        steps: after how many it counts as ended, though it went on; None: where it ended.
    """
    ended = [e.samples for e in record.evaluations if steps is None or e.step <= steps]
    last = max(ended, default=0)
    curve = [
        (evaluation.samples, value)
        for evaluation, value in record.curve("validation", question.metric)
        if 0 < evaluation.step and evaluation.samples <= last
    ]
    if overfits:
        return _best_in_a_row([value for _, value in curve], question)
    tail = TAIL if record.trial.horizon_steps is None else TAIL_OF_A_SHAPE
    first = (1 - tail) * last
    if any(
        first <= e.samples <= last and e.is_not_finite("validation", question.metric)
        for e in record.evaluations
    ):
        return []
    return [value for samples, value in curve if samples >= first]


def margin_beside(value: float, *, metric: str, better: Better, otherwise: float) -> float:
    """How much worse than `value` counts as ending no worse: 5 % more errors.

    The remaining error is known of a metric between 0 and 1 alone, and of an error itself.

    Args:
        value: what the better of the references ends with.
        metric: whose value it is.
        better: its direction.
        otherwise: the margin where the remaining error is not known.
    """
    if better == "higher" and 0 < value < 1:
        return MORE_ERRORS * (1 - value)
    if metric in FRACTION_METRICS and 0 < value < 1:
        return MORE_ERRORS * value
    return otherwise


def margin_of(value: float, curve: Sequence[float], *, metric: str, better: Better) -> float:
    """5 % more errors, or half of what the plateau's rule calls an improvement, whichever is more.

    The remaining error is known of a metric between 0 and 1 alone; a loss has a floor that is not,
    and 5 % of what lies above 0 could be most of what there is to learn.

    Args:
        value: what a run ends with.
        curve: its values, but for the untrained model's.
        metric: whose values they are.
        better: its direction.
    """
    unseen = default_delta(metric, curve) / 2
    if better == "higher" and all(0 <= each <= 1 for each in curve):
        unseen = FRACTION_DELTA / 2  # F1 or a balanced accuracy, by whatever name
    return max(margin_beside(value, metric=metric, better=better, otherwise=unseen), unseen)


def as_well_as(value: float, margin: float, *, metric: str, better: Better) -> Target:
    """The level that counts as ending as well: worse by the margin at most, in round figures.

    Args:
        value: what the reference ends with.
        margin: how much worse counts as well, > 0, in the metric's unit.
        metric: whose value it is.
        better: its direction.
    """
    worse = -1 if better == "higher" else 1
    exact = value + worse * margin
    unit = 10.0 ** math.floor(math.log10(_ROUNDED_BY * margin))
    # A hair's breadth off a round figure is that figure: 0.895 is not 0.894999.
    units = exact / unit - worse * 1e-6
    rounded = (math.floor if worse < 0 else math.ceil)(units) * unit
    # Sums of powers of ten leave a tail: 0.9760000000000001.
    digits = max(0, -math.floor(math.log10(unit)))
    return Target(metric=metric, value=round(rounded, digits), better=better)


def _best_in_a_row(values: Sequence[float], question: Question) -> list[float]:
    n = min(_IN_A_ROW, len(values))
    rows = [list(values[i : i + n]) for i in range(len(values) - n + 1)]
    best = max if question.better == "higher" else min
    return best(rows, key=math.fsum, default=[])
