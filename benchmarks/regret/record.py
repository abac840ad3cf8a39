"""Record whole trainings of a workload: batch sizes x learning rates x seeds, with whole curves.

    python -m benchmarks.regret.record mlp-narrow --batch-sizes 32 64 128 --octaves -1 4 --seeds 9

Trains in PyTorch's own loop as `batchlab sweep` does, into DIR/NAME.db, and writes DIR/NAME.csv.gz
and DIR/NAME.json. Stopped at any moment and started again, it goes on. Learning rates lie on
octaves of the reference rate. Rules that no longer exist chose the rates of the recorded grids:
the command in the JSON file of a grid stands in the history up to commit 5ab7278f.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import platform
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from benchmarks.regret.fresh_workloads import FRESH
from benchmarks.regret.held_out_workloads import HELD_OUT
from benchmarks.regret.later_workloads import LATER
from benchmarks.regret.workloads import WHOLE_WORKLOADS

import batchlab
from batchlab import Study, TrialRecord, Workload

WORKLOADS: dict[str, Callable[[], Workload]] = {**WHOLE_WORKLOADS, **HELD_OUT, **LATER, **FRESH}
_COLUMNS = ("batch_size", "learning_rate", "seed", "status", "steps", "curve")


def curve_of(record: TrialRecord, metric: str) -> list[tuple[int, float | None]]:
    """Return (step, value of the validation metric) at every evaluation; None if not finite."""
    return [(each.step, each.score("validation", metric)) for each in record.evaluations]


def row_of(record: TrialRecord, metric: str) -> Sequence[object]:
    """Return the fields of a line of the grid."""
    trial = record.trial
    points = (
        f"{step}:" if value is None else f"{step}:{value:.4g}"
        for step, value in curve_of(record, metric)
    )
    cell = trial.batch_size, trial.learning_rate, trial.seed
    return *cell, record.status.value, record.steps, ";".join(points)


def header_of(workload: Workload, study: Study, epochs: int) -> dict[str, object]:
    """Return what must be known about a grid."""
    metric = workload.metric_names[0]
    eval_s = statistics.median(
        record.eval_s / len(record.evaluations) for record in study.records if record.evaluations
    )
    return {
        "workload": workload.name,
        "n_train": len(workload.train[0]),
        "metric": metric,
        "better": workload.better(metric),
        "epochs": epochs,
        "has_schedule": workload.schedule is not None,
        "patience_epochs": workload.patience_epochs,
        "reference_batch_size": workload.batch_size,
        "reference_learning_rate": workload.learning_rate,
        "step_s": {str(each.batch_size): float(f"{each.step_s:.4g}") for each in study.timings},
        "eval_s": float(f"{eval_s:.4g}"),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def write(folder: Path, name: str, rows: Sequence[Sequence[object]], header: object) -> None:
    """Write the two files of a grid; the same rows make the same bytes."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(sorted(rows))
    (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    (folder / f"{name}.json").write_text(json.dumps(header, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--batch-sizes", type=int, nargs="+", required=True)
    parser.add_argument("--octaves", type=int, nargs=2, required=True, metavar=("LOW", "HIGH"))
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--epochs", type=int, help="other than the workload's own")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), metavar="DIR")
    asked = parser.parse_args()
    workload = WORKLOADS[asked.name]()
    epochs = asked.epochs or workload.epochs
    assert epochs is not None
    low, high = asked.octaves
    study = batchlab.sweep(
        workload,
        batch_sizes=asked.batch_sizes,
        learning_rates=[workload.learning_rate * 2.0**octave for octave in range(low, high + 1)],
        seeds=asked.seeds,
        epochs=epochs,
        trainer="plain",
        store=asked.folder / f"{asked.name}.db",
    )
    rows = [row_of(record, workload.metric_names[0]) for record in study.records]
    write(asked.folder, asked.name, rows, header_of(workload, study, epochs))


if __name__ == "__main__":
    main()
