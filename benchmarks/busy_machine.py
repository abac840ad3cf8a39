"""Step times that an advice claims beside a process that takes a core every other five seconds.

    python -m benchmarks.busy_machine [--asks 5] [--budget 40s]

Asks of a small network of one's own, each time into an empty store. Of what an answer names beside
the reference it prints how many times as fast its step is, by the answer and by a textbook loop
that takes turns with both, without that process: off by so many standard errors of the answer.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import batchlab

_BURNER = """
import time
while True:
    until = time.monotonic() + 5
    while time.monotonic() < until: pass
    time.sleep(5)
"""
IN_TURN = "time_in_turn"
_TURNS, _TURN_S = 200, 0.02


def workload() -> dict[str, Any]:
    """4,000 rows of 20 features in ten classes, one hidden layer of 256."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4000, 20, generator=generator)
    y = (x @ torch.randn(20, 10, generator=generator)).argmax(1)

    def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))

    fields = {"name": "busy", "model": model, "loss": loss, "train": (x, y)}
    return fields | {"batch_size": 16, "learning_rate": 0.05}


@contextmanager
def burner() -> Iterator[None]:
    """Context: one core is taken for every other five seconds."""
    process = subprocess.Popen([sys.executable, "-c", _BURNER])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def times_as_fast(own: int, other: int) -> float:
    """How many times as long a step of `own` takes as one of `other`: the median of turns."""
    parts = workload()
    x, y = parts["train"]
    ratios = []
    step_s: dict[int, float] = {}
    for _ in range(_TURNS):
        for size in (own, other):
            model = parts["model"]()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            n, began_s = 0, time.perf_counter()
            while (took_s := time.perf_counter() - began_s) < _TURN_S:
                rows = torch.randint(len(x), (size,))
                optimizer.zero_grad()
                parts["loss"](model, (x[rows], y[rows])).backward()
                optimizer.step()
                n += 1
            step_s[size] = took_s / n
        ratios.append(step_s[own] / step_s[other])
    return statistics.median(ratios)


def asked(budget: str, folder: Path) -> batchlab.Advice:
    """One answer beside the burner."""
    with burner():
        time.sleep(time.time() % 5)  # not ever at the same point of its load
        return batchlab.advise(
            batchlab.Workload(**workload()),
            target=("loss", 0.4),
            budget=budget,
            store=folder / "busy.db",
        )


def main() -> None:
    """Print a row an ask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--asks", type=int, default=5)
    parser.add_argument("--budget", default="40s")
    given = parser.parse_args()
    print("| named | verdict | step, times as fast | by a textbook loop | off by | gain |")
    print("|---|---|---|---|---|---|")
    for _ in range(given.asks):
        with tempfile.TemporaryDirectory() as folder:
            advice = asked(given.budget, Path(folder))
        own, named = advice.reference.batch_size, advice.named
        in_turn = [step.did.named["size"] for step in advice.steps if step.did.code == IN_TURN]
        if named is not None and named.batch_size != own:
            in_turn.append(named.batch_size)
        if not in_turn:
            print(f"| {own} | {advice.verdict} | | | | |", flush=True)
            continue
        step_s = {c.batch_size: c.step_s for c in advice.candidates}
        mine, theirs = step_s[in_turn[-1]], step_s[own]
        claimed = (theirs.estimate or 0.0) / (mine.estimate or 1.0)
        sd = math.hypot(mine.log_half_width or 0.0, theirs.log_half_width or 0.0) / 1.96
        seen = times_as_fast(own, in_turn[-1])
        off = math.log(claimed / seen)
        gain = advice.gain
        print(
            f"| {in_turn[-1]} | {advice.verdict} | {claimed:.3f} (sd {sd:.3f}) | {seen:.3f} "
            f"| {math.expm1(off):+.0%}, {off / sd if sd else math.nan:+.1f} sd "
            f"| {gain.estimate} ({gain.low} to {gain.high}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
