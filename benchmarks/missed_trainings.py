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
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from benchmarks.recorded.grid import CellKey, RecordedGrid
from benchmarks.regret.harness import head, percent, row
from benchmarks.regret.whole_level import end_of
from benchmarks.regret.whole_situation import WholeSituation, whole_situation
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from batchlab.belief.outlook import STILL_MEETS
from batchlab.errors import TrialError
from batchlab.records.trial import Status

_RECORD = Path(__file__).parent / "regret"
_OCTAVES = (-3, -1, 0)
_FEWEST_SEEDS = 4
_NEAR = 4.0  # ends further away, in margins, scatter in their own way
_EDGES = (-math.inf, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, math.inf)


def ends_of(situation: WholeSituation) -> dict[CellKey, list[tuple[float, bool]]]:
    """By cell: by how many margins each training ends below the level, and whether it missed it."""
    grid, header, level = situation.grid, situation.header, situation.level
    sign = 1 if header.better == "higher" else -1
    found = {}
    for cell, seeds in grid.cells.items():
        runs = [grid.runs[*cell, seed] for seed in seeds]
        ends = [
            end_of(run.curve, better=header.better, keeps_best=header.keeps_best)
            for run in runs
            if run.status is Status.OK
        ]
        known = [end for end in ends if end is not None]
        if len(known) == len(runs) >= _FEWEST_SEEDS:
            below = [sign * (level.target.value - end) / level.margin for end in known]
            missed = [grid.steps_to(run, level.target) is None for run in runs]
            found[cell] = list(zip(below, missed, strict=True))
    return found


def distances(path: Path) -> Iterator[tuple[float, bool]]:
    """By training: deviations by which others of its cell end below the level; a miss or not."""
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


def main() -> None:
    paths = sorted(_RECORD.glob("whole/*.csv.gz")) + sorted(_RECORD.glob("later/*.csv.gz"))
    told = [np.array(list(distances(path))) for path in paths]

    def surprise(still_meets: float) -> float:
        def of(some: np.ndarray) -> float:
            chance = np.clip(ndtr(some[:, 0] - still_meets), 0.005, 0.995)
            return float(np.mean(np.log(np.where(some[:, 1] == 1, chance, 1 - chance))))

        return -sum(of(some) for some in told)

    print(*head("ends below the level by", "trainings", "miss it", "expected"), sep="\n")
    pooled = np.concatenate(told)
    for low, high in pairwise(_EDGES):
        some = pooled[(low <= pooled[:, 0]) & (pooled[:, 0] < high)]
        expected = ndtr(some[:, 0] - STILL_MEETS).mean()
        name = f"{low:g} to {high:g}".replace("-inf to", "less than").replace(" to inf", " or more")
        print(row(name, str(len(some)), percent(some[:, 1].mean()), percent(float(expected))))
    best = minimize_scalar(surprise, bounds=(-1, 2), method="bounded").x
    print(f"\n{len(paths)} workloads; the distance that fits best: {best:.2f}")


if __name__ == "__main__":
    main()
