"""What longer schedules for larger batch sizes are worth, on recorded trainings.

    python -m benchmarks.regret_horizons [--draws 0 1 ...] [--budgets 4 10] [--processes 2]

The trainings of a workload with a schedule were recorded at several lengths
(`regret/record_horizons.py`). The user plans the shortest of these, or the workload's own, at the
rate that ends best. The advice may name another length that takes no longer (`with horizons`), or
must keep to the planned one (`as planned`). As in `regret_whole` it sees some of the seeds; the
others judge what it names, and the optimum of all lengths that was chosen on those it saw.

A training costs all of its steps. What ends worse than the reference by more than the margin, on
the seeds that judge, fails.

`Everything trained` is no advice: it has every configuration trained on all the seeds that the
advice may see (9), and names the cheapest of which five more trainings would end no worse with a
chance of 80 %, as the advice has to. What it is behind is the price of that and the luck of seeds.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

# Run as a script: what lies beside it goes by the name that it has from the root.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import GridHeader, RecordedGrid
from benchmarks.regret.harness import both, head, path_of, percent, row
from benchmarks.regret.whole_situation import PROFILES, WholeSituation, whole_situation
from benchmarks.surface_prior import prior_without

from batchlab.advice.advisor import decide
from batchlab.advice.run_log import RunLog

HORIZONS = Path(__file__).parent / "regret" / "horizons"
# By workload, the epochs that its schedule spans in the recordings.
EPOCHS = {"mlp-narrow-cosine": (15, 30, 45, 60), "transformer-cosine": (8, 16, 24, 32)}
LENGTHS = (0.5, 1.0, 1.5, 2.0)
PLANNED_AT = (0, 1)  # the places in `EPOCHS` of the lengths that the user plans
_LIKELY = 0.84  # standard errors, for a chance of 80 %
_MORE = 5  # further trainings that a chance is about
Cell = tuple[int, float, float]
"""A batch size, a learning rate, and the length over the planned one."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A question about one workload, with its grids by their length over the planned one."""

    planned: WholeSituation
    grids: Mapping[float, RecordedGrid]

    def seconds(self, cell: Cell) -> float:
        """Seconds of a whole training."""
        header = self._header(cell)
        return math.ceil(header.n_train / cell[0]) * header.epochs * self.planned.step_s[cell[0]]

    def end(self, cell: Cell, seeds: Sequence[int]) -> float | None:
        """The mean of what trainings with some of `seeds` end with; None: none is recorded."""
        grid = replace(self.planned, grid=self.grids[cell[2]])
        return grid.end(cell[:2], seeds)

    def shortfall(self, cell: Cell, seeds: Sequence[int]) -> float:
        """How many margins worse than the reference it ends."""
        mine, own = self.end(cell, seeds), self.end((*self.planned.reference, 1.0), seeds)
        if mine is None or own is None:
            return math.inf
        sign = 1 if self.planned.header.better == "higher" else -1
        return sign * (own - mine) / self.planned.level.margin

    def optimum(self, *, has_horizons: bool) -> Cell:
        """The cheapest that ends no worse on the seeds that the advice may see."""
        fine = [
            cell
            for cell in self.cells
            if (has_horizons or cell[2] == 1) and self.shortfall(cell, self.planned.seen) <= 1
        ]
        return min(fine, key=lambda cell: (self.seconds(cell), cell))

    def surely_fine(self) -> Cell:
        """The cheapest that likely ends no worse, by all trainings on the seeds seen in pairs."""
        fine = [own := (*self.planned.reference, 1.0)]
        for cell in self.cells:
            pairs = [self.shortfall(cell, [seed]) for seed in self.planned.seen]
            known = [each for each in pairs if math.isfinite(each)]
            if cell != own and len(known) > 2:
                error = statistics.stdev(known) * math.sqrt(1 / len(known) + 1 / _MORE)
                if statistics.fmean(known) + _LIKELY * error <= 1:
                    fine.append(cell)
        return min(fine, key=lambda cell: (self.seconds(cell), cell))

    @cached_property
    def cells(self) -> list[Cell]:
        """Whatever was recorded and takes no longer than the reference."""
        own_s = self.seconds((*self.planned.reference, 1.0))
        found = [(*cell, horizon) for horizon, grid in self.grids.items() for cell in grid.cells]
        return [cell for cell in found if self.seconds(cell) <= own_s]

    def _header(self, cell: Cell) -> GridHeader:
        header = self.grids[cell[2]].header
        return header


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was named, and what it is worth on the seeds that judge."""

    workload: str
    profile: str
    planned: int
    budget: float
    has_horizons: bool
    regret: float  # of the optimum with horizons
    gain: float  # the reference's seconds over those of what was named, 0 if it ends worse
    shortfall: float
    horizon: float
    floor: float  # the regret of `Situation.surely_fine`


def grid_of(workload: str, epochs: int) -> RecordedGrid:
    """The recording of a length."""
    path = HORIZONS / f"{workload}-{epochs}.csv.gz"
    return RecordedGrid.read(path if path.exists() else path_of(workload))


def situation_of(workload: str, at: int, profile: str, draw: int) -> Situation:
    """The question of a user who plans one of the recorded lengths."""
    lengths = EPOCHS[workload]
    planned = whole_situation(grid_of(workload, lengths[at]), profile, draw=draw)
    grids = {
        epochs / lengths[at]: grid_of(workload, epochs)
        for epochs in lengths
        if epochs / lengths[at] in LENGTHS
    }
    return Situation(planned=planned.with_rate(0), grids=grids)


def answers_of(
    workload: str, at: int, profile: str, draw: int, budgets: Sequence[float]
) -> list[Answer]:
    """What the advice names with and without longer schedules, for each budget.

    Budgets are in whole trainings of the reference.
    """
    asked = situation_of(workload, at, profile, draw)
    drawn, own = asked.planned, (*asked.planned.reference, 1.0)
    answers = []
    for budget, has_horizons in product(budgets, (False, True)):
        engine = RecordedEngine(
            drawn.grid,
            seeds=drawn.seen,
            step_s=drawn.step_s,
            eval_s=drawn.eval_s,
            longer={h: g for h, g in asked.grids.items() if h != 1} if has_horizons else None,
        )
        question = drawn.question(budget * asked.seconds(own))
        if has_horizons:
            question = replace(question, at_most_epochs=None)
        log = RunLog(question=question, engine=engine, until=None)
        size, rate, horizon = decide(log, prior_without(workload)).cell
        cell = (*asked.grids[horizon].cell(size, rate), horizon)
        shortfall = asked.shortfall(cell, drawn.judging)
        best_s = asked.seconds(asked.optimum(has_horizons=True))
        fails = shortfall > 1
        known = asked.surely_fine()
        known_fails = asked.shortfall(known, drawn.judging) > 1
        answers.append(
            Answer(
                workload=workload,
                profile=profile,
                planned=drawn.header.epochs,
                budget=budget,
                has_horizons=has_horizons,
                regret=math.inf if fails else asked.seconds(cell) / best_s - 1,
                gain=0.0 if fails else asked.seconds(own) / asked.seconds(cell),
                shortfall=shortfall,
                horizon=horizon,
                floor=math.inf if known_fails else asked.seconds(known) / best_s - 1,
            )
        )
    return answers


def table(answers: Sequence[Answer]) -> str:
    """One line for each workload and planned length, over all budgets."""
    lines = head(
        *("workload", "planned epochs", "questions"),
        *("regret, as planned", "regret, with horizons", "times as fast as yours, as planned"),
        *("with horizons", "ends worse, as planned", "with horizons", "another length named"),
        "regret, everything trained",
    )
    groups: dict[tuple[str, int], list[Answer]] = {}
    for each in answers:
        groups.setdefault((each.workload, each.planned), []).append(each)
    for (workload, planned), some in [*groups.items(), (("all", 0), list(answers))]:
        without, longer = ([a for a in some if a.has_horizons == has] for has in (False, True))
        lines.append(
            row(
                *(workload, str(planned or ""), str(len(longer))),
                *(both([a.regret for a in each]) for each in (without, longer)),
                *(f"{statistics.median(a.gain for a in each):.2f}" for each in (without, longer)),
                *(percent(_share(a.shortfall > 1 for a in each)) for each in (without, longer)),
                percent(_share(a.horizon != 1 for a in longer)),
                both([a.floor for a in longer]),
            )
        )
    return "\n".join(lines)


def _share(those: object) -> float:
    return statistics.fmean(those)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", nargs="+", choices=EPOCHS, default=list(EPOCHS))
    parser.add_argument("--profiles", nargs="+", choices=PROFILES, default=["cpu", "flat to 256"])
    parser.add_argument("--budgets", nargs="+", type=float, default=[4.0, 10.0, 30.0])
    parser.add_argument("--draws", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    started_s = time.monotonic()
    jobs = list(product(given.workloads, PLANNED_AT, given.profiles, given.draws))
    with ProcessPoolExecutor(given.processes) as pool:
        found = pool.map(answers_of, *zip(*jobs, strict=True), [given.budgets] * len(jobs))
        answers = [answer for some in found for answer in some]
    print(table(answers))
    print(f"\n{time.monotonic() - started_s:.0f} s")


if __name__ == "__main__":
    main()
