"""Habits: what people do instead of measuring, each a choice made on the seeds that may be seen."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from benchmarks.recorded.grid import CellKey
from benchmarks.regret.situation import Situation

from batchlab.errors import TrialError
from batchlab.records.run import RunLength, RunRequest
from batchlab.runs.contract import run_all

# Runs that are stopped early cost little: without an end to it, a draw could come again for ever.
MOST_DRAWN = 500
USUAL_OCTAVES = 6

Habit = Callable[[Situation, float, int], CellKey | None]
"""From a situation, a budget in seconds and the number of a draw: a cell, None: off the grid."""


def _at_default_rate(batch_size: int) -> Habit:
    def habit(situation: Situation, budget_s: float, draw: int) -> CellKey | None:
        return _recorded(situation, batch_size, situation.reference[1])

    return habit


def _at_tuned_rate(batch_size: int) -> Habit:
    def habit(situation: Situation, budget_s: float, draw: int) -> CellKey | None:
        """With no limit to its budget: the best rate over all seeds that may be seen."""
        rates = situation.grid.learning_rates(batch_size)
        return situation.best([(batch_size, rate) for rate in rates])

    return habit


def _largest_with_linear_scaling(
    situation: Situation, budget_s: float, draw: int
) -> CellKey | None:
    largest = situation.grid.batch_sizes[-1]
    batch_size, rate = situation.reference
    return _recorded(situation, largest, rate * largest / batch_size)


def _random_search(situation: Situation, budget_s: float, draw: int) -> CellKey | None:
    """Batch sizes and rates drawn evenly from a usual range; what cannot win is stopped.

    A rate above those that were recorded fails at once, for nothing; one below them is too slow to
    win, and costs what it takes to see that.
    """
    return _searched(situation, budget_s, draw, rates_of=lambda batch_size: _usual_rates(situation))


def _random_search_of_recorded(situation: Situation, budget_s: float, draw: int) -> CellKey | None:
    """The same among the recorded rates alone, as if told where the good ones are."""
    return _searched(situation, budget_s, draw, rates_of=situation.grid.learning_rates)


def _searched(
    situation: Situation,
    budget_s: float,
    draw: int,
    *,
    rates_of: Callable[[int], Sequence[float]],
) -> CellKey | None:
    stream = random.Random(draw)
    engine = situation.engine()
    target = situation.grid.target
    best, best_s, lost_s = None, math.inf, 0.0
    for _ in range(MOST_DRAWN):
        left_s = budget_s - engine.spent_s() - lost_s
        if left_s <= 0:
            break
        batch_size = stream.choice(situation.grid.batch_sizes)
        rate = stream.choice(rates_of(batch_size))
        seed = stream.randrange(len(situation.seen))
        step_s = situation.step_s[batch_size]
        recorded = _recorded(situation, batch_size, rate)
        if recorded is None:
            if rate < situation.grid.learning_rates(batch_size)[0]:
                lost_s += min(best_s, situation.grid.cut_steps(batch_size) * step_s)
            continue
        trial = engine.trial(batch_size=batch_size, learning_rate=rate, seed=seed)
        length = RunLength(steps=max(1, math.ceil(min(best_s, left_s) / step_s)), until=target)
        (record,) = run_all(engine, [RunRequest(trial=trial, length=length)])
        crossing = record.crossing(target)
        if crossing is not None and crossing.step * step_s < best_s:
            best, best_s = recorded, crossing.step * step_s
    return best


def _usual_rates(situation: Situation) -> Sequence[float]:
    """Octaves of the reference rate, about two decades to each side."""
    return [
        situation.reference[1] * 2.0**octave for octave in range(-USUAL_OCTAVES, USUAL_OCTAVES + 1)
    ]


HABITS: dict[str, Habit] = {
    "32, default rate": _at_default_rate(32),
    "32, tuned rate": _at_tuned_rate(32),
    "128, default rate": _at_default_rate(128),
    "128, tuned rate": _at_tuned_rate(128),
    "largest, linear scaling": _largest_with_linear_scaling,
    "random search": _random_search,
}
# Not among the habits: nobody is told which rates are good. It shows what that knowledge is worth.
TOLD_THE_RATES: Habit = _random_search_of_recorded


def _recorded(situation: Situation, batch_size: int, learning_rate: float) -> CellKey | None:
    """The cell, None where it was not recorded: beyond the rates at which training fails."""
    try:
        return situation.grid.cell(batch_size, learning_rate)
    except TrialError:
        return None
