"""Habits beside whole trainings: what people do instead of asking, each charged for what it runs.

Each begins as the advice does: it trains the reference once, to its end or for half of the budget,
and takes the level from what it ends with.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import CellKey, Curve
from benchmarks.regret.whole_situation import WholeSituation, end_of, level_of

from batchlab.advice.run_log import usual_interval_samples
from batchlab.errors import TrialError
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Target, TrialRecord
from batchlab.runs.contract import run_all

# Rates from about two decades below the reference rate to two above it are drawn.
USUAL_OCTAVES = 6
# Of the budget, for the training of the reference that the level comes from.
_MOST_FOR_THE_LEVEL = 1 / 2
MOST_DRAWN = 500
# Successive halving goes on with one in so many, for so many times longer.
KEPT_ONE_IN, N_RUNGS = 3, 4


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What was named, by the advice or by a habit; what it says of the fields is there."""

    cell: CellKey | None  # None: it was not recorded
    spent_s: float  # what was run
    origin: str = ""
    problem: str = ""
    chance: float | None = None
    gain: tuple[float | None, float | None, float | None] = (None, None, None)
    level: Target | None = None
    n_sizes: int | None = None


Habit = Callable[[WholeSituation, float, int], Reply]
"""From a situation, a budget in seconds and the number of a draw."""


class _Search:
    """One habit at work: its engine, what is left of its budget, and the level it goes for."""

    def __init__(self, situation: WholeSituation, budget_s: float) -> None:
        self.situation = situation
        self.engine: RecordedEngine = situation.engine()
        self._budget_s = budget_s
        self.lost_s = 0.0  # on rates that were not recorded
        self.level: Target | None = None
        size = situation.reference[0]
        whole = situation.whole_steps(size)
        most_s = _MOST_FOR_THE_LEVEL * budget_s
        # As often as the advice does: whoever tunes by hand doesn't pay more for it.
        self._interval_samples = usual_interval_samples(
            self.engine, size, whole_samples=situation.header.epochs * situation.header.n_train
        )
        fraction = min(1.0, most_s / self.engine.expected_s(size, self._length(whole)))
        steps = math.floor(fraction * whole)
        curve = _curve(situation, self.run(situation.reference, steps=steps))
        if end_of(curve, situation.header) is not None:
            self.level = level_of([curve], situation.header).target

    @property
    def left_s(self) -> float:
        return self._budget_s - self.spent_s

    @property
    def spent_s(self) -> float:
        return self.engine.spent_s() + self.lost_s

    def run(self, cell: CellKey, *, steps: int, until: Target | None = None) -> TrialRecord:
        trial = self.engine.trial(batch_size=cell[0], learning_rate=cell[1], seed=0)
        request = RunRequest(trial=trial, length=self._length(max(1, steps), until))
        (record,) = run_all(self.engine, [request])
        return record

    def _length(self, steps: int, until: Target | None = None) -> RunLength:
        return RunLength(steps=steps, until=until, interval_samples=self._interval_samples)

    def time_s(self, cell: CellKey, *, best_s: float = math.inf) -> float:
        """Seconds to the level; infinite where that takes longer than the best, or what is left."""
        step_s = self.situation.step_s[cell[0]]
        most_s = min(best_s, self.left_s)
        steps = min(math.ceil(most_s / step_s), self.situation.whole_steps(cell[0]))
        assert self.level is not None
        if most_s <= 0:
            return math.inf
        crossing = self.run(cell, steps=steps, until=self.level).crossing(self.level)
        return math.inf if crossing is None else crossing.middle * step_s

    def named(self, cell: CellKey | None) -> Reply:
        return Reply(cell=cell, spent_s=self.spent_s)


def _reference(situation: WholeSituation, budget_s: float, draw: int) -> Reply:
    return Reply(cell=situation.reference, spent_s=0.0)


def _all_once(situation: WholeSituation, budget_s: float, draw: int) -> Reply:
    """Name the best of all recorded configurations by one training of each, whatever they cost.

    It is the fastest to the level that the training of the reference sets, of those that end at
    most a margin worse. No advice of few trainings can see as much.
    """
    grid, own = situation.grid, situation.reference
    seen = {cell: [s for s in situation.seen if s in grid.cells[cell]][:1] for cell in grid.cells}
    level = level_of([grid.runs[*own, seen[own][0]].curve], grid.header)
    times = {own: situation.time_s(own, seen[own], level.target)}
    for cell, seeds in seen.items():
        end = situation.end(cell, seeds)
        if end is not None and level.is_met_by(end):
            times[cell] = situation.time_s(cell, seeds, level.target)
    return Reply(cell=min(times, key=lambda cell: (times[cell], cell)), spent_s=budget_s)


def _tuned(batch_size: int | None) -> Habit:
    def habit(situation: WholeSituation, budget_s: float, draw: int) -> Reply:
        """Climb from the linearly scaled rate, an octave at a time, one seed each."""
        search = _Search(situation, budget_s)
        if search.level is None:
            return search.named(situation.reference)
        size = batch_size or situation.reference[0]
        rates = situation.grid.learning_rates(size)
        scaled = situation.reference[1] * size / situation.reference[0]
        place = min(range(len(rates)), key=lambda i: abs(math.log(rates[i] / scaled)))
        times = {place: search.time_s((size, rates[place]))}
        while True:
            best = min(times, key=lambda i: (times[i], i))
            beside = [i for i in (best - 1, best + 1) if 0 <= i < len(rates) and i not in times]
            if not beside or search.left_s <= 0:
                break
            cell = size, rates[beside[0]]
            times[beside[0]] = search.time_s(cell, best_s=min(times.values()))
        met = math.isfinite(times[best])
        return search.named((size, rates[best]) if met else situation.reference)

    return habit


def _successive_halving(situation: WholeSituation, budget_s: float, draw: int) -> Reply:
    """Many for a short time, the best third for three times as long, four times over.

    All of a rung get the same seconds; the best validation value counts. Of the last rung the
    fastest to the level is named.
    """
    search = _Search(situation, budget_s)
    if search.level is None:
        return search.named(situation.reference)
    stream = random.Random(draw)
    longest_s = min(situation.whole_reference_s, search.left_s / N_RUNGS)
    first_s = longest_s / KEPT_ONE_IN ** (N_RUNGS - 1)
    n_first = math.floor(search.left_s / (N_RUNGS * first_s))
    n_drawn = min(n_first, MOST_DRAWN)
    cells: list[CellKey] = []
    for _ in range(n_drawn):
        octave = stream.randint(-USUAL_OCTAVES, USUAL_OCTAVES)
        size = stream.choice(situation.grid.batch_sizes)
        rate = situation.reference[1] * 2.0**octave
        cell = _recorded(situation, size, rate)
        if cell is None:
            search.lost_s += _lost_s(situation, size, rate, first_s)
        elif cell not in cells:
            cells.append(cell)
    seconds = first_s
    for rung in range(N_RUNGS):
        values = {cell: _best_within(search, cell, seconds) for cell in cells}
        ranked = sorted(
            (cell for cell in cells if math.isfinite(values[cell])), key=lambda c: -values[c]
        )
        if rung < N_RUNGS - 1:
            cells = ranked[: max(1, math.ceil(n_drawn / KEPT_ONE_IN ** (rung + 1)))]
            seconds *= KEPT_ONE_IN
    times = {cell: search.time_s(cell) for cell in ranked}
    met = [cell for cell in ranked if math.isfinite(times[cell])]
    best = min(met, key=lambda cell: times[cell], default=situation.reference)
    return search.named(best)


def _best_within(search: _Search, cell: CellKey, seconds: float) -> float:
    """The best validation value within so many seconds, signed so that higher is better."""
    situation = search.situation
    seconds = min(seconds, search.left_s)
    steps = math.floor(seconds / situation.step_s[cell[0]])
    if steps < 1:
        return -math.inf
    record = search.run(cell, steps=min(steps, situation.whole_steps(cell[0])))
    if record.has_failed:
        return -math.inf
    sign = 1 if situation.header.better == "higher" else -1
    values = [value for step, value in _curve(situation, record) if value is not None]
    return max(sign * value for value in values)


def _lost_s(situation: WholeSituation, batch_size: int, rate: float, seconds: float) -> float:
    """What a rate costs that was not recorded: too high, nothing; too low, the time to see it."""
    return seconds if rate < situation.grid.learning_rates(batch_size)[0] else 0.0


def _recorded(situation: WholeSituation, batch_size: int, learning_rate: float) -> CellKey | None:
    try:
        return situation.grid.cell(batch_size, learning_rate)
    except TrialError:
        return None


def _curve(situation: WholeSituation, record: TrialRecord) -> Curve:
    metric = situation.header.metric
    return [(each.step, each.score("validation", metric)) for each in record.evaluations]


WHOLE_HABITS: dict[str, Habit] = {
    "reference": _reference,
    "reference, tuned": _tuned(None),
    "256, tuned": _tuned(256),
    "successive halving": _successive_halving,
    "all once": _all_once,
}
