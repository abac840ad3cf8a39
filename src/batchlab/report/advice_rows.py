"""The rows of an advice's table, with the runs and figures that every view of it shows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from batchlab.advice.advice import Advice, Believed, Candidate, Configuration, RateTried
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.advice_words import objective_words
from batchlab.report.text import quantity_text
from batchlab.words.catalogue import text


def has_rate_of(candidate: Candidate, named: Configuration) -> bool:
    """Return whether the estimate of a batch size is for the learning rate of `named`."""
    rate = candidate.learning_rate
    return rate is not None and is_same_rate(rate, named.learning_rate)


def runs_of(advice: Advice, batch_size: int, learning_rate: float) -> Iterator[RateTried]:
    """Yield the runs of a configuration."""
    for tried in advice.tried:
        if is_run_of(tried, batch_size, learning_rate):
            yield tried


def is_run_of(run: RateTried, batch_size: int, learning_rate: float) -> bool:
    """Return whether a run has this batch size and learning rate."""
    return run.batch_size == batch_size and is_same_rate(run.learning_rate, learning_rate)


def is_same_rate(one: float, other: float) -> bool:
    """Return whether two learning rates are equal up to the rounding errors of octaves."""
    return math.isclose(one, other, rel_tol=1e-9)


# If evaluations are further apart than this fraction of a figure, they are shown as its interval.
_WIDE = 0.2

# ---- the objective's figure of one configuration

# Table, picture and bars show the same number.


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFigure:
    """The objective's figure of one run, a lower bound if the run did not reach the target."""

    shown: float
    is_bound: bool
    after: float | None = None  # at the evaluation before; `shown` is in the middle to the next


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownCost:
    """The objective's figure of one configuration."""

    estimate: Estimate  # as it is shown
    is_bound: bool = False  # it is larger than this, because some run did not reach the target
    runs: tuple[RunFigure, ...] = ()  # the runs that it is the mean of; empty for an estimate

    @property
    def value(self) -> float:
        """The figure as a number."""
        assert self.estimate.estimate is not None
        return self.estimate.estimate

    def text(self, quantity: str) -> str:
        """Return the figure in words, such as "1.28 s" or "at least 9 s"."""
        value = quantity_text(quantity, self.value)
        return text("at least {least}", least=value) if self.is_bound else value


def named_cost(advice: Advice) -> ShownCost | None:
    """Return the figure of the named configuration; None if there is none or it is unknown."""
    named, expected = advice.named, _expected(advice)
    if named is None:
        return None
    return _known(advice, named) if expected is None else ShownCost(estimate=expected)


def own_cost(advice: Advice) -> ShownCost | None:
    """Return the figure of the user's configuration as it is: the gain times the named one's."""
    if advice.objective == "quality":
        return _own_quality(advice)
    expected = _expected(advice)
    if expected is not None and not advice.is_usual:  # a usual one's gain is over its best rate
        return _times(advice.gain, expected)
    return _known(advice, advice.reference)


def cost_at(advice: Advice, at: Configuration) -> ShownCost | None:
    """Return the figure of any configuration in the table."""
    if advice.named is not None and at.is_same(advice.named):
        return named_cost(advice)
    if at.is_same(advice.reference):
        return own_cost(advice)
    return _known(advice, at)


def run_figures(advice: Advice, candidate: Candidate, runs: Iterable[RateTried]) -> list[RunFigure]:
    """Return the figures of single runs of a batch size; none without a target or for quality."""
    per_step = {"time": candidate.step_s.estimate, "samples": float(candidate.batch_size)}
    each = per_step.get(advice.objective)
    if each is None or advice.target is None:
        return []
    return [
        RunFigure(
            shown=each * (run.steps_to_target or run.steps),
            is_bound=run.steps_to_target is None,
            after=None if run.after_steps is None else each * run.after_steps,
        )
        for run in runs
    ]


def _known(advice: Advice, at: Configuration) -> ShownCost | None:
    """Return the estimate, or else the mean of the runs."""
    runs = runs_of(advice, at.batch_size, at.learning_rate)
    return _estimated(advice, at) or _of_runs(advice, at, runs)


def _estimated(advice: Advice, at: Configuration) -> ShownCost | None:
    """Return the estimate for a batch size, if it is for this learning rate."""
    candidate = advice.candidate(at.batch_size)
    if candidate is None:
        return None
    cost = objective_words(advice).shown_estimate(candidate.cost)
    known = cost.estimate is not None and has_rate_of(candidate, at)
    return ShownCost(estimate=cost) if known else None


def _expected(advice: Advice) -> Estimate | None:
    """Return the expected figure of the named one; None if it is unknown or there is no target."""
    expected = advice.expected
    if expected is None or advice.target is None:
        return None
    of_objective = {"time": expected.time_to_target_s, "samples": expected.samples_to_target}
    found = of_objective.get(advice.objective)
    return None if found is None or found.estimate is None else found


def _times(gain: Estimate, expected: Estimate) -> ShownCost | None:
    """Return the gain times what is expected of the named configuration."""
    assert expected.estimate is not None
    times = gain.low if gain.estimate is None else gain.estimate
    if times is None:
        return None
    estimate = Estimate.of(times * expected.estimate, n=gain.n)
    return ShownCost(estimate=estimate, is_bound=gain.estimate is None)


def _own_quality(advice: Advice) -> ShownCost | None:
    """Return the metric itself, whose distance from perfect is the gain times the named one's."""
    named = advice.named
    candidate = None if named is None else advice.candidate(named.batch_size)
    if named is None or candidate is None or not has_rate_of(candidate, named):
        return None  # the estimate of the batch size is for another rate
    if candidate.cost.estimate is None or advice.gain.estimate is None:
        return None
    distance = advice.gain.estimate * candidate.cost.estimate
    shown = objective_words(advice).shown(distance)
    return ShownCost(estimate=Estimate.of(shown, n=advice.gain.n))


def _of_runs(advice: Advice, at: Configuration, runs: Iterable[RateTried]) -> ShownCost | None:
    """Return the mean of single runs, a lower bound if one of them missed the target."""
    candidate = advice.candidate(at.batch_size)
    figures = [] if candidate is None else run_figures(advice, candidate, runs)
    if not figures:
        return None
    mean = statistics.fmean(figure.shown for figure in figures)
    low = statistics.fmean(f.shown if f.after is None else f.after for f in figures)
    is_bound = any(figure.is_bound for figure in figures)
    is_wide = not is_bound and 2 * (mean - low) > _WIDE * mean
    interval = (low or None, 2 * mean - low) if is_wide else (None, None)
    return ShownCost(
        estimate=Estimate.of(mean, interval=interval, n=len(figures)),
        is_bound=is_bound,
        runs=tuple(figures),
    )


# ---- the table


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRow:
    """A batch size at one learning rate: its final value, and its cost to the target."""

    at: Configuration | None  # None if the batch size has no rate because it was not trained
    candidate: Candidate
    end: Estimate  # the validation metric at the end of whole trainings
    end_test: float | None  # their mean on test data, which decides nothing; None if not known
    cost: ShownCost | None  # the objective's figure; None if not known
    met: tuple[int, int]  # the number of its runs that met the target, and of all its runs

    @property
    def is_tried(self) -> bool:
        """Whether it was trained, or is the user's own or the named one."""
        return self.at is not None or self.met[1] > 0


def answer_rows(advice: Advice) -> Iterator[AnswerRow]:
    """Yield one row per batch size at its rate, and one each for the user's own and the named."""
    for candidate in advice.candidates:
        size, rate = candidate.batch_size, candidate.learning_rate
        places = [advice.reference, advice.named or advice.reference]
        if rate is not None:
            micro = candidate.micro_batch_size
            tuned = Configuration(batch_size=size, micro_batch_size=micro, learning_rate=rate)
            places.append(tuned)
        found: dict[_Cell, Configuration] = {}
        for place in places:
            if place.batch_size == size:
                found.setdefault(_cell(size, place.learning_rate), place)
        for at in found.values() or [None]:
            cost = None if at is None else cost_at(advice, at)
            known = believed_at(advice, at)
            yield AnswerRow(
                at=at,
                candidate=candidate,
                end=_NO_END if known is None or known.end.n == 0 else known.end,
                end_test=_mean_of_test(advice, at),
                cost=cost,
                met=_met(advice, size, at),
            )


def _mean_of_test(advice: Advice, at: Configuration | None) -> float | None:
    """Return the mean test metric of whole trainings; None if it is not known."""
    runs = () if at is None else runs_of(advice, at.batch_size, at.learning_rate)
    known = [run.end_test for run in runs if run.end is not None and run.end_test is not None]
    return statistics.fmean(known) if known else None


def _met(advice: Advice, batch_size: int, at: Configuration | None) -> tuple[int, int]:
    runs = [run for run in advice.tried if run.batch_size == batch_size]
    if at is not None:
        runs = [run for run in runs if is_run_of(run, batch_size, at.learning_rate)]
    return sum(run.steps_to_target is not None for run in runs), len(runs)


def believed_at(advice: Advice, at: Configuration | None) -> Believed | None:
    """Return what all runs together say of a configuration, or None if nothing was found out."""
    if at is None:
        return None
    cell = _cell(at.batch_size, at.learning_rate)
    same = (b for b in advice.believed if _cell(b.batch_size, b.learning_rate) == cell)
    return next(same, None)


def believed_of_size(advice: Advice, candidate: Candidate) -> Believed | None:
    """Return the same for a batch size: at its rate, or if it has none at the one expected best."""
    own = [b for b in advice.believed if b.batch_size == candidate.batch_size]
    rate = candidate.learning_rate
    at_rate = [b for b in own if rate is not None and is_same_rate(b.learning_rate, rate)]
    return next(iter(at_rate or own), None)


# Batch size, and learning rate rounded to 9 digits.
_Cell = tuple[int, str]
_NO_END = Estimate.cannot_tell(Reason.of("no_whole_training"))


def _cell(batch_size: int, learning_rate: float) -> _Cell:
    return batch_size, f"{learning_rate:.9g}"
