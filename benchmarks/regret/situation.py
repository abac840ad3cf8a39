"""Situation: a recorded grid with step times, its seeds split in two, and what is worth what.

The advisor and every habit see the first part of the seeds. Their choice, and the optimum chosen on
that same part, are valued on the second part: the best of many noisy cells looks better than it is.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.recorded.engine import RecordedEngine
from benchmarks.recorded.grid import CellKey, RecordedGrid

from batchlab.measure.profile import Profile

# A configuration that misses the target this often is no answer.
MOST_MISSES = 0.5
FEWEST_SEEN = 6
# What is made up has this step time at the smallest batch size; regret does not depend on it.
FLAT_STEP_S = 0.001
PROFILES = ("cpu", "H200", "flat to 256", "flat to 1024", "flat to 8192")
# `batchlab profile benchmarks/regret/workloads.py:NAME --device cuda --batch-sizes ... --json`
MEASURED = Path(__file__).parents[1] / "profiles" / "h200"


def measured_profile(grid: RecordedGrid) -> Path:
    """Where the measured step times of the grid's workload are, if they were measured.

    A learning-rate shape does not change them.
    """
    return MEASURED / f"regret-{grid.header.workload.removesuffix('-cosine')}.json"


def step_times(grid: RecordedGrid, profile: str) -> dict[int, float]:
    """Seconds a step by batch size: as measured, or flat up to a batch size and linear after it.

    On the H200 those of the law through what was measured: one process lies off it by chance.
    """
    if profile == "cpu":
        return {size: grid.header.step_s[size] for size in grid.batch_sizes}
    if profile == "H200":
        law = Profile.from_json(measured_profile(grid).read_text()).step_time
        assert law is not None
        known = {size: law.step_s(size).estimate for size in grid.batch_sizes}
        return {size: step_s for size, step_s in known.items() if step_s is not None}
    knee = int(profile.removeprefix("flat to "))
    return {size: FLAT_STEP_S * max(1.0, size / knee) for size in grid.batch_sizes}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """One question put to an advisor.

    Attributes:
        grid: the recorded trainings.
        profile: name of the step times.
        step_s: seconds a step, by batch size.
        seen: the seeds that may be seen, those that every cell has first.
        held_back: the seeds that what was chosen is valued on.
    """

    grid: RecordedGrid
    profile: str
    step_s: Mapping[int, float]
    seen: tuple[int, ...]
    held_back: tuple[int, ...]

    def engine(self, n_workers: int = 1) -> RecordedEngine:
        """A fresh engine that answers from the seeds that may be seen."""
        return RecordedEngine(self.grid, seeds=self.seen, step_s=self.step_s, n_workers=n_workers)

    @property
    def search_cost_s(self) -> float:
        """Seconds of every recorded run with a seed that may be seen: an exhaustive search."""
        return sum(
            run.steps * self.step_s[run.batch_size]
            for run in self.grid.runs.values()
            if run.seed in self.seen
        )

    def seconds_to_target(self, cell: CellKey, seeds: Collection[int]) -> float:
        """Mean seconds to the target over those of `seeds` that the cell has.

        A run that missed the target is a bound: it counts as if it had met it where the runs of its
        batch size are cut. With more than half of them missed, or none to count, it is infinite.
        """
        runs = [self.grid.runs[*cell, seed] for seed in self.grid.cells[cell] if seed in seeds]
        met = [self.grid.steps_to(run, self.grid.target) for run in runs]
        misses = met.count(None)
        if not runs or misses > MOST_MISSES * len(runs):
            return math.inf
        bound = self.grid.cut_steps(cell[0]) if misses else math.nan
        steps = [
            max(run.steps, bound) if value is None else value
            for run, value in zip(runs, met, strict=True)
        ]
        return statistics.fmean(steps) * self.step_s[cell[0]]

    def best(self, cells: Collection[CellKey]) -> CellKey:
        """The cell that is fastest on the seeds that may be seen."""
        return min(cells, key=lambda cell: (self.seconds_to_target(cell, self.seen), cell))

    def regret(self, cell: CellKey | None) -> float:
        """How much longer `cell` takes than the optimum, a fraction; both on seeds held back.

        The optimum is chosen on the seeds that may be seen, so a lucky choice can have less than 0.
        None (nothing, or a cell that was not recorded) and a cell that fails are infinite.
        """
        if cell is None:
            return math.inf
        least_s = self.seconds_to_target(self.optimum, self.held_back)
        return self.seconds_to_target(cell, self.held_back) / least_s - 1

    @cached_property
    def optimum(self) -> CellKey:
        """The best of all cells."""
        return self.best(self.grid.cells)

    @property
    def reference(self) -> CellKey:
        """The workload's own configuration."""
        header = self.grid.header
        return self.grid.cell(header.reference_batch_size, header.reference_learning_rate)

    @property
    def reference_s(self) -> float:
        """Mean seconds of one training of the reference configuration, on all seeds."""
        return self.seconds_to_target(self.reference, self.grid.seeds)

    @property
    def tuned_reference_s(self) -> float:
        """The same at the rate that is best for the reference batch size."""
        batch_size = self.grid.header.reference_batch_size
        rates = self.grid.learning_rates(batch_size)
        return min(self.seconds_to_target((batch_size, rate), self.grid.seeds) for rate in rates)


def situation(grid: RecordedGrid, profile: str, *, split: int) -> Situation:
    """The grid with a profile, its seeds split by a random draw of its own.

    Half of them may be seen, but at least six: an advisor chooses, values and verifies on different
    seeds. The seeds that every cell has, and the others, are shared out alike.

    Args:
        grid: the recorded trainings.
        profile: one of `PROFILES`.
        split: which draw.
    """
    everywhere = sorted(set.intersection(*map(set, grid.cells.values())))
    elsewhere = sorted(set(grid.seeds) - set(everywhere))
    n_seen = max(FEWEST_SEEN, len(grid.seeds) // 2)
    n_everywhere = math.ceil(n_seen * len(everywhere) / len(grid.seeds))
    stream = random.Random(split)
    seen = stream.sample(everywhere, n_everywhere)
    seen += stream.sample(elsewhere, n_seen - n_everywhere)
    return Situation(
        grid=grid,
        profile=profile,
        step_s=step_times(grid, profile),
        seen=tuple(seen),
        held_back=tuple(seed for seed in grid.seeds if seed not in seen),
    )
