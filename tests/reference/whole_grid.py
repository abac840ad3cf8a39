"""A grid of whole trainings with known curves, known by heart."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.reference.recorded_grid import Row, write_grid

N_TRAIN, EPOCHS = 1024, 20
HEADER: dict[str, Any] = {
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
N_SEEDS, FAR_SEEDS = 14, 4
Curve = list[tuple[int, float]]


def rise(batch_size: int, *, epochs_to_half: float, end: float, seed: int = 0) -> Curve:
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


def write_whole_grid(folder: Path, *, is_far=lambda size, octave: False, **header: Any) -> Path:
    """The grid of `CELLS`; its path. Cells that are far have fewer seeds."""
    rows = (
        (size, 0.1 * 2.0**octave, seed, "ok", rise(size, epochs_to_half=half, end=end, seed=seed))
        for size, octave, half, end in CELLS
        for seed in range(FAR_SEEDS if is_far(size, octave) else N_SEEDS)
    )
    return write_rows(folder, rows, **header)


def write_rows(folder: Path, rows: Iterable[Row], **header: Any) -> Path:
    """A grid of whole trainings of these rows; its path."""
    return write_grid(folder, rows, usual=HEADER, **header)
