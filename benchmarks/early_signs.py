"""What does the first part of a training tell about which configuration is soonest at the end?

    python benchmarks/early_signs.py
    python benchmarks/early_signs.py --cool-down mlp-narrow tabular   # trains, on one core

Every recorded configuration of a workload is given equally many seconds, with one seed. Each sign
names one of them, and that is valued on the other seeds: how much longer it takes to the level of
the end than the fastest that ends no worse. Where a configuration has met the level within its
seconds no sign is needed, and the question is left out.

Signs: the best validation value so far; the time at which the curve is expected at the level, by
curves fitted to it (`batchlab.laws.learning_curve`); and, trained anew, the value after a cool-down
of the rate over the last fifth of the seconds.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from regret.table_parts import head, percent, quantile, row
from regret.whole_situation import WholeSituation, whole_situation
from whole_workload import whole_workload

from batchlab.engines.recorded_grid import CellKey, RecordedGrid
from batchlab.laws.learning_curve import MIN_POINTS, Array, fit_learning_curves
from batchlab.laws.plateau import default_delta
from batchlab.records.evaluation import Evaluation
from batchlab.records.run_length import RunLength
from batchlab.records.trial import Status, Trial
from batchlab.training.plain import Task, train
from batchlab.workload.definition import Workload

GRIDS = Path(__file__).parent / "regret" / "whole"
PROFILES = ("cpu", "flat to 1024")
# Of the seconds that a whole training of the reference takes, for each configuration.
SHARES = (0.02, 0.05, 0.1, 0.25)
SEEDS = (0, 1, 2)
COOL_DOWN = 0.2
# What is not expected at the level within a whole training counts as so many of its lengths.
_NEVER = 2.0
# At so many places the fitted curves are asked whether they are at the level.
_PLACES = 200

Points = Sequence[tuple[int, float]]
"""(step, value of the validation metric), by step, up is better."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """The first part of one training of a configuration.

    Attributes:
        situation: the recorded workload and its step times.
        cell: batch size and rate.
        seed: of the training.
        steps: how many steps the seconds are.
    """

    situation: WholeSituation
    cell: CellKey
    seed: int
    steps: int

    @property
    def points(self) -> Points | None:
        """What was seen of it, up is better; None: a value was not finite, or the run failed."""
        run = self.situation.grid.runs[*self.cell, self.seed]
        seen = [point for point in run.curve if point[0] <= self.steps]
        if run.status is not Status.OK and run.steps <= self.steps:
            return None
        sign = self.sign
        found = [(step, sign * value) for step, value in seen if value is not None]
        return found if len(found) == len(seen) else None

    @property
    def sign(self) -> int:
        """1 where a higher value of the metric is better, else -1."""
        return 1 if self.situation.header.better == "higher" else -1

    @property
    def has_met_the_level(self) -> bool:
        """Whether it has met the level of the end within its steps, to stay."""
        run = self.situation.grid.runs[*self.cell, self.seed]
        steps = self.situation.grid.steps_to(run, self.situation.level.target)
        return run.status is Status.OK and steps is not None and steps <= self.steps


Sign = Callable[[Start], float]
"""How promising a configuration looks, less is better; infinite: not at all."""


def best_so_far(start: Start) -> float:
    """Minus the best validation value seen."""
    points = start.points
    return -max(value for _, value in points) if points else math.inf


def expected_s(start: Start) -> float:
    """Seconds to the level that the fitted curves expect, in the mean."""
    points = [point for point in start.points or () if point[0] > 0]
    if len(points) < MIN_POINTS:
        return math.inf
    situation = start.situation
    whole = situation.whole_steps(start.cell[0])
    epochs = np.array([step for step, _ in points]) * situation.header.epochs / whole
    values = np.array([value for _, value in points])
    level = start.sign * situation.level.target.value
    delta = default_delta(situation.header.metric, values)
    most = situation.header.epochs
    expected = expected_epochs(epochs, values, level=level, most=most, resolution=delta)
    return expected / situation.header.epochs * whole * situation.step_s[start.cell[0]]


def expected_epochs(
    epochs: Array, values: Array, *, level: float, most: float, resolution: float
) -> float:
    """Epochs at which a curve is expected at a level, the mean over all likely curves.

    Args:
        epochs: of its evaluations, > 0, ascending.
        values: what was seen there, up is better.
        level: to reach.
        most: epochs of a whole training; what is not there by then counts as twice as long.
        resolution: the smallest difference between values that matters, > 0.
    """
    fits = fit_learning_curves(epochs, values, resolution=resolution)
    places = np.linspace(epochs[-1], most, _PLACES)
    to_come = fits.left(epochs[-1:]) - fits.left(places)  # of each curve's rise
    # Where a curve stands: the mean of what it says of the last quarter of the points.
    late = slice(-max(1, len(epochs) // 4), None)
    behind = fits.left(epochs[late]).mean(axis=1) - fits.left(epochs[-1:])[:, 0]
    now = values[late].mean() + fits.rise * behind[:, None]
    curves = now[:, :, None] + fits.rise[:, :, None] * to_come[:, None, :]
    there = curves >= level
    first = np.where(there.any(axis=2), places[there.argmax(axis=2)], _NEVER * most)
    return float(np.sum(fits.weight[:, None] * first) / fits.rise.shape[1])


def cooled(workload: Workload) -> Sign:
    """Minus the value after a cool-down over the last fifth of the steps; it trains."""

    def sign(start: Start) -> float:
        size, rate = start.cell
        trial = Trial.of_whole_batches(
            workload_id="early signs",
            workload=workload.name,
            n_train=len(workload.train[0]),
            batch_size=size,
            learning_rate=rate,
            seed=start.seed,
        )
        trial = replace(trial, horizon_steps=start.steps, cool_down=COOL_DOWN)
        value = _end_of(workload, trial, start)
        return math.inf if value is None else -start.sign * value

    return sign


def _end_of(workload: Workload, trial: Trial, start: Start) -> float | None:
    seen: list[Evaluation] = []
    task = Task(
        trial=trial,
        length=RunLength(steps=start.steps, interval_samples=start.steps * start.cell[0]),
        device="cpu",
        threads=1,
        checkpoint=None,
        resume=False,
        versions=(),
    )
    outcome = train(workload, task, measures={}, emit=seen.extend, stop=lambda: False)
    if outcome.status is not Status.OK:
        return None
    return seen[-1].score("validation", start.situation.header.metric)


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """What a sign named for one workload, its step times and one seed.

    Attributes:
        sign: which.
        share: of a whole training of the reference, that each configuration was given.
        workload: the recorded workload.
        regret: how much longer it takes than the fastest that ends no worse, a fraction.
        ends_worse: whether it ends worse than the reference as it is, by more than the margin.
    """

    sign: str
    share: float
    workload: str
    regret: float
    ends_worse: bool


def named_by(
    signs: dict[str, Sign], situation: WholeSituation, *, share: float, seed: int
) -> Iterator[Named]:
    """What each sign names, valued on the seeds that it did not see."""
    starts = [
        Start(situation=situation, cell=cell, seed=seed, steps=steps)
        for cell, seeds in situation.grid.cells.items()
        if seed in seeds
        for steps in [int(share * situation.whole_reference_s / situation.step_s[cell[0]])]
        if 0 < steps <= situation.whole_steps(cell[0])
    ]
    judging = [each for each in situation.grid.seeds if each != seed]
    no_worse = [cell for cell in situation.grid.cells if situation.shortfall(cell, judging) <= 1]
    best_s = min(situation.time_s(cell, judging) for cell in no_worse)
    if any(start.has_met_the_level for start in starts):
        return
    for name, sign in signs.items():
        cell = min(starts, key=sign).cell
        yield Named(
            sign=name,
            share=share,
            workload=situation.header.workload,
            regret=situation.time_s(cell, judging) / best_s - 1,
            ends_worse=situation.shortfall_of_own(cell, judging) > 1,
        )


def table(found: Iterable[Named]) -> str:
    """A row for each share and sign."""
    groups: dict[tuple[float, str], list[Named]] = {}
    for each in found:
        groups.setdefault((each.share, each.sign), []).append(each)
    lines = head(
        "seconds for each, of a training", "sign", "answers", "median", "75th percentile",
        "90th percentile", "ends worse",
    )  # fmt: skip
    for (share, sign), group in sorted(groups.items()):
        regrets = [each.regret for each in group]
        lines.append(
            row(
                percent(share),
                sign,
                f"{len({each.workload for each in group})} workloads, {len(group)}",
                *(percent(quantile(regrets, at)) for at in (0.5, 0.75, 0.9)),
                percent(statistics.fmean(each.ends_worse for each in group)),
            )
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cool-down", nargs="*", default=(), metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: list[Named] = []
    for path in sorted(GRIDS.glob("*.csv.gz")):
        grid = RecordedGrid.read(path)
        name = grid.header.workload
        if grid.header.has_schedule or name not in (arguments.cool_down or name):
            continue
        signs: dict[str, Sign] = {"best so far": best_so_far, "expected at the level": expected_s}
        if arguments.cool_down:
            signs["after a cool-down"] = cooled(whole_workload(name))
        for profile, share, seed in product(PROFILES, SHARES, SEEDS):
            situation = whole_situation(grid, profile, draw=0)
            found += named_by(signs, situation, share=share, seed=seed)
        print(name, flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
