"""Record one grid: batch sizes x learning rates x seeds of a workload, with whole curves.

    python benchmarks/regret/record.py mlp-narrow

Learning rates lie on octaves of the reference rate. For each batch size one seed finds the window:
from two octaves below the best rate to the first one above it that fails, at least one octave to
each side. Then a few seeds run in the whole window, and more where one of them was near the least
mean of samples to target. A run ends one evaluation after the harder level was met, when it
diverges, or when it has processed `CUT` times the fewest samples that its batch size took to the
target. The usual batch sizes also get every rate between the reference rate and the best one, for
there people (and searches) begin; those runs go on until the target is met.

Stopped at any moment and started again, it goes on: each finished run is a line on the disk. When
all are done, the lines are packed into NAME.csv.gz, and NAME.json says what they are. Asked again
for more seeds, it adds them to what is packed.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from one_training import step_s_of, trained
from row_file import Row, RowFile
from workloads import BATCH_SIZES, EASIER_AND_HARDER, WORKLOADS

from batchlab.records.run import RunLength
from batchlab.records.trial import Target

HERE = Path(__file__).parent
# A run is cut at so many times the fewest samples that its batch size took to the target.
CUT = 3.5
# Cells with a run within this factor of the least mean samples to target get more seeds.
NEAR = 2.0
# Batch sizes that are tried from the reference rate on, and those of them used at that very rate.
USUAL, HABITS = (16, 32, 64, 128), (32, 64, 128)
LATEST_CUT = 150.0
OCTAVES_BELOW, MOST_OCTAVES_ABOVE = 2, 4


class Recorder:
    """Runs the trials of one grid that are not on the disk yet."""

    def __init__(self, name: str, *, near_seeds: int, far_seeds: int) -> None:
        self._workload = WORKLOADS[name]()
        assert self._workload.target is not None
        self._target = self._workload.target
        _, harder = EASIER_AND_HARDER[name]
        self._harder = Target(metric=self._target.metric, value=harder, better=self._target.better)
        self._near_seeds, self._far_seeds = near_seeds, far_seeds
        self._file = RowFile(HERE, name, reference_rate=self._workload.learning_rate)
        self._rows = {row.key: row for row in self._file.rows()}
        self._cut_samples: dict[int, int] = {}
        low, high = BATCH_SIZES.get(name, (8, 8192))
        self.batch_sizes = [low << i for i in range((high // low).bit_length())]

    def record(self) -> None:
        """Run whatever the grid lacks."""
        windows = self._scouted()
        for seed in range(1, self._far_seeds):
            for batch_size in self.batch_sizes:
                for octave in windows[batch_size]:
                    self._run(batch_size, octave, seed)
        for batch_size in self.batch_sizes:
            windows[batch_size] = self._widened(batch_size, windows[batch_size])
        for batch_size in USUAL:
            self._join_reference(batch_size, windows[batch_size])
        for seed in range(self._far_seeds, self._near_seeds):
            for batch_size in self.batch_sizes:
                for octave in self._near(batch_size, windows[batch_size]):
                    self._run(batch_size, octave, seed)

    def _scouted(self) -> dict[int, list[int]]:
        """The window of each batch size by one seed; each begins at its neighbour's best rate."""
        middle = self._workload.batch_size
        windows: dict[int, list[int]] = {}
        upwards = [size for size in self.batch_sizes if size >= middle]
        downwards = [size for size in reversed(self.batch_sizes) if size < middle]
        best, samples = 3, 2 * 16_384
        for batch_size in upwards:
            windows[batch_size], best, samples = self._scout(batch_size, best, samples)
            if batch_size == middle:
                start = best, samples
        best, samples = start
        for batch_size in downwards:
            windows[batch_size], best, samples = self._scout(batch_size, best, samples)
        return windows

    def _scout(self, batch_size: int, start: int, expected: int) -> tuple[list[int], int, int]:
        seen: dict[int, int | None] = {}

        def look(octave: int) -> None:
            known = [samples for samples in seen.values() if samples is not None]
            limit = CUT * min(known) if known else 2 * CUT * expected
            self._cut_samples[batch_size] = round(limit)
            seen[octave] = self._run(batch_size, octave, 0).samples_to(self._target)

        look(start)
        while all(samples is None for samples in seen.values()):
            if len(seen) > 8:
                raise SystemExit(f"batch size {batch_size}: no rate from 2^{min(seen)} works")
            look(min(seen) - 1)
        while True:
            best = _best(seen)
            missing = [octave for octave in (best + 1, best - 1) if octave not in seen]
            if not missing:
                break
            for octave in missing:
                look(octave)
        for octave in range(best - 1, best - OCTAVES_BELOW - 1, -1):
            if octave not in seen:
                look(octave)
        top = best + 1
        while seen[top] is not None and top < best + MOST_OCTAVES_ABOVE:
            top += 1
            if top not in seen:
                look(top)
        self._cut_samples[batch_size] = round(CUT * (seen[best] or 0))
        return list(range(min(seen), max(seen) + 1)), best, seen[best] or 0

    def _widened(self, batch_size: int, window: list[int]) -> list[int]:
        """The window, widened where the best mean lies nearer to its edge than it should."""
        while True:
            best = min(window, key=lambda octave: self._mean(batch_size, octave))
            missing = [best - 1, best - 2] if best - OCTAVES_BELOW < window[0] else []
            missing += [best + 1] if best == window[-1] else []
            missing = [octave for octave in missing if octave not in window]
            if not missing:
                return window
            for octave in missing:
                for seed in range(self._far_seeds):
                    self._run(batch_size, octave, seed)
            window = sorted({*window, *missing})

    def _join_reference(self, batch_size: int, window: list[int]) -> None:
        """Run every rate from the reference rate to the best one, until the target is met.

        A search that begins at the reference rate must not meet a gap, nor runs that were cut where
        a real one would have gone on and been overtaken only by the next rate.
        """
        best = min(window, key=lambda octave: self._mean(batch_size, octave))
        least = self._cut_samples[batch_size] / CUT
        self._cut_samples[batch_size] = round(LATEST_CUT * least)
        for octave in (*range(best), *range(window[-1] + 1, 1)):
            habit = octave == 0 and batch_size in HABITS
            for seed in range(self._near_seeds if habit else self._far_seeds):
                self._run(batch_size, octave, seed)
        self._cut_samples[batch_size] = round(CUT * least)

    def _near(self, batch_size: int, window: list[int]) -> list[int]:
        """The octaves that one lucky run may make look good: they must show what they are worth."""
        least = min(self._mean(batch_size, octave) for octave in window)
        return [octave for octave in window if self._luckiest(batch_size, octave) <= NEAR * least]

    def _luckiest(self, batch_size: int, octave: int) -> float:
        """Samples to target of the fastest of the first seeds."""
        runs = [self._rows[batch_size, octave, seed] for seed in range(self._far_seeds)]
        return min(run.samples_to(self._target) or math.inf for run in runs)

    def _mean(self, batch_size: int, octave: int) -> float:
        """Mean samples to target over the first seeds; a run that was cut counts as its cut."""
        cut = self._cut_samples[batch_size]
        found = [
            self._rows[batch_size, octave, seed].samples_to(self._target) or cut
            for seed in range(self._far_seeds)
        ]
        return sum(found) / len(found)

    def _run(self, batch_size: int, octave: int, seed: int) -> Row:
        key = batch_size, octave, seed
        limit = -(-self._cut_samples[batch_size] // batch_size)
        if key not in self._rows or self._was_cut_before(self._rows[key], limit):
            self._rows[key] = self._trained(batch_size, octave, seed, limit)
            self._file.append(self._rows[key])
        return self._rows[key]

    def _was_cut_before(self, row: Row, limit: int) -> bool:
        """Whether the run missed the target only because it was cut before `limit` steps."""
        return (
            row.status == "ok" and row.samples_to(self._target) is None and row.curve[-1][0] < limit
        )

    def _trained(self, batch_size: int, octave: int, seed: int, last_step: int) -> Row:
        return trained(
            self._workload,
            RunLength(steps=last_step, until=self._harder),
            batch_size=batch_size,
            octave=octave,
            seed=seed,
            metric=self._target.metric,
        )

    def pack(self, step_s: dict[int, float], *, command: str) -> None:
        """Write the grid and what must be known about it; the lines on the disk are then done."""
        name = self._workload.name
        easier, harder = EASIER_AND_HARDER[name]
        document = {
            "workload": name,
            "n_train": len(self._workload.train[0]),
            "metric": self._target.metric,
            "better": self._target.better,
            "target": self._target.value,
            "easier": easier,
            "harder": harder,
            "reference_batch_size": self._workload.batch_size,
            "reference_learning_rate": self._workload.learning_rate,
            "seeds": len({seed for _, _, seed in self._whole()}),
            "far_seeds": self._far_seeds,
            "cut": CUT,
            "near": NEAR,
            "step_s": {str(size): float(f"{value:.4g}") for size, value in step_s.items()},
            "step_s_source": "CPU seconds a step with one thread, the least of 25 blocks of steps",
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "command": command,
        }
        self._file.pack((self._rows[key] for key in self._whole()), document)

    def _whole(self) -> list[tuple[int, int, int]]:
        """The runs of this grid's batch sizes, without seeds that were stopped half-way."""
        runs = [key for key in self._rows if key[0] in self.batch_sizes]
        counts = Counter(seed for _, _, seed in runs)
        fewest = counts[self._far_seeds]
        return [key for key in runs if key[2] < self._far_seeds or counts[key[2]] >= fewest]

    def step_s(self, *, again: bool) -> dict[int, float]:
        """Seconds of a step at each batch size; as they were measured before, but for `again`."""
        known = None if again else self._file.known("step_s")
        if known is not None:
            return {int(size): step_s for size, step_s in known.items()}
        return {size: step_s_of(self._workload, size) for size in self.batch_sizes}


def _best(seen: dict[int, int | None]) -> int:
    return min((samples, octave) for octave, samples in seen.items() if samples is not None)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--near-seeds", type=int, default=10)
    parser.add_argument("--far-seeds", type=int, default=5)
    parser.add_argument("--pack-only", action="store_true", help="pack what is there")
    parser.add_argument("--time-again", action="store_true", help="measure step times again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names:
        started_s = time.monotonic()
        recorder = Recorder(name, near_seeds=arguments.near_seeds, far_seeds=arguments.far_seeds)
        if not arguments.pack_only:
            recorder.record()
        command = (
            f"python benchmarks/regret/record.py {name} --near-seeds {arguments.near_seeds} "
            f"--far-seeds {arguments.far_seeds}"
        )
        recorder.pack(recorder.step_s(again=arguments.time_again), command=command)
        print(f"{name}: packed after {time.monotonic() - started_s:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
