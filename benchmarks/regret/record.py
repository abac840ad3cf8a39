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
import csv
import gzip
import io
import json
import math
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from workloads import BATCH_SIZES, EASIER_AND_HARDER, WORKLOADS

from batchlab.records.evaluation import Evaluation
from batchlab.records.run_length import RunLength
from batchlab.records.target import Target
from batchlab.records.trial import Trial
from batchlab.training.plain import Task, train
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload

HERE = Path(__file__).parent
COLUMNS = ("batch_size", "learning_rate", "seed", "status", "steps", "curve")
# A run is cut at so many times the fewest samples that its batch size took to the target.
CUT = 3.5
# Cells with a run within this factor of the least mean samples to target get more seeds.
NEAR = 2.0
# Batch sizes that are tried from the reference rate on, and those of them used at that very rate.
USUAL, HABITS = (16, 32, 64, 128), (32, 64, 128)
LATEST_CUT = 150.0
OCTAVES_BELOW, MOST_OCTAVES_ABOVE = 2, 4


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial of the grid, as it is written."""

    batch_size: int
    octave: int
    seed: int
    status: str
    curve: tuple[tuple[int, float | None], ...]

    def samples_to(self, level: Target) -> int | None:
        """Examples processed when the level was first met, None if it was not."""
        for step, value in self.curve:
            if step > 0 and level.met_by(value):
                return step * self.batch_size
        return None


class Recorder:
    """Runs the trials of one grid that are not on the disk yet."""

    def __init__(self, name: str, *, near_seeds: int, far_seeds: int) -> None:
        self._workload = WORKLOADS[name]()
        assert self._workload.target is not None
        self._target = self._workload.target
        _, harder = EASIER_AND_HARDER[name]
        self._harder = Target(metric=self._target.metric, value=harder, better=self._target.better)
        self._near_seeds, self._far_seeds = near_seeds, far_seeds
        self._path = HERE / f"{name}.partial.csv"
        self._rows: dict[tuple[int, int, int], Row] = {}
        self._packed = HERE / f"{name}.csv.gz"
        for line in (*_packed_lines(self._packed), *_lines(self._path)):
            row = _parsed(line, self._workload.learning_rate)
            self._rows[row.batch_size, row.octave, row.seed] = row
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
            with self._path.open("a", newline="") as stream:
                csv.writer(stream).writerow(_written(self._rows[key], self._workload.learning_rate))
        return self._rows[key]

    def _was_cut_before(self, row: Row, limit: int) -> bool:
        """Whether the run missed the target only because it was cut before `limit` steps."""
        return (
            row.status == "ok" and row.samples_to(self._target) is None and row.curve[-1][0] < limit
        )

    def _trained(self, batch_size: int, octave: int, seed: int, last_step: int) -> Row:
        evaluations: list[Evaluation] = []
        task = Task(
            trial=_trial(self._workload, batch_size, _rate(self._workload, octave), seed),
            length=RunLength(steps=last_step, until=self._harder),
            device="cpu",
            threads=1,
            checkpoint=None,
            resume=False,
            versions=(),
        )
        outcome = train(
            self._workload, task, measures={}, emit=evaluations.extend, stop=lambda: False
        )
        assert outcome.status is not None
        curve = tuple(
            (each.step, each.score("validation", self._target.metric)) for each in evaluations
        )
        return Row(
            batch_size=batch_size,
            octave=octave,
            seed=seed,
            status=outcome.status.value,
            curve=curve,
        )

    def pack(self, step_s: dict[int, float], *, command: str) -> None:
        """Write the grid and what must be known about it; the lines on the disk are then done."""
        name = self._workload.name
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for key in sorted(self._whole()):
            writer.writerow(_written(self._rows[key], self._workload.learning_rate))
        # No time in the header: the same grid gives the same bytes.
        packed = gzip.compress(text.getvalue().encode(), mtime=0)
        _replace(self._packed, packed)
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
        _replace(HERE / f"{name}.json", (json.dumps(document, indent=2) + "\n").encode())
        self._path.unlink(missing_ok=True)

    def _whole(self) -> list[tuple[int, int, int]]:
        """The runs of this grid's batch sizes, without seeds that were stopped half-way."""
        runs = [key for key in self._rows if key[0] in self.batch_sizes]
        counts = Counter(seed for _, _, seed in runs)
        fewest = counts[self._far_seeds]
        return [key for key in runs if key[2] < self._far_seeds or counts[key[2]] >= fewest]

    def step_s(self, *, again: bool) -> dict[int, float]:
        """Seconds of a step at each batch size; as they were measured before, but for `again`."""
        header = HERE / f"{self._workload.name}.json"
        if not again:
            with suppress(FileNotFoundError):
                known = json.loads(header.read_text())["step_s"]
                return {int(size): step_s for size, step_s in known.items()}
        return {size: _step_s(self._workload, size) for size in self.batch_sizes}


def _best(seen: dict[int, int | None]) -> int:
    return min((samples, octave) for octave, samples in seen.items() if samples is not None)[1]


def _rate(workload: Workload, octave: int) -> float:
    return float(workload.learning_rate * 2.0**octave)


def _trial(workload: Workload, batch_size: int, learning_rate: float, seed: int) -> Trial:
    return Trial.of_whole_batches(
        workload_id="regret",
        workload=workload.name,
        n_train=len(workload.train[0]),
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )


def _step_s(workload: Workload, batch_size: int) -> float:
    trial = _trial(workload, batch_size, workload.learning_rate, 0)
    stepper = Stepper(workload, trial, torch.device("cpu"))
    stream = stepper.stream(0)
    stepper.steps(stream, 2, first_step=0)
    blocks = []
    done, n_steps = 2, max(1, 2048 // batch_size)
    # CPU seconds, and the least of many blocks: what else the machine does changes these least.
    for _ in range(25):
        started_s = time.process_time()
        stepper.steps(stream, n_steps, first_step=done)
        blocks.append((time.process_time() - started_s) / n_steps)
        done += n_steps
    return min(blocks)


def _packed_lines(path: Path) -> Iterator[list[str]]:
    try:
        packed = path.read_bytes()
    except FileNotFoundError:
        return
    yield from csv.reader(gzip.decompress(packed).decode().splitlines()[1:])


def _replace(path: Path, content: bytes) -> None:
    """Write all of it or nothing."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _lines(path: Path) -> Iterator[list[str]]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return
    # A line without its end was being written when the machine stopped.
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    yield from csv.reader(whole.splitlines())


def _written(row: Row, reference_rate: float) -> Sequence[object]:
    curve = ";".join(
        f"{step}:{'' if value is None else f'{value:.4g}'}" for step, value in row.curve
    )
    rate = reference_rate * 2.0**row.octave
    return row.batch_size, rate, row.seed, row.status, row.curve[-1][0], curve


def _parsed(line: Sequence[str], reference_rate: float) -> Row:
    batch_size, rate, seed, status, _, curve = line
    points = (point.split(":") for point in curve.split(";"))
    octave = 0
    while abs(reference_rate * 2.0**octave / float(rate) - 1) > 0.1:
        octave += 1 if reference_rate * 2.0**octave < float(rate) else -1
    return Row(
        batch_size=int(batch_size),
        octave=octave,
        seed=int(seed),
        status=status,
        curve=tuple((int(step), float(value) if value else None) for step, value in points),
    )


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
