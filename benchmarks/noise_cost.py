"""What the noise of a gradient costs: norms of single examples, and a noise scale within 20 %.

    python benchmarks/noise_cost.py

The gradients of a batch with the norm of each example's, by each way, beside an ordinary backward
pass of the same batch: the least of several, the ways in turn, one thread. Then the seconds until a
noise scale is known within 20 % at the initial weights and after an epoch, on all cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

sys.path.append(str(Path(__file__).parents[1]))
from benchmarks.regret.workloads import cnn

from batchlab.laws.noise_scale import noise_scale
from batchlab.machine import thread_choices
from batchlab.measure.gradient_noise import GradientNoise
from batchlab.measure.gradients import batch_gradient, one_by_one, per_example
from batchlab.training.batching import examples_at
from batchlab.workload.definition import Batch, Workload
from batchlab.workload.loading import loaded_workload

# Name, settings and examples of a batch.
BUILT_IN = (
    ("mnist-softmax", {}, 256),
    ("mnist-mlp", {}, 256),
    ("mnist-mlp", {"width": "1024"}, 256),
    ("moby-dick", {}, 32),
)
REPEATS = 7
SEEDS = 5
CPU = torch.device("cpu")


def least_s(timed: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least seconds of each, taking turns."""
    found: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(REPEATS):
        for name, function in timed.items():
            if len(found[name]) >= 2 and min(found[name]) > 2.0:
                continue  # slow enough to be told from the others
            started_s = time.perf_counter()
            function()
            found[name].append(time.perf_counter() - started_s)
    return {name: min(values) for name, values in found.items()}


def cost_row(name: str, workload: Workload, n: int) -> str:
    """One line of the first table."""
    torch.manual_seed(0)
    model = workload.model()
    batch = examples_at(workload, torch.arange(n))
    way = per_example(workload, model, batch)
    assert way is not None
    name_of_way, chosen = way

    def taken(function: Callable[[Workload, nn.Module, Batch], object]) -> Callable[[], object]:
        return lambda: function(workload, model, batch)

    seconds = least_s(
        {
            "backward": taken(batch_gradient),
            "chosen": taken(chosen),
            "one by one": taken(one_by_one),
        }
    )
    base = seconds.pop("backward")
    ratios = " | ".join(f"{value / base:.2g}" for value in seconds.values())
    return f"| {name} | {n} | {1e3 * base:.3g} ms | {name_of_way} | {ratios} |"


def time_row(name: str, workload: Workload, epochs: int) -> str:
    """One line of the second table."""
    torch.manual_seed(0)
    model = workload.model()
    make = workload.optimizer
    assert make is not None
    optimizer = make(list(model.parameters()), workload.learning_rate)
    n_train, size = len(workload.train[0]), workload.batch_size
    for start in range(0, epochs * (n_train - size), size):
        optimizer.zero_grad()
        chosen = torch.arange(start % (n_train - size), start % (n_train - size) + size)
        workload.loss(model, examples_at(workload, chosen)).backward()
        optimizer.step()
    noise = GradientNoise(workload, CPU)
    points = [noise.sample(model, seed=seed) for seed in range(SEEDS)]
    took_s = statistics.median(point.took_s for point in points)
    found = noise_scale(points[0].sample).scale
    assert found.estimate is not None
    assert found.low is not None
    assert found.high is not None
    wide = max(found.high - found.estimate, found.estimate - found.low) / found.estimate
    return (
        f"| {name} | {epochs} | {points[0].sample.n_examples} of {n_train} | {took_s:.2g} s | "
        f"{found.estimate:.3g} | {wide:.0%} |"
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    workloads = []
    for name, chosen, n in BUILT_IN:
        label = " ".join([name, *map("=".join, chosen.items())])
        workloads.append((label, loaded_workload(name, chosen).workload, n))
    workloads.append(("cnn (of the record)", cnn(), 256))
    torch.set_num_threads(1)
    print("| workload | batch | backward | way | times as long | one by one |")
    print("|---|---|---|---|---|---|")
    for name, workload, n in workloads:
        print(cost_row(name, workload, n))
    torch.set_num_threads(max(thread_choices("cpu")))
    print("\n| workload | epochs | examples | median of 5 | noise scale | reaches |")
    print("|---|---|---|---|---|---|")
    for name, workload, _ in workloads[:3]:
        for epochs in (0, 1):
            print(time_row(name, workload, epochs))


if __name__ == "__main__":
    main()
