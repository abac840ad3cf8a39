"""What the noise of a gradient costs: seconds until a noise scale is known within 20 %.

    python benchmarks/noise_cost.py

Measured at the initial weights and after an epoch, on all cores.
"""

from __future__ import annotations

import argparse
import time

import torch

from batchlab.laws.noise_scale import noise_scale
from batchlab.machine import thread_choices
from batchlab.measure.gradient_noise import sample_gradients
from batchlab.training.batching import examples_at
from batchlab.workload.definition import Workload
from batchlab.workload.loading import load_workload

# Name and settings.
BUILT_IN = (("mnist-softmax", {}), ("mnist-mlp", {}), ("mnist-mlp", {"width": "1024"}))
SEEDS = 5
CPU = torch.device("cpu")


def time_row(name: str, workload: Workload, epochs: int) -> str:
    """One line of the table."""
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
    started_s = time.perf_counter()
    samples = [sample_gradients(workload, model, CPU, seed=seed) for seed in range(SEEDS)]
    took_s = (time.perf_counter() - started_s) / SEEDS
    found = noise_scale(samples[0]).scale
    assert found.estimate is not None
    assert found.low is not None
    assert found.high is not None
    wide = max(found.high - found.estimate, found.estimate - found.low) / found.estimate
    return (
        f"| {name} | {epochs} | {samples[0].n_examples} of {n_train} | {took_s:.2g} s | "
        f"{found.estimate:.3g} | {wide:.0%} |"
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(max(thread_choices("cpu")))
    print("| workload | epochs | examples | mean of 5 | noise scale | reaches |")
    print("|---|---|---|---|---|---|")
    for name, chosen in BUILT_IN:
        label = " ".join([name, *map("=".join, chosen.items())])
        for epochs in (0, 1):
            print(time_row(label, load_workload(name, chosen).workload, epochs))


if __name__ == "__main__":
    main()
