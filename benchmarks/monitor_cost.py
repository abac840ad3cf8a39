"""What the monitor costs: a training in an ordinary loop with and without it.

    python benchmarks/monitor_cost.py

Blocks of a hundred steps of each take turns, so that whatever else runs falls on both. Printed is
the median of the ratios of neighbors, and whether the parameters are the same at the end.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import torch

import batchlab
from batchlab.machine import thread_choices
from batchlab.training.batching import examples_at
from batchlab.workload.definition import Workload
from batchlab.workload.loading import load_workload

CASES = (
    ("mnist-mlp", {"width": "1024"}, 64, 20),
    ("mnist-mlp", {"width": "1024"}, 256, 10),
    ("mnist-mlp", {}, 64, 60),
    ("moby-dick", {}, 64, 6),
)
BLOCK_STEPS = 100


@dataclass
class Loop:
    """An ordinary training loop, a block of steps at a time."""

    workload: Workload
    size: int
    is_watched: bool

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.model = self.workload.model()
        make = self.workload.optimizer
        assert make is not None
        self.optimizer = make(list(self.model.parameters()), self.workload.learning_rate)
        self.monitor = batchlab.Monitor(self.model) if self.is_watched else None
        self.taken = 0

    def block_s(self) -> float:
        """Seconds of a block of steps."""
        n_train = len(self.workload.train[0])
        started_s = time.perf_counter()
        for _ in range(BLOCK_STEPS):
            first = self.taken * self.size
            batch = examples_at(self.workload, torch.arange(first, first + self.size) % n_train)
            self.optimizer.zero_grad()
            loss = self.workload.loss(self.model, batch)
            loss.backward()
            self.optimizer.step()
            if self.monitor is not None:
                self.monitor.step()
            self.taken += 1
        return time.perf_counter() - started_s


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(max(thread_choices("cpu")))
    print("| workload | batch | step | with the monitor | same parameters |")
    print("|---|---|---|---|---|")
    for name, settings, size, blocks in CASES:
        workload = load_workload(name, settings).workload
        plain, watched = (Loop(workload, size, is_watched) for is_watched in (False, True))
        plain_s, ratios = [], []
        for block in range(blocks):
            order = (plain, watched) if block % 2 else (watched, plain)
            took_s = {id(loop): loop.block_s() for loop in order}
            plain_s.append(took_s[id(plain)])
            ratios.append(took_s[id(watched)] / took_s[id(plain)])
        pairs = zip(plain.model.parameters(), watched.model.parameters(), strict=True)
        same = all(torch.equal(one, other) for one, other in pairs)
        label = " ".join([name, *map("=".join, settings.items())])
        step_ms = 1e3 * statistics.median(plain_s) / BLOCK_STEPS
        print(
            f"| {label} | {size} | {step_ms:.3g} ms | {statistics.median(ratios):.3f} times as "
            f"long | {'yes' if same else 'NO'} |"
        )


if __name__ == "__main__":
    main()
