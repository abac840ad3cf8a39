"""How often the 95 % intervals of a sweep's differences hold the truth, and what seeds share.

    python -m benchmarks.seed_scatter_coverage [--studies 2000]

Prints the tables of benchmarks/results/coverage.md: coverage on made-up sweeps, and of the recorded
grids of the regret record how unlike the scatter of batch sizes is and how far the same seeds at
two batch sizes go together.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, polygamma
from tests.reference.seed_scatter import SWEEPS, misses

_GRIDS = Path(__file__).parent / "regret"
_N_CELLS = (2, 3, 5, 10)
_N_SEEDS = (2, 3, 4, 5)
_SAMPLES = 8192  # half an epoch: there every batch size still has all of its seeds
_LEAST_SEEDS = 7


def recorded(name: str) -> NDArray[np.float64] | None:
    """Metric of each batch size at its best rate by seed, after as many examples, (sizes, seeds).

    Returns:
        None where fewer than three batch sizes have enough seeds.
    """
    grid = json.loads((_GRIDS / f"{name}.json").read_text())
    cells: dict[tuple[int, str], dict[int, float]] = {}
    with gzip.open(_GRIDS / f"{name}.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            points = [point.split(":") for point in row["curve"].split(";") if point]
            samples = int(row["batch_size"]) * np.array([float(step) for step, _ in points])
            values = np.array([float(value or "nan") for _, value in points])
            if len(points) and samples[-1] >= _SAMPLES and np.isfinite(values).all():
                cell = cells.setdefault((int(row["batch_size"]), row["learning_rate"]), {})
                cell[int(row["seed"])] = float(np.interp(_SAMPLES, samples, values))
    sign = 1 if grid["better"] == "higher" else -1
    best: dict[int, dict[int, float]] = {}
    for (batch_size, _), seeds in cells.items():
        if len(seeds) < _LEAST_SEEDS:
            continue
        before = best.get(batch_size)
        if before is None or sign * np.mean([*seeds.values()]) > sign * np.mean([*before.values()]):
            best[batch_size] = seeds
    common = sorted(set.intersection(*map(set, best.values()))) if best else []
    if len(best) < 3 or len(common) < _LEAST_SEEDS:
        return None
    values = np.array([[best[size][seed] for seed in common] for size in sorted(best)])
    return np.asarray(logit(values)) if grid["metric"] == "accuracy" else values


def coverage_table(n_studies: int) -> None:
    """Shares of made-up sweeps in which the interval of first less last cell holds the truth."""
    print("| sweep | cells | " + " | ".join(f"{n} seeds" for n in _N_SEEDS) + " |")
    print("|---|---|" + "---|" * len(_N_SEEDS))
    for name, sweep in SWEEPS.items():
        for n_cells in _N_CELLS:
            held = [1 - np.mean(misses(sweep, n_cells, n, n_studies)) for n in _N_SEEDS]
            cells = " | ".join(f"{100 * share:.1f} %" for share in held)
            print(f"| {name} | {n_cells} | {cells} |", flush=True)


def recorded_table() -> None:
    """What the recorded grids say of the seeds."""
    print("\n| grid | batch sizes | seeds | scatter unlike | shared by seeds, mean (neighbours) |")
    print("|---|---|---|---|---|")
    for path in sorted(_GRIDS.glob("*.json")):
        values = recorded(path.stem)
        if values is None:
            continue
        n_sizes, n_seeds = values.shape
        log_sd = np.log(values.std(axis=1, ddof=1))
        by_chance = float(polygamma(1, (n_seeds - 1) / 2)) / 4
        unlike = max(0.0, float(np.var(log_sd, ddof=1)) - by_chance) ** 0.5
        together = np.corrcoef(values)
        mean, near = together[np.triu_indices(n_sizes, 1)].mean(), np.diag(together, 1).mean()
        print(f"| {path.stem} | {n_sizes} | {n_seeds} | {unlike:.2f} | {mean:.2f} ({near:.2f}) |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    coverage_table(parser.parse_args().studies)
    recorded_table()


if __name__ == "__main__":
    main()
