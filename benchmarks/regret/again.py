"""Train cells of the recorded grids again with the native trainer, beside what was recorded.

    python benchmarks/regret/again.py [--seeds 4] [WORKLOAD ...]

Of each batch size the cell is taken that needs the fewest examples in the mean of its recorded
seeds. The same seeds are trained again, in C, to the target; a grid whose workload C does not cover
is left out. The ratio of the examples that both took is to be 1 within the scatter of the seeds.
Writes benchmarks/results/grids_again.json, and prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from one_training import trial_of
from row_file import RowFile
from scipy import stats
from workloads import WORKLOADS

from batchlab.machine import environment
from batchlab.records.run import RunLength
from batchlab.records.trial import Target
from batchlab.training.plain import Task, train
from batchlab.training.trainers import built_for

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "grids_again.json"
Cell = tuple[int, int]


def recorded(name: str, seeds: int) -> dict[Cell, dict[int, int]]:
    """Of each batch size the best cell, with the examples to the target by seed."""
    workload = WORKLOADS[name]()
    assert workload.target is not None
    found: dict[Cell, dict[int, int]] = defaultdict(dict)
    missed = set()
    for row in RowFile(HERE, name, reference_rate=workload.learning_rate).rows():
        if row.seed < seeds:
            samples = row.samples_to(workload.target)
            if samples is None:
                missed.add((row.batch_size, row.octave))
            else:
                found[row.batch_size, row.octave][row.seed] = samples
    best: dict[int, tuple[float, Cell]] = {}
    for cell, by_seed in found.items():
        if cell not in missed and len(by_seed) == seeds:
            mean = statistics.fmean(map(math.log, by_seed.values()))
            best[cell[0]] = min(best.get(cell[0], (math.inf, cell)), (mean, cell))
    return {cell: found[cell] for _, cell in best.values()}


def trained_again(name: str, cell: Cell, seed: int, most_samples: int) -> int | None:
    """Examples to the target by the native trainer; None: it missed; -1: C does not cover it."""
    torch.set_num_threads(1)
    workload = WORKLOADS[name]()
    assert workload.target is not None
    trial = trial_of(workload, batch_size=cell[0], octave=cell[1], seed=seed)
    build = built_for(workload, trial)
    if build is None or isinstance(build, str):
        return -1
    target = Target(
        metric=workload.target.metric,
        value=workload.target.value,
        better=workload.target.better,
        held_for=0.0,
    )
    seen: list = []
    task = Task(
        trial=trial,
        length=RunLength(
            steps=math.ceil(3 * most_samples / cell[0]), until=target, all_splits="never"
        ),
        device="cpu",
        threads=1,
        checkpoint=None,
        resume=False,
        versions=(),
        build=build,
    )
    outcome = train(workload, task, measures={}, emit=seen.extend, stop=lambda: False)
    if outcome.engine != "native":
        return -1
    for each in seen:
        if each.step > 0 and target.met_by(each.score("validation", target.metric)):
            return int(each.step * cell[0])
    return None


def main() -> None:
    """Train, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    rows = []
    print("| grid | cells | runs | missed | again : recorded, 95 % | largest |z| of a cell |")
    print("|---|--:|--:|--:|--:|--:|")
    with ProcessPoolExecutor() as pool:
        for name in asked.workloads:
            cells = recorded(name, asked.seeds)
            jobs = [(cell, seed) for cell in cells for seed in range(asked.seeds)]
            most = [max(cells[cell].values()) for cell, _ in jobs]
            again = list(pool.map(trained_again, repeat(name), *zip(*jobs, strict=True), most))
            if -1 in again:
                print(f"| {name} | not covered | | | | |", flush=True)
                continue
            rows.append(_row(name, cells, dict(zip(jobs, again, strict=True))))
            row = rows[-1]
            low, high = row["interval"]
            ratio = f"{row['ratio']:.3f} ({low:.3f} to {high:.3f})"
            head = f"| {name} | {len(cells)} | {len(jobs)} | {row['missed']} "
            print(f"{head}| {ratio} | {row['largest_z']:.1f} |", flush=True)
            written = {"environment": environment(), "rows": rows}
            RESULTS.write_text(json.dumps(written, indent=1) + "\n")


def _row(
    name: str, cells: dict[Cell, dict[int, int]], again: dict[tuple[Cell, int], int | None]
) -> dict:
    logs: dict[Cell, list[float]] = defaultdict(list)
    scatter = []
    for (cell, seed), samples in again.items():
        if samples is not None:
            logs[cell].append(math.log(samples / cells[cell][seed]))
    for by_seed in cells.values():
        scatter.append(statistics.variance(map(math.log, by_seed.values())))
    sd = math.sqrt(statistics.fmean(scatter))
    means = [statistics.fmean(each) for each in logs.values()]
    half = stats.t.ppf(0.975, len(means) - 1) * statistics.stdev(means) / math.sqrt(len(means))
    mean = statistics.fmean(means)
    largest = max(abs(statistics.fmean(x)) / (sd * math.sqrt(2 / len(x))) for x in logs.values())
    return {
        "grid": name,
        "cells": len(cells),
        "missed": sum(samples is None for samples in again.values()),
        "ratio": math.exp(mean),
        "interval": [math.exp(mean - half), math.exp(mean + half)],
        "seed_sd": sd,
        "largest_z": largest,
    }


if __name__ == "__main__":
    main()
