"""Time per step of the plain engine against the textbook loop, side by side in one run.

    python benchmarks/plain_against_textbook.py [--workload mnist-mlp] [--threads 1]

The textbook loop is what a tutorial shows: a `DataLoader` over a `TensorDataset` with the default
collate, `zero_grad`, `loss.backward()`, `optimizer.step()`. Both get the same model, the same
uint8 images, the same loss and the same optimizer from the same workload; a second textbook row
has the optimizer that a tutorial would write, without PyTorch's fused kernels. The loops take turns
block by block, so that whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

from batchlab.records.trial import Trial
from batchlab.training.stepper import Stepper
from batchlab.workload.definition import Workload
from batchlab.workload.loading import load_workload

BATCH_SIZES = (1, 16, 64, 256, 1024, 4096)
ROUNDS = 9
BLOCK_S = 0.4
RESULTS = Path(__file__).parent / "results" / "plain_against_textbook.json"


def trial_of(workload: Workload, batch_size: int) -> Trial:
    return Trial(
        workload_id="benchmark",
        workload=workload.name,
        n_train=len(workload.train[0]),
        batch_size=batch_size,
        learning_rate=workload.learning_rate,
        seed=0,
    )


def plain_steps(workload: Workload, batch_size: int) -> Callable[[int], None]:
    stepper = Stepper(workload, trial_of(workload, batch_size), torch.device("cpu"))
    stream = stepper.stream(0)

    def run(n_steps: int) -> None:
        # As the engine does: at most 256 steps between two looks at the losses.
        while n_steps > 0:
            stepper.steps(stream, min(n_steps, 256), first_step=0)
            n_steps -= 256

    return run


def textbook_steps(workload: Workload, batch_size: int, *, fused: bool) -> Callable[[int], None]:
    torch.manual_seed(0)
    model = workload.model()
    if fused:
        optimizer = workload.optimizer(model.parameters(), workload.learning_rate)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=workload.learning_rate, momentum=0.9)
    loader = DataLoader(TensorDataset(*workload.train), batch_size=batch_size, shuffle=True)

    def batches() -> Iterator[list[torch.Tensor]]:
        while True:
            yield from loader

    stream = batches()

    def run(n_steps: int) -> None:
        for _ in range(n_steps):
            batch = next(stream)
            optimizer.zero_grad()
            loss = workload.loss(model, batch)
            loss.backward()
            optimizer.step()

    return run


def seconds(run: Callable[[int], None], n_steps: int) -> float:
    started_s = time.perf_counter()
    run(n_steps)
    return (time.perf_counter() - started_s) / n_steps


def measured(workload: Workload, batch_size: int) -> dict[str, float | int]:
    loops = {
        "plain": plain_steps(workload, batch_size),
        "textbook": textbook_steps(workload, batch_size, fused=True),
        "textbook_unfused": textbook_steps(workload, batch_size, fused=False),
    }
    for run in loops.values():
        seconds(run, 3)  # the first steps at a new shape pick kernels
    n_steps = max(3, round(BLOCK_S / seconds(loops["textbook"], 5)))
    step_s: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, run in loops.items():
            step_s[name].append(seconds(run, n_steps))
    medians = {name: statistics.median(values) for name, values in step_s.items()}
    ratios = {
        name: statistics.median(
            other / plain for other, plain in zip(step_s[name], step_s["plain"], strict=True)
        )
        for name in ("textbook", "textbook_unfused")
    }
    return {
        "batch_size": batch_size,
        "n_rounds": ROUNDS,
        "steps_per_round": n_steps,
        "plain_step_s": medians["plain"],
        "textbook_step_s": medians["textbook"],
        "textbook_unfused_step_s": medians["textbook_unfused"],
        "textbook_over_plain": ratios["textbook"],
        "textbook_unfused_over_plain": ratios["textbook_unfused"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workload", default="mnist-mlp")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    workload = load_workload(arguments.workload, {}).workload
    print("batch size   plain µs   textbook µs   ratio   unfused µs   ratio")
    rows = []
    for batch_size in BATCH_SIZES:
        row = measured(workload, batch_size)
        rows.append(row)
        print(
            f"{batch_size:10d} {1e6 * row['plain_step_s']:10.0f} "
            f"{1e6 * row['textbook_step_s']:13.0f} {row['textbook_over_plain']:7.2f} "
            f"{1e6 * row['textbook_unfused_step_s']:12.0f} "
            f"{row['textbook_unfused_over_plain']:7.2f}",
            flush=True,
        )
    document = {
        "workload": arguments.workload,
        "threads": arguments.threads,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "rows": rows,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
