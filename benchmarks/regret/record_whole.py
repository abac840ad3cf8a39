"""Record whole trainings of workloads: batch sizes x learning rates x seeds, with whole curves.

    python benchmarks/regret/record_whole.py mlp-narrow tabular

Every run is a whole training of the workload's epochs, whatever it meets on the way. Learning rates
lie on octaves of the reference rate. The reference is trained first: 5 % more errors than it ends
with is the level. For each batch size one seed finds the window of rates (`rate_window`), then a
few seeds run in the whole window, and more where the choice may fall.

Stopped at any moment and started again, it goes on (see `row_file`); what is packed is done.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from fresh_workloads import FRESH, FRESH_BATCH_SIZES
from held_out_workloads import HELD_OUT
from later_workloads import LATER
from one_training import eval_s_of, step_s_of, trained
from rate_window import CellCost, best_of, near_octaves, window_around
from row_file import Row, RowFile, RowKey
from whole_level import WholeLevel, end_of, level_of
from whole_workloads import WHOLE_BATCH_SIZES, WHOLE_WORKLOADS

from batchlab.records.batch_plan import BatchPlan
from batchlab.records.run import RunLength
from batchlab.records.trial import Evaluation, Score, Target, crossing_of
from batchlab.workload.definition import Workload

FOLDER = Path(__file__).parent / "whole"
# Apart, so that no constant is chosen on them.
LATER_FOLDER = Path(__file__).parent / "later"
WORKLOADS = {**WHOLE_WORKLOADS, **HELD_OUT, **LATER, **FRESH}
NARROWER = {**WHOLE_BATCH_SIZES, **FRESH_BATCH_SIZES}
FAR_SEEDS, NEAR_SEEDS = 4, 14
# Searches begin at the reference rate of these: from there to the best rate there is no gap.
JOINED = (16, 32, 64, 128)
BATCH_SIZES = (16, 4096)
# A training that misses the level counts as so many of its lengths.
MISSED = 2.0


class WholeRecorder:
    """Runs the trainings of one grid that are not on the disk yet."""

    def __init__(self, name: str) -> None:
        self._workload: Workload = WORKLOADS[name]()
        assert self._workload.epochs is not None
        self._epochs = self._workload.epochs
        self._metric = self._workload.metric_names[0]
        self._better = self._workload.better(self._metric)
        self._keeps_best = self._workload.patience_epochs is not None
        folder = LATER_FOLDER if name in {**LATER, **FRESH} else FOLDER
        self._file = RowFile(folder, name, reference_rate=self._workload.learning_rate)
        self._rows = {row.key: row for row in self._file.rows()}
        self._n_train = len(self._workload.train[0])
        low, high = NARROWER.get(name, BATCH_SIZES)
        self.batch_sizes = [low << i for i in range((high // low).bit_length())]

    @property
    def is_packed(self) -> bool:
        """Whether nothing is left to do."""
        return self._file.is_packed

    def record(self) -> list[RowKey]:
        """Run whatever the grid lacks; what it holds then."""
        windows = self._scouted()
        for seed in range(1, FAR_SEEDS):
            for size in self.batch_sizes:
                for octave in windows[size]:
                    self._run(size, octave, seed)
        for size in self.batch_sizes:
            windows[size] = self._widened(size, windows[size])
        near = self._near(windows)
        for seed in range(FAR_SEEDS, NEAR_SEEDS):
            for size in self.batch_sizes:
                for octave in near[size]:
                    self._run(size, octave, seed)
        return [
            (size, octave, seed)
            for size in self.batch_sizes
            for octave in windows[size]
            for seed in range(NEAR_SEEDS if octave in near[size] else FAR_SEEDS)
        ]

    @cached_property
    def _level(self) -> WholeLevel:
        size = self._workload.batch_size
        curves = [self._run(size, 0, seed).curve for seed in range(NEAR_SEEDS)]
        return level_of(
            curves, metric=self._metric, better=self._better, keeps_best=self._keeps_best
        )

    def _scouted(self) -> dict[int, tuple[int, ...]]:
        """The window of each batch size by one seed; each begins at its neighbour's best rate."""
        middle = self._workload.batch_size
        windows: dict[int, tuple[int, ...]] = {}
        start = 0
        for size in [size for size in self.batch_sizes if size >= middle]:
            windows[size] = self._window(size, (0,), start)
            start = self._best(size, windows[size], (0,))
        start = self._best(middle, windows[middle], (0,))
        for size in [size for size in reversed(self.batch_sizes) if size < middle]:
            windows[size] = self._window(size, (0,), start)
            start = self._best(size, windows[size], (0,))
        return windows

    def _widened(self, size: int, window: tuple[int, ...]) -> tuple[int, ...]:
        """The window around the best of a few seeds, joined with the reference rate."""
        seeds = range(FAR_SEEDS)
        start = self._best(size, window, seeds)
        wide = [*window, *self._window(size, seeds, start)]
        if size in JOINED:
            wide += [0]
        window = tuple(range(min(wide), max(wide) + 1))
        for octave in window:
            self._cost(size, octave, seeds)
        return window

    def _window(self, size: int, seeds: Sequence[int], start: int) -> tuple[int, ...]:
        return window_around(lambda octave: self._cost(size, octave, seeds), start)

    def _best(self, size: int, window: Sequence[int], seeds: Sequence[int]) -> int:
        return best_of({octave: self._cost(size, octave, seeds) for octave in window})

    def _near(self, windows: dict[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
        costs = {
            size: {octave: self._cost(size, octave, range(FAR_SEEDS)) for octave in window}
            for size, window in windows.items()
        }
        best_shortfall = min(cost.shortfall for row in costs.values() for cost in row.values())
        near = {
            size: near_octaves(row, best_shortfall=best_shortfall) for size, row in costs.items()
        }
        middle = self._workload.batch_size
        near[middle] = tuple(sorted({*near[middle], 0}))
        # Trainings this slow are not what a search ends with, and take half of the recording.
        for size in (size for size in self.batch_sizes if size < middle / 2):
            near[size] = (best_of(costs[size]),)
        return near

    def _cost(self, size: int, octave: int, seeds: Sequence[int]) -> CellCost:
        """What the trainings of a cell come to; those that are not there yet are run."""
        rows = [self._run(size, octave, seed) for seed in seeds]
        whole = self._epochs * self._n_train
        found = [self._samples_to(row, self._level.target) for row in rows]
        ends = [
            end_of(row.curve, better=self._better, keeps_best=self._keeps_best)
            if row.status == "ok"
            else None
            for row in rows
        ]
        known = [end for end in ends if end is not None]
        return CellCost(
            samples=statistics.fmean(MISSED * whole if each is None else each for each in found),
            shortfall=math.inf
            if len(known) < len(ends)
            else self._level.shortfall(statistics.fmean(known), beside=self._level.end),
            misses=found.count(None) / len(found),
        )

    def _samples_to(self, row: Row, level: Target) -> float | None:
        """Examples to the level, met to stay; None: the training failed, or missed it."""
        if row.status != "ok":
            return None
        crossing = crossing_of([self._evaluation(row, *point) for point in row.curve], level)
        return None if crossing is None else crossing.middle * row.batch_size

    def _evaluation(self, row: Row, step: int, value: float | None) -> Evaluation:
        return Evaluation(
            step=step,
            samples=self._plan(row.batch_size).samples_at(step),
            train_s=0.0,
            eval_s=0.0,
            batch_loss=None,
            scores=(Score(split="validation", metric=self._metric, value=value),),
        )

    def _plan(self, size: int) -> BatchPlan:
        return BatchPlan(n_train=self._n_train, batch_size=size, drop_last=False)

    def _run(self, size: int, octave: int, seed: int) -> Row:
        key = size, octave, seed
        if key not in self._rows:
            started_s = time.process_time()
            self._rows[key] = trained(
                self._workload,
                RunLength(steps=self._plan(size).steps_in(self._epochs)),
                batch_size=size,
                octave=octave,
                seed=seed,
                metric=self._metric,
            )
            self._file.append(self._rows[key])
            print(
                self._workload.name,
                *key,
                f"{time.process_time() - started_s:.1f} s",
                self._rows[key].status,
            )
        return self._rows[key]

    def pack(self, keys: Sequence[RowKey]) -> None:
        """Write the grid and what must be known about it."""
        workload = self._workload
        step_s = {size: step_s_of(workload, size) for size in self.batch_sizes}
        document = {
            "workload": workload.name,
            "n_train": self._n_train,
            "metric": self._metric,
            "better": self._better,
            "epochs": self._epochs,
            "has_schedule": workload.schedule is not None,
            "patience_epochs": workload.patience_epochs,
            "reference_batch_size": workload.batch_size,
            "reference_learning_rate": workload.learning_rate,
            "seeds": NEAR_SEEDS,
            "far_seeds": FAR_SEEDS,
            "step_s": {str(size): float(f"{value:.4g}") for size, value in step_s.items()},
            "eval_s": float(f"{eval_s_of(workload):.4g}"),
            "step_s_source": "CPU seconds with one thread, the least of 25 blocks of steps",
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "command": f"python benchmarks/regret/record_whole.py {workload.name}",
        }
        self._file.pack((self._rows[key] for key in keys), document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=list(WORKLOADS), metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for folder in (FOLDER, LATER_FOLDER):
        folder.mkdir(exist_ok=True)
    for name in arguments.names:
        started_s = time.process_time()
        recorder = WholeRecorder(name)
        if recorder.is_packed:
            continue
        recorder.pack(recorder.record())
        took_s = time.process_time() - started_s
        print(f"{name}: packed after {took_s:.0f} CPU seconds", file=sys.stderr)


if __name__ == "__main__":
    main()
