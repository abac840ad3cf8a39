"""Print as JSON what a trial takes beyond its steps; a part of `scripts/gpu`.

    python benchmarks/gpu_trials.py start cuda           PyTorch and the device in a new process
    python benchmarks/gpu_trials.py trials cuda 50000 4  a sweep of the small CNN, 50,000 images

The second trains one trial, then 4 more, and then all 5 for twice as many steps, from their
checkpoints. A call that finds its trials in the store takes what any call takes, and is subtracted.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import batchlab  # loads no torch

BATCH_SIZE = 64
STEPS = 100


def cnn(*, examples: int = 50_000) -> batchlab.Workload:
    """Return the built-in mnist-cnn, with at most `examples` images in each split."""
    from batchlab.workload.builtin import mnist_cnn

    digits = mnist_cnn.workload()
    splits = {}
    for split in ("train", "validation", "test"):
        splits[split] = tuple(column[:examples] for column in getattr(digits, split))
    return replace(digits, name="cnn", **splits)


def start(device: str) -> dict[str, Any]:
    """Import PyTorch, open the device and take a first step, each timed."""
    began_s = time.perf_counter()
    import torch

    imported_s = time.perf_counter()
    found: dict[str, Any] = {"torch": str(torch.__version__), "gpu": None}
    if device == "cuda" and not torch.cuda.is_available():
        return found
    images = torch.zeros(BATCH_SIZE, 1, 28, 28, device=device)
    images.sum().item()  # waits for the device
    opened_s = time.perf_counter()
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 5), torch.nn.Flatten(), torch.nn.Linear(4608, 10)
    ).to(device)
    layers(images).sum().backward()
    layers[0].weight.grad.sum().item()
    stepped_s = time.perf_counter()
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "memory_bytes": properties.total_memory}
    return found | {
        "import_torch_s": imported_s - began_s,
        "open_device_s": opened_s - imported_s,
        "first_step_s": stepped_s - opened_s,
    }


def trials(device: str, examples: int, n: int) -> dict[str, Any]:
    """Time a sweep with `n` new trials, and one that continues `1 + n`."""
    if device == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one at a time, as on a GPU

    def sweep(seeds: int, steps: int) -> tuple[float, batchlab.Study]:
        began_s = time.perf_counter()
        study = batchlab.sweep(
            f"{__file__}:cnn",
            settings={"examples": examples},
            batch_sizes=(BATCH_SIZE,),
            seeds=seeds,
            steps=steps,
            device=device,
            trainer="plain",
            store=Path(folder) / "trials.db",
        )
        return time.perf_counter() - began_s, study

    with tempfile.TemporaryDirectory() as folder:
        sweep(1, STEPS)
        call_s, before = sweep(1, STEPS)
        new_s, between = sweep(1 + n, STEPS)
        continued_s, after = sweep(1 + n, 2 * STEPS)
    return {
        "new": cost(new_s - call_s, n, before, between),
        "continued": cost(continued_s - call_s, 1 + n, between, after),
    }


def cost(took_s: float, n: int, before: batchlab.Study, after: batchlab.Study) -> dict[str, Any]:
    """Return the seconds of one of `n` trials that took `took_s` together."""
    timing = after.timing(BATCH_SIZE)
    assert timing is not None
    steps_s = STEPS * timing.step_s
    evaluations_s = sum(record.eval_s for record in after.records)
    evaluations_s -= sum(record.eval_s for record in before.records)
    return {
        "n": n,
        "resumed": sum(bool(record.resumed_from_steps) for record in after.records),
        "statuses": sorted({str(record.status) for record in after.records}),
        "whole_s": took_s / n,
        "steps_s": steps_s,
        "evaluations_s": evaluations_s / n,
        "beyond_s": (took_s - evaluations_s) / n - steps_s,
    }


if __name__ == "__main__":
    _, what, device, *numbers = sys.argv
    found = start(device) if what == "start" else trials(device, *map(int, numbers))
    print(json.dumps(found))
