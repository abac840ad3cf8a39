"""Data larger than memory: a memory map, which no process ever copies.

    batchlab advise examples/memory_map.py:workload --budget 60s
    batchlab sweep examples/memory_map.py:workload --batch-sizes 16,64,256 --epochs 2

Here a small file is written first; yours is there already. Each step reads its own examples.
"""

import tempfile
from pathlib import Path

import numpy as np
from torch import nn

import batchlab


def written(n=4000, width=64):
    """A file of examples, made once: each has the number of its largest column as its label."""
    file = Path(tempfile.gettempdir()) / f"batchlab-example-{n}-{width}.npy"
    if not file.exists():
        rows = np.random.default_rng(0).normal(size=(n, width)).astype("float32")
        rows[:, -1] = rows[:, : width // 8].argmax(1)
        np.save(file.with_suffix(".new.npy"), rows)
        file.with_suffix(".new.npy").rename(file)
    return file


def workload():
    rows = np.load(written(), mmap_mode="r")
    return batchlab.Workload(
        name="mapped",
        model=lambda: nn.Sequential(nn.Linear(63, 64), nn.ReLU(), nn.Linear(64, 8)),
        train=(rows[:, :-1], rows[:, -1].astype("int64")),
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        metrics={"accuracy": lambda m, batch: (m(batch[0]).argmax(1) == batch[1]).float().mean()},
        learning_rate=0.03,
    )
