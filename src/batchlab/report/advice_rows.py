"""The rows of an advice's table, and the runs and figures in them, as they are shown anywhere."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from batchlab.advice.advice import Advice, Candidate, Configuration, RateTried
from batchlab.belief.cell_means import CellMeans
from batchlab.records.estimate import Estimate, Reason
from batchlab.report.advice_words import objective_words
from batchlab.report.text import quantity_text
from batchlab.words.catalogue import text


def has_rate_of(candidate: Candidate, named: Configuration) -> bool:
    """Whether a batch size's estimate is of the learning rate that is named with it."""
    rate = candidate.learning_rate
    return rate is not None and is_same_rate(rate, named.learning_rate)


def runs_of(advice: Advice, batch_size: int, learning_rate: float) -> Iterator[RateTried]:
    """Yield the runs of a configuration."""
    for tried in advice.tried:
        if is_run_of(tried, batch_size, learning_rate):
            yield tried


def is_run_of(run: RateTried, batch_size: int, learning_rate: float) -> bool:
    """Whether it is a run of this batch size and rate."""
    return run.batch_size == batch_size and is_same_rate(run.learning_rate, learning_rate)


def is_same_rate(one: float, other: float) -> bool:
    """Whether two learning rates are one: a lattice of octaves leaves rounding errors."""
    return math.isclose(one, other, rel_tol=1e-9)


# Evaluations further apart than this part of a figure are shown as its interval.
_WIDE = 0.2

# ---- the one figure each of yours and of what is named, wherever it is shown

# Table, picture and bars show the same number.


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFigure:
    """The objective's figure of one run, and whether the run had not reached the target by then."""

    shown: float
    is_bound: bool
    after: float | None = None  # at the evaluation before; it is the middle to the one behind


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownCost:
    """The objective's figure of one configuration."""

    estimate: Estimate  # as it is shown
    is_bound: bool = False  # it is larger than this: some run did not reach the target
    runs: tuple[RunFigure, ...] = ()  # whose mean it is; empty: it is an estimate

    @property
    def value(self) -> float:
        """The figure."""
        assert self.estimate.estimate is not None
        return self.estimate.estimate

    def text(self, quantity: str) -> str:
        """The figure in words, "1.28 s", "at least 9 s"."""
        value = quantity_text(quantity, self.value)
        return text("at least {least}", least=value) if self.is_bound else value


def named_cost(advice: Advice) -> ShownCost | None:
    """Return the figure of what is named; None: nothing is named, or nothing is known of it."""
    named, expected = advice.named, _expected(advice)
    if named is None:
        return None
    return _known(advice, named) if expected is None else ShownCost(estimate=expected)


def own_cost(advice: Advice) -> ShownCost | None:
    """Of the user's configuration as it is: so many times that of what is named."""
    if advice.objective == "quality":
        return _own_quality(advice)
    expected = _expected(advice)
    if expected is not None and not advice.is_usual:  # else the gain is over the best rate
        return _times(advice.gain, expected)
    return _known(advice, advice.reference)


def cost_at(advice: Advice, at: Configuration) -> ShownCost | None:
    """Of any configuration in the table."""
    if advice.named is not None and at.is_same(advice.named):
        return named_cost(advice)
    if at.is_same(advice.reference):
        return own_cost(advice)
    return _known(advice, at)


def run_figures(advice: Advice, candidate: Candidate, runs: Iterable[RateTried]) -> list[RunFigure]:
    """Of single runs of a batch size; how a metric ends is in the figure of whole trainings."""
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
    """Return what is estimated, else the mean of its runs."""
    runs = runs_of(advice, at.batch_size, at.learning_rate)
    return _estimated(advice, at) or _of_runs(advice, at, runs)


def _estimated(advice: Advice, at: Configuration) -> ShownCost | None:
    """What is estimated of a batch size, if that is of this learning rate."""
    candidate = advice.candidate(at.batch_size)
    if candidate is None:
        return None
    cost = objective_words(advice).shown_estimate(candidate.cost)
    known = cost.estimate is not None and has_rate_of(candidate, at)
    return ShownCost(estimate=cost) if known else None


def _expected(advice: Advice) -> Estimate | None:
    """Return what is named is expected to take; None: not known, or no target is asked for."""
    expected = advice.expected
    if expected is None or advice.target is None:
        return None
    of_objective = {"time": expected.time_to_target_s, "samples": expected.samples_to_target}
    found = of_objective.get(advice.objective)
    return None if found is None or found.estimate is None else found


def _times(gain: Estimate, expected: Estimate) -> ShownCost | None:
    """Return this many times what is expected of the configuration that is named."""
    assert expected.estimate is not None
    times = gain.low if gain.estimate is None else gain.estimate
    if times is None:
        return None
    estimate = Estimate.of(times * expected.estimate, n=gain.n)
    return ShownCost(estimate=estimate, is_bound=gain.estimate is None)


def _own_quality(advice: Advice) -> ShownCost | None:
    """Return the metric itself: its distance from perfect is this many times as large."""
    named = advice.named
    candidate = None if named is None else advice.candidate(named.batch_size)
    if named is None or candidate is None or not has_rate_of(candidate, named):
        return None  # the estimate of the batch size is of another rate
    if candidate.cost.estimate is None or advice.gain.estimate is None:
        return None
    distance = advice.gain.estimate * candidate.cost.estimate
    shown = objective_words(advice).shown(distance)
    return ShownCost(estimate=Estimate.of(shown, n=advice.gain.n))


def _of_runs(advice: Advice, at: Configuration, runs: Iterable[RateTried]) -> ShownCost | None:
    """The mean of single runs; where one missed the target, the mean is larger than it looks."""
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
    """A batch size at one learning rate: what it ends with, and what it takes to the target."""

    at: Configuration | None  # None: the batch size has no rate, for nothing was trained with it
    candidate: Candidate
    end: Estimate  # the validation metric at the end of whole trainings
    end_test: float | None  # their mean on test data, which decides nothing; None: not known
    cost: ShownCost | None  # the objective's figure; None: not known
    met: tuple[int, int]  # how many of its runs met the target, and of how many

    @property
    def is_tried(self) -> bool:
        """Whether it was trained, or is the user's own or what is named."""
        return self.at is not None or self.met[1] > 0


def answer_rows(advice: Advice) -> Iterator[AnswerRow]:
    """A row a batch size at its rate; yours as it is, and what is named, have rows of their own."""
    ends = ends_of(advice)
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
            end = ends.mean(at)
            if advice.objective == "quality" and cost is not None:
                end = cost.estimate
            yield AnswerRow(
                at=at,
                candidate=candidate,
                end=end,
                end_test=ends.mean_of_test(at),
                cost=cost,
                met=_met(advice, size, at),
            )


def _met(advice: Advice, batch_size: int, at: Configuration | None) -> tuple[int, int]:
    runs = [run for run in advice.tried if run.batch_size == batch_size]
    if at is not None:
        runs = [run for run in runs if is_run_of(run, batch_size, at.learning_rate)]
    return sum(run.steps_to_target is not None for run in runs), len(runs)


class Ends:
    """What whole trainings of each configuration end with; all of them are judged together."""

    def __init__(self, advice: Advice) -> None:
        """Take the ends of all runs."""
        self._validation: dict[_Cell, list[float]] = {}
        self._test: dict[_Cell, list[float]] = {}
        for run in advice.tried:
            if run.end is not None:
                cell = _cell(run.batch_size, run.learning_rate)
                self._validation.setdefault(cell, []).append(run.end)
                self._test.setdefault(cell, []).extend(_finite([run.end_test]))
        self._places = {cell: i for i, cell in enumerate(self._validation)}
        self._means = CellMeans.of(
            list(self._validation.values()),
            metric=advice.metric,
            better=advice.better,
            n_examples=advice.n_validation,
            end_errors=_finite(run.end_error for run in advice.tried),
        )

    def mean(self, at: Configuration | None) -> Estimate:
        """Return the mean on validation data; its interval has the scatter of all seeds."""
        i = None if at is None else self._places.get(_cell_of(at))
        return _NO_END if i is None else self._means.mean(i)

    def mean_of_test(self, at: Configuration | None) -> float | None:
        """Return the mean on test data; None if it is not known."""
        values = [] if at is None else self._test.get(_cell_of(at), [])
        return statistics.fmean(values) if values else None

    def difference(self, one: Configuration, other: Configuration) -> Estimate:
        """Return the mean of one less that of another; both have ends."""
        return self._means.difference(self._places[_cell_of(one)], self._places[_cell_of(other)])


@lru_cache(maxsize=1)
def ends_of(advice: Advice) -> Ends:
    """Return the ends of an advice, drawn once for its texts, tables and figures."""
    return Ends(advice)


# Batch size, and rate as it is told apart.
_Cell = tuple[int, str]
_NO_END = Estimate.cannot_tell(Reason.of("no_whole_training"))


def _cell(batch_size: int, learning_rate: float) -> _Cell:
    return batch_size, f"{learning_rate:.9g}"


def _cell_of(at: Configuration) -> _Cell:
    return _cell(at.batch_size, at.learning_rate)


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]
