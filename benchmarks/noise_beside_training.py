"""Is the gradient noise scale the critical batch size? Both, for each recorded workload.

    python benchmarks/noise_beside_training.py [--processes 2]

B_crit is what the recorded trainings show: the law through the steps to the target at each batch
size's best rate. B_simple is measured along trainings of the reference batch size at its best rate:
at the start, halfway to the target and at it, on three seeds. Nothing of it is used by the advice.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parent / "regret")]
from benchmarks.recorded.grid import RecordedGrid
from one_training import trial_of
from workloads import WORKLOADS

from batchlab import fit
from batchlab.measure.gradient_noise import GradientNoise
from batchlab.records.estimate import Estimate
from batchlab.training.stepper import Stepper

GRIDS = Path(__file__).parent / "regret"
SEEDS = (0, 1, 2)
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What one workload shows.

    Attributes:
        workload: its name.
        b_crit: by the law through its recorded trainings.
        law_holds: whether that law is not rejected.
        scales: B_simple of each seed at the start, halfway and at the target; None: not told.
    """

    workload: str
    b_crit: Estimate
    law_holds: bool
    scales: tuple[tuple[float | None, ...], ...]

    @property
    def ratio(self) -> float | None:
        """B_crit over B_simple at the target."""
        found = middle(self.scales, 2)
        b_crit = self.b_crit.estimate
        return None if found is None or b_crit is None else b_crit / found


def middle(scales: Sequence[Sequence[float | None]], place: int) -> float | None:
    """The median over the seeds; None: one is not told."""
    values = [seed[place] for seed in scales]
    told = [value for value in values if value is not None]
    return statistics.median(told) if told and len(told) == len(values) else None


def b_crit_of(grid: RecordedGrid) -> tuple[Estimate, bool]:
    """By all recorded trainings, each batch size at its best rate."""
    rows = []
    for (size, rate, seed), run in grid.runs.items():
        steps = grid.steps_to(run, grid.target)
        rows.append(
            {
                "batch_size": size,
                "learning_rate": rate,
                "seed": seed,
                "steps_to_target": steps,
                "after_steps": run.steps if steps is None else None,
            }
        )
    law = fit(rows)
    return law.b_crit, law.law_holds


def best_rate(grid: RecordedGrid, size: int) -> float:
    """The rate with the fewest mean steps to the target, where all seeds met it."""
    means = {}
    for rate in grid.learning_rates(size):
        runs = [grid.runs[size, rate, seed] for seed in grid.cells[size, rate]]
        steps = [grid.steps_to(run, grid.target) for run in runs]
        met = [found for found in steps if found is not None]
        if len(met) == len(steps):
            means[rate] = statistics.fmean(met)
    return min(means, key=means.__getitem__)


def beside(name: str) -> Beside:
    """Train, and measure on the way."""
    torch.set_num_threads(1)
    grid = RecordedGrid.read(GRIDS / f"{name}.csv.gz")
    workload = WORKLOADS[name]()
    size = workload.batch_size
    rate = best_rate(grid, size)
    octave = round(math.log2(rate / workload.learning_rate))
    scales = []
    for seed in SEEDS:
        found = grid.steps_to(grid.runs[size, rate, seed], grid.target)
        assert found is not None
        trial = trial_of(workload, batch_size=size, octave=octave, seed=seed)
        stepper = Stepper(workload, trial, CPU)
        stream, taken = stepper.stream(0), 0
        noise = GradientNoise(workload, CPU)
        of_seed: list[float | None] = []
        for step in (0, math.ceil(found / 2), math.ceil(found)):
            if step > taken:
                stepper.steps(stream, step - taken, first_step=taken)
                taken = step
            point = noise.sample(stepper.model, seed=seed)
            of_seed.append(point.gradient_noise_scale.estimate)
        scales.append(tuple(of_seed))
    b_crit, law_holds = b_crit_of(grid)
    return Beside(
        workload=name,
        b_crit=b_crit,
        law_holds=law_holds,
        scales=tuple(scales),
    )


def row(found: Beside) -> str:
    """One line of the table."""
    places = [_text(middle(found.scales, place)) for place in range(3)]
    seeds = [value for seed in found.scales if (value := seed[2]) is not None]
    spread = f" ({_text(min(seeds))} to {_text(max(seeds))})" if seeds else ""
    interval = f"{_text(found.b_crit.low)} to {_text(found.b_crit.high)}"
    law = "" if found.law_holds else " (law rejected)"
    ratio = "–" if found.ratio is None else f"{found.ratio:.2g}"
    return (
        f"| {found.workload} | {places[0]} | {places[1]} | {places[2]}{spread} | "
        f"{_text(found.b_crit.estimate)} ({interval}){law} | {ratio} |"
    )


def _text(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.processes) as pool:
        found = list(pool.map(beside, sorted(WORKLOADS)))
    print("| workload | B_simple at the start | halfway | at the target (seeds) | "
          "B_crit (95 %) | B_crit / B_simple |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    for each in found:
        print(row(each))
    ratios = [each.ratio for each in found if each.ratio is not None]
    logs = [math.log(ratio) for ratio in ratios]
    print(
        f"\nB_crit over B_simple at the target, {len(ratios)} workloads: geometric mean "
        f"{math.exp(statistics.fmean(logs)):.2g}, times or divided by "
        f"{math.exp(statistics.stdev(logs)):.2g} (one standard deviation), "
        f"{min(ratios):.2g} to {max(ratios):.2g}"
    )


if __name__ == "__main__":
    main()
