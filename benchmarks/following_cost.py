"""What following a plan adds to a step: the scheduler, and the accumulator with a whole batch.

    python -m benchmarks.following_cost [--turns 100]

Blocks of steps of one model (MLPs of MNIST's size, a transformer) in turns, each in an order that
is drawn: a plain loop, the same with the scheduler of a plan that grows, through `Accumulator`, and
the plain loop again, which tells what nothing costs here. Medians over the turns of each way's time
over the plain one's beside it. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import batchlab
from batchlab import plans

BLOCK_S = 0.04
WIDTHS = {"mlp 128, 128": 128, "mlp 1024, 1024": 1024}
Ways = dict[str, Callable[[], object]]


class Transformer(nn.Module):
    """Two layers over 32 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(64, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        """Ten numbers a sequence."""
        return self.out(self.layers(self.embed(tokens)).mean(1))


def model_and_batch(name: str, size: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    wanted = torch.randint(10, (size,))
    if name == "transformer":
        return Transformer(), (torch.randint(64, (size, 32)), wanted)
    width = WIDTHS[name]
    layers = [nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10)), (torch.randn(size, 784), wanted)


def loss_of(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def ways(name: str, size: int) -> Ways:
    """One step of each way, of one model: another one in memory may be a fifth slower."""
    model, batch = model_and_batch(name, size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    plan = plans.steps(size, {0.5: 2 * size}, epochs=10, scaling_rule="sde-adam")
    rates = batchlab.BatchSizeSampler(range(10**7), plan).scheduler(optimizer)
    accumulator = batchlab.Accumulator(model, loss_of, micro_batch_size=size)

    def plain() -> None:
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()

    def scheduled() -> None:
        plain()
        rates.step()

    def accumulated() -> None:
        accumulator.backward(batch)
        accumulator.step(optimizer)

    return {"plain": plain, "scheduler": scheduled, "accumulator": accumulated, "again": plain}


def block_s(step: Callable[[], object], n: int) -> float:
    started_s = time.perf_counter()
    for _ in range(n):
        step()
    return (time.perf_counter() - started_s) / n


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=100)
    turns = parser.parse_args().turns
    torch.set_num_threads(1)
    print(
        "| model | batch size | step, µs | scheduler | accumulator | plain again |",
        "|---|--:|--:|--:|--:|--:|",
        sep="\n",
    )
    for name in (*WIDTHS, "transformer"):
        for size in (64, 256):
            each = ways(name, size)
            n = max(1, round(BLOCK_S / block_s(each["plain"], 5)))
            times: dict[str, list[float]] = {way: [] for way in each}
            for turn in range(turns):
                for way in random.Random(turn).sample(list(each), len(each)):
                    times[way].append(block_s(each[way], n))
            plain = times["plain"]
            more = [
                statistics.median(a / b for a, b in zip(times[way], plain, strict=True)) - 1
                for way in ("scheduler", "accumulator", "again")
            ]
            cells = [
                name,
                size,
                f"{statistics.median(plain) * 1e6:.0f}",
                *(f"{m:+.1%}" for m in more),
            ]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
