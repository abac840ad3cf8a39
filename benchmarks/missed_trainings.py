"""How likely does a training miss the level, given how its configuration ends?

    python -m benchmarks.missed_trainings

Every recorded whole training is held against the level of three users: by how many standard
deviations of seeds the *other* trainings of its configuration end below the level on average, and
whether it met the level to stay. `batchlab.belief.outlook` takes the chance of a miss as the normal
distribution of that distance, less half a standard deviation. Prints the table of
benchmarks/results/coverage.md, and the distance that fits best, over workloads of equal weight.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from benchmarks.recorded.grid import CellKey, RecordedGrid
from benchmarks.regret.harness import head, percent, row
from benchmarks.regret.whole_situation import WholeSituation, whole_situation
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from batchlab.belief.outlook import STILL_MEETS
from batchlab.errors import TrialError

Array = NDArray[np.float64]

_RECORD = Path(__file__).parent / "regret"
_OCTAVES = (-3, -1, 0)
_FEWEST_SEEDS = 4
_NEAR = 4.0  # ends further away, in margins, scatter in their own way
_EDGES = (-math.inf, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, math.inf)


def ends_of(situation: WholeSituation) -> dict[CellKey, list[tuple[float, bool]]]:
    """Return by cell how many margins each training ends below the level, and whether it missed."""
    grid, level = situation.grid, situation.level
    found = {}
    for cell, seeds in grid.cells.items():
        ends = [situation.end(cell, [seed]) for seed in seeds]
        known = [end for end in ends if end is not None]
        if len(known) == len(seeds) >= _FEWEST_SEEDS:
            below = [level.shortfall(end, beside=level.target.value) for end in known]
            runs = [grid.runs[*cell, seed] for seed in seeds]
            missed = [grid.steps_to(run, level.target) is None for run in runs]
            found[cell] = list(zip(below, missed, strict=True))
    return found


def distances(path: Path) -> Iterator[tuple[float, bool]]:
    """Yield how many deviations the others of its cell end below the level; whether it missed."""
    own = whole_situation(RecordedGrid.read(path), "cpu", draw=0)
    for octaves in _OCTAVES:
        try:
            cells = ends_of(own.with_rate(octaves))
        except TrialError:
            continue
        below = {cell: [each for each, _ in some] for cell, some in cells.items()}
        near = [ends for ends in below.values() if abs(statistics.fmean(ends)) < _NEAR]
        sd = math.sqrt(statistics.fmean(statistics.variance(ends) for ends in near))
        for cell, some in cells.items():
            for i, (_, missed) in enumerate(some):
                others = [end for j, end in enumerate(below[cell]) if j != i]
                error = sd * math.sqrt(1 + 1 / len(others))  # of its own end, by the others
                yield statistics.fmean(others) / error, missed


def best_distance(told: Sequence[Array]) -> float:
    """Return the distance at which half miss that makes the most of all workloads alike likely."""

    def surprise(distance: float) -> float:
        chances = [np.clip(ndtr(some[:, 0] - distance), 0.005, 0.995) for some in told]
        seen = [np.where(some[:, 1] == 1, p, 1 - p) for some, p in zip(told, chances, strict=True)]
        return -sum(float(np.log(each).mean()) for each in seen)

    return float(minimize_scalar(surprise, bounds=(-1, 2), method="bounded").x)


def main() -> None:
    paths = sorted(_RECORD.glob("whole/*.csv.gz")) + sorted(_RECORD.glob("later/*.csv.gz"))
    told = [np.array(list(distances(path))) for path in paths]
    print(*head("ends below the level by", "trainings", "miss it", "expected"), sep="\n")
    pooled = np.concatenate(told)
    for low, high in pairwise(_EDGES):
        some = pooled[(low <= pooled[:, 0]) & (pooled[:, 0] < high)]
        expected = ndtr(some[:, 0] - STILL_MEETS).mean()
        name = f"{low:g} to {high:g}".replace("-inf to", "less than").replace(" to inf", " or more")
        print(row(name, str(len(some)), percent(some[:, 1].mean()), percent(float(expected))))
    n_chosen_on = sum(path.parent.name == "whole" for path in paths)
    print(f"\nThe distance that fits {len(told)} workloads best: {best_distance(told):.2f}")
    print(
        f"the {n_chosen_on} that constants are chosen on: {best_distance(told[:n_chosen_on]):.2f}"
    )


if __name__ == "__main__":
    main()
