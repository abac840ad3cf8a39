"""Habits beside whole trainings: what people do instead of asking, each charged for what it runs.

Each begins as the advice does: it trains the reference once, to its end or for half of the budget,
and takes the level from what it ends with.
"""

from __future__ import annotations

import importlib.util
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import CellKey
from benchmarks.regret.whole_level import Curve, end_of, level_of
from benchmarks.regret.whole_situation import WholeSituation

from batchlab.advice.run_log import usual_interval_samples
from batchlab.errors import TrialError
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Target, TrialRecord
from batchlab.runs.contract import run_all

# Rates from about two decades below the reference rate to two above it are drawn.
USUAL_OCTAVES = 6
# A run that was stopped counts as slower than any that was not.
_STOPPED = 1e9
# Of the budget, for the training of the reference that the level comes from.
_MOST_FOR_THE_LEVEL = 1 / 2
# A batch size is free while its step takes at most so many times the smallest one's.
FREE_STEP = 1.5
MOST_DRAWN = 500
# Successive halving goes on with one in so many, for so many times longer.
KEPT_ONE_IN, N_RUNGS = 3, 4


@dataclass(frozen=True, kw_only=True)
class Named:
    """What a habit comes to.

    Attributes:
        cell: what it names; None: it was not recorded.
        spent_s: what it ran.
    """

    cell: CellKey | None
    spent_s: float


Habit = Callable[[WholeSituation, float, int], Named]
"""From a situation, a budget in seconds and the number of a draw."""


class Proposals(Protocol):
    """Proposes configurations, one after the other, and hears how long each took."""

    def ask(self) -> CellKey:
        """A batch size of the grid, and a rate that may not have been recorded."""

    def tell(self, seconds: float) -> None:
        """How long what was asked for last takes to the level; infinite: it was stopped."""


class Even:
    """Batch sizes and octaves drawn evenly."""

    def __init__(self, situation: WholeSituation, seed: int) -> None:
        self._situation = situation
        self._stream = random.Random(seed)

    def ask(self) -> CellKey:
        """Any of them."""
        octave = self._stream.randint(-USUAL_OCTAVES, USUAL_OCTAVES)
        sizes = self._situation.grid.batch_sizes
        return self._stream.choice(sizes), self._situation.reference[1] * 2.0**octave

    def tell(self, seconds: float) -> None:
        """Nothing is learned."""


class Tpe:
    """The tree-structured Parzen estimator of Optuna, over the doublings of both.

    Source: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization".

    Optuna is no dependency of batchlab: `pip install optuna` (5.0 was used) where this is run.
    """

    def __init__(self, situation: WholeSituation, seed: int) -> None:
        import optuna  # type: ignore[import-not-found,unused-ignore]

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._situation = situation
        last = len(situation.grid.batch_sizes) - 1
        self._space: dict[str, Any] = {
            "place": optuna.distributions.IntDistribution(0, last),
            "octave": optuna.distributions.IntDistribution(-USUAL_OCTAVES, USUAL_OCTAVES),
        }
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        self._trial: Any = None

    def ask(self) -> CellKey:
        """One of those that are likely to be among the fastest."""
        self._trial = self._study.ask(self._space)
        found = self._trial.params
        size = self._situation.grid.batch_sizes[found["place"]]
        return size, self._situation.reference[1] * 2.0 ** found["octave"]

    def tell(self, seconds: float) -> None:
        """Learn from it; stopped is slower than anything."""
        self._study.tell(self._trial, math.log(seconds) if math.isfinite(seconds) else _STOPPED)


class _Search:
    """One habit at work: its engine, what is left of its budget, and the level it goes for."""

    def __init__(self, situation: WholeSituation, budget_s: float) -> None:
        self.situation = situation
        self.engine: RecordedEngine = situation.engine()
        self._budget_s = budget_s
        self.lost_s = 0.0  # on rates that were not recorded
        self.level: Target | None = None
        self._reference_end: float | None = None
        self._margin = math.inf
        size = situation.reference[0]
        whole = situation.whole_steps(size)
        most_s = _MOST_FOR_THE_LEVEL * budget_s
        # As often as the advice does: whoever tunes by hand doesn't pay more for it.
        self._interval_samples = usual_interval_samples(
            self.engine, size, whole_samples=situation.header.epochs * situation.header.n_train
        )
        self.fraction = min(1.0, most_s / self.engine.expected_s(size, self._length(whole)))
        steps = math.floor(self.fraction * whole)
        curve = _curve(situation, self.run(situation.reference, seed=0, steps=steps))
        header = situation.header
        better, keeps_best = header.better, header.keeps_best
        if (end := end_of(curve, better=better, keeps_best=keeps_best)) is not None:
            level = level_of([curve], metric=header.metric, better=better, keeps_best=keeps_best)
            self.level, self._margin, self._reference_end = level.target, level.margin, end

    @property
    def left_s(self) -> float:
        return self._budget_s - self.spent_s

    @property
    def spent_s(self) -> float:
        return self.engine.spent_s() + self.lost_s

    def run(
        self, cell: CellKey, *, seed: int, steps: int, until: Target | None = None
    ) -> TrialRecord:
        trial = self.engine.trial(batch_size=cell[0], learning_rate=cell[1], seed=seed)
        request = RunRequest(trial=trial, length=self._length(max(1, steps), until))
        (record,) = run_all(self.engine, [request])
        return record

    def _length(self, steps: int, until: Target | None = None) -> RunLength:
        return RunLength(steps=steps, until=until, interval_samples=self._interval_samples)

    def time_s(self, cell: CellKey, *, seed: int, best_s: float) -> float:
        """Seconds to the level; infinite where that takes longer than the best, or what is left."""
        step_s = self.situation.step_s[cell[0]]
        most_s = min(best_s, self.left_s)
        steps = min(math.ceil(most_s / step_s), self.situation.whole_steps(cell[0]))
        assert self.level is not None
        if most_s <= 0:
            return math.inf
        crossing = self.run(cell, seed=seed, steps=steps, until=self.level).crossing(self.level)
        return math.inf if crossing is None else crossing.middle * step_s

    def confirming_steps(self, cell: CellKey) -> int:
        return math.ceil(self.fraction * self.situation.whole_steps(cell[0]))

    def confirming_s(self, cell: CellKey) -> float:
        return self.engine.expected_s(cell[0], self._length(self.confirming_steps(cell)))

    def ends_no_worse(self, cell: CellKey, *, seed: int) -> bool:
        """Whether one more training, as long as the reference's, ends as that did."""
        steps = self.confirming_steps(cell)
        curve = _curve(self.situation, self.run(cell, seed=seed, steps=steps))
        header = self.situation.header
        end = end_of(curve, better=header.better, keeps_best=header.keeps_best)
        if end is None or self._reference_end is None:
            return False
        sign = 1 if header.better == "higher" else -1
        return sign * (self._reference_end - end) <= self._margin

    def named(self, cell: CellKey | None) -> Named:
        return Named(cell=cell, spent_s=self.spent_s)


def _reference(situation: WholeSituation, budget_s: float, draw: int) -> Named:
    return Named(cell=situation.reference, spent_s=0.0)


def _tuned(batch_size_of: Callable[[WholeSituation], int]) -> Habit:
    def habit(situation: WholeSituation, budget_s: float, draw: int) -> Named:
        """Climb from the linearly scaled rate, an octave at a time, one seed each."""
        search = _Search(situation, budget_s)
        if search.level is None:
            return search.named(situation.reference)
        size = batch_size_of(situation)
        rates = situation.grid.learning_rates(size)
        scaled = situation.reference[1] * size / situation.reference[0]
        place = min(range(len(rates)), key=lambda i: abs(math.log(rates[i] / scaled)))
        times = {place: search.time_s((size, rates[place]), seed=0, best_s=math.inf)}
        while True:
            best = min(times, key=lambda i: (times[i], i))
            beside = [i for i in (best - 1, best + 1) if 0 <= i < len(rates) and i not in times]
            if not beside or search.left_s <= 0:
                break
            cell = size, rates[beside[0]]
            times[beside[0]] = search.time_s(cell, seed=0, best_s=min(times.values()))
        met = math.isfinite(times[best])
        return search.named((size, rates[best]) if met else situation.reference)

    return habit


def free_batch_size(situation: WholeSituation) -> int:
    """The largest whose step takes at most 1.5 times the smallest one's."""
    most_s = FREE_STEP * situation.step_s[min(situation.step_s)]
    return max(size for size, step_s in situation.step_s.items() if step_s <= most_s)


def searched(proposals_of: Callable[[WholeSituation, int], Proposals], *, followed: float) -> Habit:
    """A search over batch sizes and rates whose winner is confirmed.

    A rate above the recorded ones fails at once, for nothing; one below them costs what it takes to
    see that it is slow. The winner is trained once more, for as long as the reference was: where it
    ends worse by more than the margin, the next one is, while the budget lasts.

    Args:
        proposals_of: what it tries next, from the situation and the number of a draw.
        followed: a run is stopped after so many times what the fastest so far took.
    """

    def habit(situation: WholeSituation, budget_s: float, draw: int) -> Named:
        search = _Search(situation, budget_s)
        if search.level is None:
            return search.named(situation.reference)
        proposals = proposals_of(situation, draw)
        times: dict[CellKey, float] = {}
        whole_s = search.fraction * situation.whole_reference_s
        for _ in range(MOST_DRAWN):
            # What is kept back confirms.
            if search.left_s <= whole_s:
                break
            size, rate = proposals.ask()
            most_s = followed * min(times.values(), default=math.inf)
            cell, time_s = _recorded(situation, size, rate), math.inf
            if cell is None:
                search.lost_s += _lost_s(situation, size, rate, min(most_s, whole_s))
            else:
                time_s = (
                    times[cell] if cell in times else search.time_s(cell, seed=0, best_s=most_s)
                )
            if cell is not None and math.isfinite(time_s):
                times[cell] = time_s
            proposals.tell(time_s)
        for cell in sorted(times, key=lambda cell: times[cell]):
            if search.confirming_s(cell) > search.left_s:
                break
            if search.ends_no_worse(cell, seed=1):
                return search.named(cell)
        return search.named(situation.reference)

    return habit


def _successive_halving(situation: WholeSituation, budget_s: float, draw: int) -> Named:
    """Many for a short time, the best third for three times as long, four times over.

    All of a rung get the same seconds; the best validation value counts. Of the last rung the
    fastest to the level is named.
    """
    search = _Search(situation, budget_s)
    if search.level is None:
        return search.named(situation.reference)
    proposals = Even(situation, draw)
    longest_s = min(situation.whole_reference_s, search.left_s / N_RUNGS)
    first_s = longest_s / KEPT_ONE_IN ** (N_RUNGS - 1)
    n_first = math.floor(search.left_s / (N_RUNGS * first_s))
    drawn = [proposals.ask() for _ in range(min(n_first, MOST_DRAWN))]
    cells: list[CellKey] = []
    for size, rate in drawn:
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
            cells = ranked[: max(1, math.ceil(len(drawn) / KEPT_ONE_IN ** (rung + 1)))]
            seconds *= KEPT_ONE_IN
    times = {cell: search.time_s(cell, seed=0, best_s=math.inf) for cell in ranked}
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
    record = search.run(cell, seed=0, steps=min(steps, situation.whole_steps(cell[0])))
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
    "reference, tuned": _tuned(lambda situation: situation.reference[0]),
    "256, tuned": _tuned(lambda situation: 256),
    "512, tuned": _tuned(lambda situation: 512),
    "largest free, tuned": _tuned(free_batch_size),
    "successive halving": _successive_halving,
    "random search, confirmed": searched(Even, followed=1.0),
}
# Left out where Optuna is not installed. It learns from what is slower, too.
if importlib.util.find_spec("optuna") is not None:
    WHOLE_HABITS["TPE, confirmed"] = searched(Tpe, followed=2.0)
