"""Record whole trainings of workloads with a learning-rate schedule at other lengths.

    python benchmarks/regret/record_horizons.py mlp-narrow-cosine transformer-cosine

The schedule spans 0.5, 1.5 or 2 times the epochs of the workload; what it gives at its own length
is in the record of whole trainings (`record_whole`). Each batch size is trained at the rate that
ended best there, at half and at twice that rate. Smaller sizes than the reference are trained for
the shortest length only, because longer trainings of them take longer than the reference's.

Stopped at any moment and started again, it goes on; what is packed is done.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

import torch
from benchmarks.recorded.grid import RecordedGrid, WholeGridHeader
from one_training import trained
from record_whole import FOLDER, LATER_FOLDER, WORKLOADS
from row_file import RowFile

from batchlab.records.run import RunLength
from batchlab.records.trial import Status
from batchlab.workload.definition import Workload

HORIZONS = (0.5, 1.5, 2.0)
HORIZON_FOLDER = Path(__file__).parent / "horizons"
N_SEEDS = 10
# Evaluations along a training; only its last ones tell what it ends with.
_EVALUATIONS = 20


def cells(grid: RecordedGrid, workload: Workload) -> Iterator[tuple[int, int]]:
    """Yield batch sizes, and octaves of rate around the one that ended best in the record."""
    sign = 1 if grid.header.better == "higher" else -1
    for size in grid.batch_sizes:
        ends = {}
        for rate in grid.learning_rates(size):
            runs = [grid.runs[size, rate, seed] for seed in grid.cells[size, rate]]
            if all(run.status is Status.OK for run in runs):
                values = [run.curve[-1][1] or math.nan for run in runs]
                octave = round(math.log2(rate / workload.learning_rate))
                ends[octave] = sign * statistics.fmean(values)
        best = max(ends, key=ends.__getitem__)
        yield from ((size, octave) for octave in (best - 1, best, best + 1))


def record(name: str, horizon: float) -> None:
    """Record one workload at one length, unless that is done."""
    whole = FOLDER if (FOLDER / f"{name}.json").exists() else LATER_FOLDER
    grid = RecordedGrid.read(whole / f"{name}.csv.gz")
    header = grid.header
    assert isinstance(header, WholeGridHeader)
    epochs = round(horizon * header.epochs)
    workload = replace(WORKLOADS[name](), epochs=epochs)
    file = RowFile(HORIZON_FOLDER, f"{name}-{epochs}", reference_rate=workload.learning_rate)
    if file.is_packed:
        return
    rows = {row.key: row for row in file.rows()}
    around = list(cells(grid, workload))
    own = [octave for size, octave in around if size == header.reference_batch_size]
    wanted = [
        (size, octave, seed)
        for seed in range(N_SEEDS)
        for size, octave in around
        if size >= header.reference_batch_size or horizon < 1
    ]
    for size, octave, seed in wanted:
        if (size, octave, seed) not in rows:
            length = RunLength(
                steps=math.ceil(header.n_train / size) * epochs,
                interval_samples=epochs * header.n_train // _EVALUATIONS,
            )
            row = trained(
                workload,
                length,
                batch_size=size,
                octave=octave,
                seed=seed,
                metric=header.metric,
            )
            rows[row.key] = row
            file.append(row)
    document = {
        **{key: getattr(header, key) for key in header.__struct_fields__},
        "epochs": epochs,
        "reference_learning_rate": workload.learning_rate * 2.0 ** own[1],
        "step_s": {str(size): value for size, value in header.step_s.items()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "command": f"python benchmarks/regret/record_horizons.py {name}",
    }
    file.pack((rows[key] for key in wanted), document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=list(WORKLOADS), metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    HORIZON_FOLDER.mkdir(exist_ok=True)
    for name in arguments.names:
        for horizon in HORIZONS:
            started_s = time.process_time()
            record(name, horizon)
            took_s = time.process_time() - started_s
            print(f"{name}, {horizon:g}: {took_s:.0f} CPU seconds", file=sys.stderr)


if __name__ == "__main__":
    main()
