"""Grids on a disk, of curves that are known by heart or of whole runs of the plain engine."""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from batchlab.records.trial import Target

Row = tuple[int, float, int, str, Sequence[tuple[int, float | None]]]
"""Batch size, learning rate, seed, status, and (step, value) of every evaluation."""

TARGET = Target(metric="loss", value=0.5, better="lower", held_for=0)
N_TRAIN, EPOCHS = 1024, 20
HEADER: Mapping[str, Any] = {
    "workload": "made-up",
    "n_train": N_TRAIN,
    "metric": "accuracy",
    "better": "higher",
    "epochs": EPOCHS,
    "has_schedule": False,
    "reference_batch_size": 64,
    "reference_learning_rate": 0.1,
    "step_s": {"64": 0.001, "128": 0.001, "256": 0.001, "512": 0.002},
    "eval_s": 0.0005,
}
TO_A_LOSS: Mapping[str, Any] = {
    "metric": "loss",
    "better": "lower",
    "epochs": 2,
    "reference_batch_size": 16,
    "step_s": {"16": 0.001, "32": 0.001, "64": 0.002},
}


def write_grid(folder: Path, rows: Iterable[Row], **header: Any) -> Path:
    """A grid of these rows, with the usual header but for what is given; its path."""
    lines = ["batch_size,learning_rate,seed,status,steps,curve"]
    for batch_size, learning_rate, seed, status, curve in rows:
        points = ";".join(f"{step}:{'' if value is None else value}" for step, value in curve)
        lines.append(f"{batch_size},{learning_rate},{seed},{status},{curve[-1][0]},{points}")
    path = folder / "made-up.csv.gz"
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    (folder / "made-up.json").write_text(json.dumps({**HEADER, **header}))
    return path


def line_to(steps: int) -> list[tuple[int, float]]:
    """A curve that begins at 1 and falls evenly, so that 0.5 is met after `steps` steps."""
    return [(step, round(1 - 0.5 * step / steps, 6)) for step in range(steps * 12 // 10 + 1)]


def write_loss_grid(folder: Path) -> Path:
    """Three batch sizes with three rates each; the middle rate is the best, seeds differ a little.

    Steps to target: 100 at batch size 16, 60 at 32, 40 at 64, two more for every seed;
    half the best rate takes twice as many; four times the best rate diverges after 10 steps.
    """
    rows: list[Row] = []
    for batch_size, rate, steps in ((16, 0.2, 100), (32, 0.2, 60), (64, 0.4, 40)):
        for seed in range(10):
            best = steps + 2 * seed
            rows.append((batch_size, rate, seed, "target_reached", line_to(best)))
            if seed < 5:
                rows.append((batch_size, rate / 2, seed, "target_reached", line_to(2 * best)))
                curve = [(step, 1.0 + step) for step in range(11)]
                rows.append((batch_size, 4 * rate, seed, "diverged", curve))
    return write_grid(folder, rows, **TO_A_LOSS)


# Whole trainings

N_SEEDS, FAR_SEEDS = 14, 4


def rise(
    batch_size: int, *, epochs_to_half: float, end: float, seed: int
) -> list[tuple[int, float]]:
    """An accuracy that approaches `end`, from 0.1, halving what is left again and again."""
    steps = EPOCHS * N_TRAIN // batch_size
    every = max(1, steps // 160)
    end += 0.0002 * (seed % 5 - 2)
    curve = []
    for step in range(0, steps + 1, every):
        epoch = step * batch_size / N_TRAIN
        curve.append((step, round(end - (end - 0.1) * 0.5 ** (epoch / epochs_to_half), 6)))
    return curve


# Batch size, octave of the reference rate, epochs that halve what is left, and the end.
CELLS = (
    (64, 0, 1.5, 0.95),
    (64, 1, 0.8, 0.95),
    (64, 2, 0.5, 0.952),
    (64, 3, 0.9, 0.94),
    (128, 1, 1.4, 0.95),
    (128, 2, 0.7, 0.95),
    (128, 3, 0.5, 0.951),
    (128, 4, 0.9, 0.94),
    (256, 2, 1.2, 0.95),
    (256, 3, 0.6, 0.951),
    (256, 4, 0.55, 0.947),  # the fastest of all to a level, but it ends worse
    (256, 5, 0.9, 0.93),
    (512, 2, 3.0, 0.94),
    (512, 3, 1.5, 0.945),
    (512, 4, 1.3, 0.94),
)


def write_whole_grid(folder: Path, *, is_far=lambda size, octave: False) -> Path:
    """The grid of `CELLS`; its path. Cells that are far have fewer seeds."""
    rows = (
        (size, 0.1 * 2.0**octave, seed, "ok", rise(size, epochs_to_half=half, end=end, seed=seed))
        for size, octave, half, end in CELLS
        for seed in range(FAR_SEEDS if is_far(size, octave) else N_SEEDS)
    )
    return write_grid(folder, rows)
