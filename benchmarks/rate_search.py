"""The search for learning rates beside Optuna's, on recorded grids, at the same cost.

    python -m benchmarks.rate_search [--workloads mlp-narrow ...] [--draws 20]

For each workload x batch size x draw of seeds, from two starts: how much longer the rate that a
search chose takes than the best recorded rate of that batch size, which is chosen on the seeds that
may be seen; both are valued on the seeds held back. `advise`'s search decides how many runs it
makes; the others are stopped at that cost, and at 1.5 and 2 times it. A run under way then is
finished with a chance of the share of it that is paid for, so that the mean cost is the same.

All searches see the same recorded runs, limits and starts. Asked for a rate again, the others see
its next seed, and they choose the rate with the least mean over its runs.

Optuna is no dependency of batchlab: `pip install optuna` (5.0 was used) where this is run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from benchmarks.regret.situation import Situation, situation

from batchlab.advice.parts import Configuration
from batchlab.advice.question import Question
from batchlab.advice.run_log import RunLog, steps_to
from batchlab.advice.seed_plan import SeedPlan
from batchlab.advice.tuning import CANNOT_WIN, RateSearch
from batchlab.engines.contract import run_all
from batchlab.engines.recorded import RecordedEngine
from batchlab.engines.recorded_grid import CellKey, RecordedGrid
from batchlab.records.run import RunRequest
from batchlab.records.run_length import RunLength
from batchlab.records.trial import Trial, TrialRecord

GRIDS = Path(__file__).parent / "regret"
RESULTS = Path(__file__).parent / "results" / "rate_search.json"
BATCH_SIZES = (16, 64, 256, 1024, 4096)
# Costs and times are compared at one batch size, so the step times drop out.
PROFILE = "cpu"
WIDE_OCTAVES = 13
OWN = "advise"
START, EVERY_RATE = "the start, no search", "every recorded rate, one seed"
STARTS = ("cold", "warm")
LATTICES = ("recorded", "wide")
MULTIPLES = (1.0, 1.5, 2.0)
GROUP = ("workload", "batch_size", "start", "lattice", "who", "seeds", "multiple")
# The best of the settings tried: from the first evaluation on, Optuna's pruner stops slow starters,
# which good rates often are; and it waits for five whole runs, when a search of rates is over.
PRUNER_WAITS = 0.3
# Known rates and rates that fail cost nothing: without an end to it, a search could ask for ever.
_MOST_ASKED = 40
_NO_END_S = 1e9
_BOOTSTRAPS = 2000


# ---- what is searched


@dataclass(frozen=True, kw_only=True)
class Case:
    """One search to be made.

    Attributes:
        drawn: the grid, with its seeds split in two.
        batch_size: the one whose rate is sought.
        start: "cold": the recorded rate nearest to the reference rate; "warm": one an octave off
            the best, on a side drawn by lot.
        lattice: "recorded": the search is told which rates were recorded; "wide": it may ask for
            any of 13 octaves, and what was not recorded fails at no cost.
        draw: seeds what the searches leave to chance.
    """

    drawn: Situation
    batch_size: int
    start: str
    lattice: str
    draw: int

    @property
    def reference_rate(self) -> float:
        """The workload's own rate."""
        return self.drawn.grid.header.reference_learning_rate

    @property
    def recorded(self) -> list[int]:
        """The recorded rates, in octaves above the reference rate."""
        return octaves_of(self.drawn.grid, [self.batch_size])

    @property
    def octaves(self) -> list[int]:
        """The rates that may be asked for, ascending."""
        if self.lattice == "recorded":
            return self.recorded
        # All that was recorded of the workload at any batch size, in their middle.
        known = octaves_of(self.drawn.grid, self.drawn.grid.batch_sizes)
        first = (known[0] + known[-1] + 1 - WIDE_OCTAVES) // 2
        return list(range(first, first + WIDE_OCTAVES))

    @property
    def start_octave(self) -> int:
        """Where a search begins; it was recorded."""
        if self.start == "cold":
            return min(self.recorded, key=lambda octave: (abs(octave), octave))
        best = round(math.log2(self.best[1] / self.reference_rate))
        beside = [octave for octave in (best - 1, best + 1) if octave in self.recorded]
        return random.Random(self.draw).choice(beside or [best])

    @property
    def cells(self) -> list[CellKey]:
        """The recorded cells of the batch size."""
        grid = self.drawn.grid
        return [(self.batch_size, rate) for rate in grid.learning_rates(self.batch_size)]

    @property
    def best(self) -> CellKey:
        """The cell that is fastest on the seeds that may be seen."""
        return self.drawn.best(self.cells)

    @property
    def limit_steps(self) -> int:
        """No run goes further: there, the recordings of this batch size were cut."""
        return math.ceil(self.drawn.grid.cut_steps(self.batch_size))

    @property
    def training_s(self) -> float:
        """Mean seconds of one training at the best rate, over all seeds."""
        return min(self.drawn.seconds_to_target(c, self.drawn.grid.seeds) for c in self.cells)

    @property
    def n_common_seeds(self) -> int:
        """How many of the first seeds that may be seen every cell has."""
        cells = self.drawn.grid.cells.values()
        return sum(all(seed in seeds for seeds in cells) for seed in self.drawn.seen)

    def rate(self, octave: int) -> float:
        """The rate so many octaves above the reference rate."""
        return self.reference_rate * math.exp2(octave)

    def engine(self) -> LatticeEngine:
        """A fresh engine that offers the rates of the lattice."""
        rates = [self.rate(octave) for octave in self.octaves]
        return LatticeEngine(self.drawn, rates=rates)

    def excess(self, octave: int | None) -> float:
        """How much longer the rate takes than the best one, a fraction; infinite: it fails."""
        if octave is None or octave not in self.recorded:
            return math.inf
        cell = self.drawn.grid.cell(self.batch_size, self.rate(octave))
        value_s, best_s = (
            self.drawn.seconds_to_target(each, self.drawn.held_back) for each in (cell, self.best)
        )
        return value_s / best_s - 1


def octaves_of(grid: RecordedGrid, batch_sizes: Collection[int]) -> list[int]:
    """The recorded rates of these batch sizes, in octaves above the reference rate, ascending."""
    rates = {rate for size in batch_sizes for rate in grid.learning_rates(size)}
    return sorted({round(math.log2(rate / grid.header.reference_learning_rate)) for rate in rates})


class LatticeEngine(RecordedEngine):
    """A recorded engine that also takes rates that were not recorded: they fail at no cost."""

    def __init__(self, drawn: Situation, *, rates: Sequence[float]) -> None:
        """Answer from the seeds of `drawn` that may be seen, at any of `rates`."""
        super().__init__(drawn.grid, seeds=drawn.seen, step_s=drawn.step_s)
        self._lattice = tuple(rates)

    def learning_rates(self, batch_size: int) -> Sequence[float]:
        """The rates of the lattice."""
        return self._lattice

    def trial(self, *, batch_size: int, learning_rate: float, seed: int) -> Trial:
        """The trial of these three, recorded or not."""
        recorded = self._grid.learning_rates(batch_size)
        near = min(recorded, key=lambda rate: abs(math.log(rate / learning_rate)))
        trial = super().trial(batch_size=batch_size, learning_rate=near, seed=seed)
        if math.isclose(near, learning_rate, rel_tol=1e-6):
            return trial
        return replace(trial, learning_rate=learning_rate)


# ---- what a search came to


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a search would answer once it has spent so much.

    Attributes:
        octave: the rate it chose, above the reference rate; None: none met the target.
        spent_s: what its runs have cost by then.
    """

    octave: int | None
    spent_s: float


def own_choices(case: Case) -> tuple[Choice, Choice]:
    """What `advise`'s search chooses with one seed, and after the second."""
    engine = case.engine()
    header = case.drawn.grid.header
    question = Question(
        objective="time",
        metric=header.metric,
        better=header.better,
        target=case.drawn.grid.target,
        target_origin="given",
        reference=Configuration(
            batch_size=header.reference_batch_size,
            micro_batch_size=header.reference_batch_size,
            learning_rate=header.reference_learning_rate,
        ),
        options=(),
        n_train=header.n_train,
        budget_s=_NO_END_S,
    )
    run_log = RunLog(question=question, engine=engine, until=question.target)
    search = RateSearch(run_log=run_log, batch_size=case.batch_size)

    def choice() -> Choice:
        rate = search.learning_rate
        octave = None if rate is None else round(math.log2(rate / case.reference_rate))
        return Choice(octave=octave, spent_s=engine.spent_s())

    first, second = SeedPlan.of(engine.n_seeds).tune[:2]
    # The strides of `advise`: coarse first at the reference batch size, which has no neighbours.
    search.run(
        start=case.start_octave,
        limit_steps=case.limit_steps,
        seed=first,
        strides=(2, 1) if case.start == "cold" else (1,),
    )
    one_seed = choice()
    search.confirm(limit_steps=case.limit_steps, seed=second)
    return one_seed, choice()


class Sampler(Protocol):
    """Who proposes rates: an index into the lattice."""

    def ask(self) -> int:
        """The next rate."""
        ...

    def gives_up(self, step: int, value: float | None) -> bool:
        """Whether to stop the run here, where the metric has this value."""
        ...

    def tell(self, log_steps: float, *, pruned: bool) -> None:
        """What the run that was asked for gave: log steps to the target, infinite: it failed."""
        ...


class RandomSampler:
    """Rates drawn evenly, after the start."""

    def __init__(self, n_rates: int, start: int, *, seed: int) -> None:
        self._n_rates, self._start = n_rates, [start]
        self._stream = random.Random(seed)

    def ask(self) -> int:
        """The start, then any."""
        return self._start.pop() if self._start else self._stream.randrange(self._n_rates)

    def gives_up(self, step: int, value: float | None) -> bool:
        """Never."""
        return False

    def tell(self, log_steps: float, *, pruned: bool) -> None:
        """It learns nothing."""


class TpeSampler:
    """Optuna's tree-structured Parzen estimator, the start put first in its queue."""

    def __init__(
        self,
        n_rates: int,
        start: int,
        *,
        seed: int,
        n_startup: int,
        better: str,
        prunes_after: int | None,
    ) -> None:
        """See so many rates.

        Args:
            n_rates: how many there are.
            start: index of the one to begin with.
            seed: of what it leaves to chance.
            n_startup: so many trials are drawn at random.
            better: direction of the metric.
            prunes_after: its median pruner may stop a run after so many steps; None: it has none.
        """
        import optuna  # type: ignore[import-not-found,unused-ignore]

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._pruned = optuna.trial.TrialState.PRUNED
        self._n_rates, self._prunes = n_rates, prunes_after is not None
        self._sign = -1.0 if better == "higher" else 1.0
        self._study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_startup),
            pruner=optuna.pruners.NopPruner()
            if prunes_after is None
            else optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=prunes_after),
        )
        self._study.enqueue_trial({"rate": start})
        self._trial: Any = None

    def ask(self) -> int:
        """The next rate; rates are integers to it, so it knows that neighbours are alike."""
        self._trial = self._study.ask()
        return int(self._trial.suggest_int("rate", 0, self._n_rates - 1))

    def gives_up(self, step: int, value: float | None) -> bool:
        """Whether its pruner stops the run here."""
        if not self._prunes:
            return False
        self._trial.report(math.nan if value is None else self._sign * value, step)
        return bool(self._trial.should_prune())

    def tell(self, log_steps: float, *, pruned: bool) -> None:
        """Hand the result to the study."""
        if pruned:
            self._study.tell(self._trial, state=self._pruned)
        else:
            self._study.tell(self._trial, log_steps)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A search to compare with.

    Attributes:
        name: for the table.
        cut: runs are stopped at this multiple of the fewest steps so far; None: they are not.
        sampler: from a case and the index of its start: who proposes.
    """

    name: str
    cut: float | None
    sampler: Callable[[Case, int], Sampler]


def _tpe(*, n_startup: int, prunes: bool = False) -> Callable[[Case, int], Sampler]:
    def sampler(case: Case, start: int) -> Sampler:
        return TpeSampler(
            len(case.octaves),
            start,
            seed=case.draw,
            n_startup=n_startup,
            better=case.drawn.grid.header.better,
            prunes_after=round(PRUNER_WAITS * case.limit_steps) if prunes else None,
        )

    return sampler


def _random(case: Case, start: int) -> Sampler:
    return RandomSampler(len(case.octaves), start, seed=case.draw)


RANDOM = Method(name="random, cut at the best", cut=1.0, sampler=_random)
METHODS = (
    RANDOM,
    Method(name="Optuna TPE, cut at the best", cut=1.0, sampler=_tpe(n_startup=10)),
    Method(name="Optuna TPE from run 4, cut at the best", cut=1.0, sampler=_tpe(n_startup=3)),
    Method(name="Optuna TPE from run 4, cut as ours", cut=CANNOT_WIN, sampler=_tpe(n_startup=3)),
    Method(
        name="Optuna TPE from run 4, median pruner",
        cut=None,
        sampler=_tpe(n_startup=3, prunes=True),
    ),
)


@dataclass
class Search:
    """One search as it goes on, run by run.

    Attributes:
        case: what is searched.
        method: how.
    """

    case: Case
    method: Method
    _log_steps: dict[int, list[tuple[float, bool]]] = field(default_factory=dict)

    def choices(self, most_s: float) -> Iterator[Choice]:
        """What it would answer after each run, until it has spent `most_s`."""
        octaves = self.case.octaves
        engine = self.case.engine()
        sampler = self.method.sampler(self.case, octaves.index(self.case.start_octave))
        for _ in range(_MOST_ASKED):
            octave = octaves[sampler.ask()]
            seen = self._log_steps.setdefault(octave, [])
            if len(seen) < self.case.n_common_seeds:
                log_steps, met, pruned = self._run(engine, sampler, octave, len(seen))
                seen.append((log_steps, met))
            else:
                # All seeds that every rate has are known: nothing new comes of it.
                log_steps, pruned = self._mean(octave), False
            sampler.tell(log_steps, pruned=pruned)
            yield Choice(octave=self._best(), spent_s=engine.spent_s())
            if engine.spent_s() >= most_s:
                return

    def _run(
        self, engine: LatticeEngine, sampler: Sampler, octave: int, seed: int
    ) -> tuple[float, bool, bool]:
        """Log steps to the target, or where the run was stopped; if it met it; if pruned."""
        target = self.case.drawn.grid.target
        limit = self.case.limit_steps
        met = [value for runs in self._log_steps.values() for value, hit in runs if hit]
        if met and self.method.cut is not None:
            limit = min(limit, math.ceil(self.method.cut * math.exp(min(met))))
        trial = engine.trial(
            batch_size=self.case.batch_size, learning_rate=self.case.rate(octave), seed=seed
        )

        def ask(asked: RecordedEngine, steps: int) -> TrialRecord:
            length = RunLength(steps=max(1, steps), until=target)
            return run_all(asked, [RunRequest(trial=trial, length=length)])[0]

        # Looked at for nothing first, to see where a pruner would stop it.
        record = ask(self.case.engine(), limit)
        for evaluation, value in record.curve("validation", target.metric):
            step = evaluation.step
            if step > 0 and sampler.gives_up(step, value):
                ask(engine, step)
                return math.log(step), False, True
        record = ask(engine, limit)
        steps = steps_to(record, target)
        if steps:
            return math.log(steps), True, False
        failed = record.has_failed or self.case.rate(octave) not in map(
            self.case.rate, self.case.recorded
        )
        return (math.inf if failed else math.log(limit)), False, False

    def _mean(self, octave: int) -> float:
        return statistics.fmean(value for value, _ in self._log_steps[octave])

    def _best(self) -> int | None:
        """The least mean of those rates that met the target at least once."""
        met = [octave for octave, runs in self._log_steps.items() if any(hit for _, hit in runs)]
        return min(met, key=lambda octave: (self._mean(octave), octave), default=None)


def chosen_at(choices: Sequence[Choice], budget_s: float, stream: random.Random) -> Choice:
    """What was chosen once the budget was spent; nothing if it paid for no run.

    The run under way is finished with a chance of the share of it that is paid for.
    """
    before = Choice(octave=None, spent_s=0.0)
    for choice in choices:
        if choice.spent_s > budget_s:
            paid = (budget_s - before.spent_s) / (choice.spent_s - before.spent_s)
            return choice if stream.random() < paid else before
        before = choice
    return before


# ---- the comparison


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one search came to.

    Attributes:
        workload: the grid.
        batch_size: whose rate was sought.
        start: "cold" or "warm".
        lattice: "recorded" or "wide".
        draw: which split of the seeds.
        who: "advise" or another search.
        seeds: how many `advise`'s search took, whose cost is the budget.
        multiple: of that cost, the budget.
        excess: how much longer the rate takes than the best, a fraction; infinite: it fails.
        trainings: what it cost, in trainings of the best rate of the batch size.
    """

    workload: str
    batch_size: int
    start: str
    lattice: str
    draw: int
    who: str
    seeds: int
    multiple: float
    excess: float
    trainings: float


def answers_of(case: Case, methods: Sequence[Method]) -> Iterator[Answer]:
    """What `advise`'s search and all others come to in one case."""
    training_s = case.training_s

    def answer(who: str, choice: Choice, *, seeds: int, multiple: float = 1.0) -> Answer:
        return Answer(
            workload=case.drawn.grid.header.workload,
            batch_size=case.batch_size,
            start=case.start,
            lattice=case.lattice,
            draw=case.draw,
            who=who,
            seeds=seeds,
            multiple=multiple,
            excess=case.excess(choice.octave),
            trainings=choice.spent_s / training_s,
        )

    own = own_choices(case)
    for seeds, choice in enumerate(own, start=1):
        yield answer(OWN, choice, seeds=seeds)
    yield answer(START, Choice(octave=case.start_octave, spent_s=0.0), seeds=1)
    yield answer(EVERY_RATE, every_rate(case), seeds=1)
    for method in methods:
        choices = list(Search(case=case, method=method).choices(MULTIPLES[-1] * own[-1].spent_s))
        stream = random.Random(case.draw)
        for seeds, choice in enumerate(own, start=1):
            for multiple in MULTIPLES if seeds == len(own) else MULTIPLES[:1]:
                found = chosen_at(choices, multiple * choice.spent_s, stream)
                yield answer(method.name, found, seeds=seeds, multiple=multiple)


def every_rate(case: Case) -> Choice:
    """The best of all recorded rates on the first seed, in order, each cut at the best so far."""
    in_order = iter(range(len(case.recorded)))
    told = replace(case, lattice="recorded")

    class InOrder(RandomSampler):
        def ask(self) -> int:
            return next(in_order)

    method = Method(name=EVERY_RATE, cut=1.0, sampler=lambda case, start: InOrder(1, start, seed=0))
    choices = Search(case=told, method=method).choices(_NO_END_S)
    return [choice for _, choice in zip(case.recorded, choices, strict=False)][-1]


def compared(
    grid: RecordedGrid, *, batch_sizes: Sequence[int], draws: int, methods: Sequence[Method]
) -> list[Answer]:
    """All answers for one grid."""
    answers: list[Answer] = []
    for draw in range(draws):
        drawn = situation(grid, PROFILE, split=draw)
        for batch_size in batch_sizes:
            for start in STARTS:
                for lattice in LATTICES:
                    case = Case(
                        drawn=drawn, batch_size=batch_size, start=start, lattice=lattice, draw=draw
                    )
                    answers += answers_of(case, methods)
    return answers


# ---- the table


def capped(excess: float, cut: float) -> float:
    """A rate that fails counts as if it had taken as long as the recordings last."""
    return min(excess, cut - 1)


def mean_excess(answers: Sequence[Answer], cut: float) -> float:
    """Mean of how much longer the chosen rates take."""
    return statistics.fmean(capped(each.excess, cut) for each in answers)


def against_own(
    answers: Sequence[Answer], own: Sequence[Answer], cut: float
) -> tuple[float, float, float]:
    """How much more excess than `advise`'s search: mean, and its 95 % interval.

    Draws of one workload and batch size share their runs, so whole such pairs are resampled.
    """
    ours = {_key(each): capped(each.excess, cut) for each in own}
    by_pair: dict[tuple[str, int], list[float]] = {}
    for each in answers:
        difference = capped(each.excess, cut) - ours[_key(each)]
        by_pair.setdefault((each.workload, each.batch_size), []).append(difference)
    means = np.array([statistics.fmean(values) for values in by_pair.values()])
    rng = np.random.default_rng(0)
    resampled = means[rng.integers(len(means), size=(_BOOTSTRAPS, len(means)))].mean(axis=1)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(means.mean()), float(low), float(high)


def _key(answer: Answer) -> tuple[str, int, str, str, int, int]:
    return (
        answer.workload,
        answer.batch_size,
        answer.start,
        answer.lattice,
        answer.draw,
        answer.seeds,
    )


def summary(answers: Sequence[Answer], cut: float) -> list[str]:
    """A row for each search and budget: mean cost, and mean and 90 % of the excess."""
    head = ["search"]
    for start in STARTS:
        head += [f"{start}: cost", *(f"{start}, {lattice} rates" for lattice in LATTICES)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in _searches(answers):
        cells = [_name(*row)]
        for start in STARTS:
            some = [each for each in answers if (_search(each), each.start) == (row, start)]
            cells.append(f"{statistics.fmean(each.trainings for each in some):.1f}")
            for lattice in LATTICES:
                found = [each for each in some if each.lattice == lattice]
                high = np.quantile([each.excess for each in found], 0.9, method="lower")
                cells.append(f"{100 * mean_excess(found, cut):.1f} % / {_percent(float(high))}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _search(answer: Answer) -> tuple[str, int, float]:
    return answer.who, answer.seeds, answer.multiple


def _searches(answers: Sequence[Answer]) -> list[tuple[str, int, float]]:
    """Every search and budget once, the smaller budgets first."""
    return sorted(dict.fromkeys(map(_search, answers)), key=lambda row: row[1:])


def _name(who: str, seeds: int, multiple: float) -> str:
    if who in (START, EVERY_RATE):
        return who
    budget = "" if who == OWN else f", {multiple:g} x"
    return f"{who} ({seeds} seed{'s' * (seeds > 1)}{budget})"


def table(answers: Sequence[Answer], cut: float) -> str:
    """A row for each search and budget, for each start and lattice."""
    lines = []
    for start in STARTS:
        for lattice in LATTICES:
            some = [each for each in answers if (each.start, each.lattice) == (start, lattice)]
            lines += [f"{start} start, {lattice} rates", "", *_rows(some, cut), ""]
    return "\n".join(lines)


def _rows(answers: Sequence[Answer], cut: float) -> list[str]:
    head = ("search", "cost", "mean", "median", "90 %", "over 10 %", "fails", "more than advise's")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in _searches(answers):
        who, seeds, _ = row
        some = [each for each in answers if _search(each) == row]
        own = [each for each in answers if (each.who, each.seeds) == (OWN, seeds)]
        excess = np.array([each.excess for each in some])
        difference = (
            ""
            if who == OWN
            else "{:+.1f} ({:+.1f} to {:+.1f})".format(
                *(100 * value for value in against_own(some, own, cut))
            )
        )
        cells = (
            _name(*row),
            f"{statistics.fmean(each.trainings for each in some):.1f}",
            f"{100 * mean_excess(some, cut):.1f} %",
            *(_percent(float(np.quantile(excess, q, method="lower"))) for q in (0.5, 0.9)),
            f"{100 * np.mean(excess > 0.1):.0f} %",
            f"{100 * np.mean(np.isinf(excess)):.1f} %",
            difference,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _percent(value: float) -> str:
    return "fails" if math.isinf(value) else f"{100 * value:.1f} %"


def by_workload(answers: Sequence[Answer], cut: float) -> list[str]:
    """Mean excess by workload at the cost of the whole search, over starts and lattices."""
    some = [each for each in answers if each.multiple == 1.0 and each.seeds == 2]
    names = list(dict.fromkeys(each.who for each in some))
    lines = ["| workload | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for workload in sorted({each.workload for each in some}):
        cells = [
            mean_excess([e for e in some if (e.workload, e.who) == (workload, who)], cut)
            for who in names
        ]
        lines.append(f"| {workload} | " + " | ".join(f"{100 * c:.1f} %" for c in cells) + " |")
    return lines


def document(answers: Sequence[Answer], *, draws: int, cut: float) -> dict[str, object]:
    """What is written down: a row for each search, budget and pair of workload and batch size."""
    groups: dict[tuple[str | int | float, ...], list[Answer]] = {}
    for each in answers:
        groups.setdefault(tuple(getattr(each, name) for name in GROUP), []).append(each)
    rows = [
        (
            *group,
            round(mean_excess(some, cut), 4),
            round(statistics.fmean(math.isinf(each.excess) for each in some), 4),
            round(statistics.fmean(each.trainings for each in some), 3),
        )
        for group, some in groups.items()
    ]
    return {
        "command": "python -m benchmarks.rate_search",
        "draws": draws,
        "failing_counts_as": cut - 1,
        "columns": [*GROUP, "mean_excess", "failed", "mean_trainings"],
        "rows": rows,
    }


def main() -> None:
    recorded = sorted(path.name.removesuffix(".csv.gz") for path in GRIDS.glob("*.csv.gz"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="+", choices=recorded, default=recorded)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=BATCH_SIZES)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if importlib.util.find_spec("optuna") is None:
        parser.error("Optuna is not installed here; pip install optuna, and run this again")
    started_s = time.monotonic()
    answers: list[Answer] = []
    cuts = set()
    for workload in arguments.workloads:
        grid = RecordedGrid.read(GRIDS / f"{workload}.csv.gz")
        cuts.add(grid.header.cut)
        sizes = [size for size in arguments.batch_sizes if size in grid.batch_sizes]
        answers += compared(grid, batch_sizes=sizes, draws=arguments.draws, methods=METHODS)
    cut = max(cuts)
    print("\n".join([*summary(answers, cut), "", table(answers, cut), *by_workload(answers, cut)]))
    written = document(answers, draws=arguments.draws, cut=cut)
    arguments.out.write_text(json.dumps(written, separators=(",", ":")) + "\n")
    print(f"\n{time.monotonic() - started_s:.0f} s; written: {arguments.out}")


if __name__ == "__main__":
    main()
