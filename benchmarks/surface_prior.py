"""The prior of the surfaces, fitted to recorded workloads: to all, and to all but each family.

    python -m benchmarks.surface_prior       # writes results/surface_prior.json, some minutes

Each of the fifteen workloads that constants are chosen on is laid out around its recorded reference
and around references 3, 1 and 0 octaves below the best rate of that batch size; together these
count as one workload. The 33 numbers (`SurfacePrior.of`) maximize the likelihood of both surfaces,
with weak priors of their own. A workload is left out together with its twin under a schedule.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from benchmarks.recorded.grid import RecordedGrid
from benchmarks.regret.harness import GRIDS, name_of
from benchmarks.regret.whole_situation import WholeSituation, whole_situation
from numpy.typing import NDArray
from scipy.optimize import minimize

from batchlab.belief.surface import Places, Surface, SurfacePrior, scatter_at
from batchlab.errors import TrialError

Array = NDArray[np.float64]
RESULTS = Path(__file__).parent / "results" / "surface_prior.json"
_OCTAVES = (-3, -1, 0)
# Scatter of single seeds: of log2 steps, and of what is read as a miss.
_SEED_SD, _MISS_SD, _MISSED_BY = 0.25, 0.7, 0.5
_WORST = 20.0  # margins; no final value counts as worse
_LEAST_END_SD = 0.05
_FROM = (
    *(-0.16, -0.94, 0.37, 0.14, 0.11, -1.6, -2.6, -2.1, -2.4, -2.8),
    *(-0.09, 0.09, 0.52, 0.19, 0.19, -1.5, -2.5, -2.1, -2.2, -2.8),
    *(1.6, 0.1, 0.9, 0.9, 0.3, 1.7, 1.0, -0.1, 0.4, 0.8, -3.2, -1.3, 0.66),
)
# What is known of them beforehand: by place, mean and standard deviation.
_WEAKLY = {
    **{place: (math.log(0.3), 1.0) for place in (*range(5, 10), *range(15, 20))},
    **{place: (0.0, 1.0) for place in (*range(20, 25), 27, 29)},
    25: (math.log(4), 1.0),
    26: (math.log(2.5), 1.0),
    28: (0.4, 1.0),
    30: (math.log(0.1), 1.0),
    31: (math.log(0.15), 1.0),
    32: (0.6, 0.2),
}


class Seen:
    """Both surfaces of one workload around one reference, from all its recorded seeds."""

    def __init__(self, situation: WholeSituation) -> None:
        """Read them off the record."""
        size, rate = situation.reference
        grid = situation.grid
        steps = {cell: self._steps(situation, cell) for cell in grid.cells}
        own = steps[situation.reference] or situation.whole_steps(size)
        self.places = Places(
            size=np.array([math.log2(cell[0] / size) for cell in grid.cells]),
            rate=np.array([float(round(math.log2(cell[1] / rate))) for cell in grid.cells]),
            horizon=np.zeros(len(grid.cells)),
        )
        values, errors = [], []
        for cell, seeds in grid.cells.items():
            found = steps[cell]
            missed = math.log2(situation.whole_steps(cell[0]) / own) + _MISSED_BY
            values.append(missed if found is None else math.log2(found / own))
            errors.append(_MISS_SD if found is None else _SEED_SD / math.sqrt(len(seeds)))
        scatter = max(situation.scatter, 0.1)
        for cell, seeds in grid.cells.items():
            end = min(situation.shortfall_of_own(cell, grid.seeds), _WORST)
            values.append(math.asinh(end))
            sd = scatter_at(np.array(end), scatter / math.sqrt(len(seeds)))
            errors.append(float(sd) + _LEAST_END_SD)
        self.values, self.variances = np.array(values), np.array(errors) ** 2

    @staticmethod
    def _steps(situation: WholeSituation, cell: tuple[int, float]) -> float | None:
        seconds = situation.time_s(cell, situation.grid.seeds)
        return seconds / situation.step_s[cell[0]] if math.isfinite(seconds) else None

    def log_likelihood(self, prior: SurfacePrior) -> float:
        """Return the log density of what was recorded, but for a constant."""
        before = Surface.before_any_run(prior, self.places, np.zeros(len(self.places.size)))
        try:
            root = np.linalg.cholesky(before.covariance + np.diag(self.variances))
        except np.linalg.LinAlgError:
            return -1e6
        z = np.linalg.solve(root, self.values - before.mean)
        return float(-0.5 * z @ z - np.log(np.diag(root)).sum())


def seen_of(path: Path) -> list[Seen]:
    """Return a workload around each of its references."""
    return [Seen(situation) for situation in _situations(path)]


def _situations(path: Path) -> Iterator[WholeSituation]:
    drawn = whole_situation(RecordedGrid.read(path), "cpu", draw=0)
    yield drawn
    known = {drawn.reference}
    for octaves in _OCTAVES:
        try:
            other = drawn.with_rate(octaves)
        except TrialError:
            continue  # that rate was not recorded
        if other.reference not in known:
            known.add(other.reference)
            yield other


def fitted(workloads: Sequence[Sequence[Seen]], start: Array, n_iterations: int) -> Array:
    """Return the numbers of highest posterior density."""

    def loss(numbers: Array) -> float:
        prior, total = SurfacePrior.of(list(numbers)), 0.0
        for references in workloads:
            total -= sum(seen.log_likelihood(prior) for seen in references) / len(references)
        for place, (mean, sd) in _WEAKLY.items():
            total += 0.5 * ((numbers[place] - mean) / sd) ** 2
        return total

    options = {"maxiter": n_iterations}
    return np.asarray(minimize(loss, start, method="L-BFGS-B", options=options).x)


@cache
def _numbers() -> dict[str, list[float]]:
    return dict(json.loads(RESULTS.read_text())["numbers"])


@cache
def prior_without(workload: str) -> SurfacePrior:
    """Return the prior that a workload and its twin had no part in."""
    numbers = _numbers()
    twin = workload if workload in numbers else workload.removesuffix("-cosine")
    return SurfacePrior.of(numbers.get(twin, numbers["all"]))


def without_twins(known: Mapping[str, Sequence[Seen]], name: str) -> list[Sequence[Seen]]:
    """Return all workloads but one and the same under a schedule, or without it."""
    twins = {name, f"{name}-cosine", name.removesuffix("-cosine")}
    return [seen for other, seen in known.items() if other not in twins]


def main() -> None:
    started_s = time.monotonic()
    known = {name_of(path): seen_of(path) for path in GRIDS}
    whole = fitted(list(known.values()), np.array(_FROM), 60)
    found = {"all": [float(f"{number:.4g}") for number in whole]}
    for name in known:
        numbers = fitted(without_twins(known, name), whole, 15)
        found[name] = [float(f"{number:.4g}") for number in numbers]
    about = {"command": "python -m benchmarks.surface_prior", "numbers": found}
    RESULTS.write_text(json.dumps(about, indent=1) + "\n")
    print(found["all"])
    print(f"{time.monotonic() - started_s:.0f} s; written: {RESULTS.name}")


if __name__ == "__main__":
    main()
