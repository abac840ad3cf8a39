"""How many times as fast a step is, beside a process that takes a core every other five seconds.

    python -m benchmarks.busy_machine [--asks 5] [--profile-s 10]

Of a small network each row compares what an advice would claim for a batch size beside its own: by
a profile alone, and with both in turn; then, without that process, by a textbook loop that takes
turns with both. Errors in brackets, in standard errors of what was claimed.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import batchlab
from batchlab.app.question import asked
from batchlab.app.subjects import subject_of
from batchlab.laws.step_time import timed_in_turn
from batchlab.measure.profile import ratio_in_turn
from batchlab.records.estimate import Estimate
from batchlab.records.progress_listener import ProgressListener

_BURNER = """
import time
while True:
    until = time.monotonic() + 5
    while time.monotonic() < until: pass
    time.sleep(5)
"""
_OWN, _SIZES, _IN_TURN_S = 32, (128, 512, 2048), 3.0
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
    return fields | {"batch_size": _OWN, "learning_rate": 0.05}


@contextmanager
def burner() -> Iterator[None]:
    """Context: one core is taken for every other five seconds."""
    process = subprocess.Popen([sys.executable, "-c", _BURNER])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def textbook_loop(size: int, threads: int) -> Iterator[float]:
    """Seconds a step, of one stretch of training after the other."""
    parts = workload()
    x, y = parts["train"]
    model = parts["model"]()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batches = iter(())
    while True:
        torch.set_num_threads(threads)
        n, began_s = 0, time.perf_counter()
        while (took_s := time.perf_counter() - began_s) < _TURN_S or not n:
            if (rows := next(batches, None)) is None or len(rows) < size:
                batches = iter(torch.randperm(len(x)).split(size))
                rows = next(batches)
            optimizer.zero_grad()
            parts["loss"](model, (x[rows], y[rows])).backward()
            optimizer.step()
            n += 1
        yield took_s / n


def textbook_times(size: int, threads: dict[int, int]) -> float:
    """How many times as long a step takes as one of the own batch size: the median of turns."""
    turns = zip(textbook_loop(_OWN, threads[_OWN]), textbook_loop(size, threads[size]), strict=True)
    return statistics.median(other_s / own_s for own_s, other_s in itertools.islice(turns, _TURNS))


def claimed(
    profile_s: float,
) -> Iterator[tuple[int, tuple[float, float], tuple[float, float], Any]]:
    """By batch size: log ratio and its error by a profile, the same in turn, and the threads."""
    subject = subject_of(
        asked("advise", workload=batchlab.Workload(**workload()), device="cpu", budget=None)
    )
    subject.look()
    sizes = (8, 16, _OWN, 64, 128, 256, 512, 1024, 2048)
    with burner():
        made = subject.profile(
            sizes, deadline_s=time.monotonic() + profile_s, listener=ProgressListener()
        )
        for size in _SIZES:
            points = [p for p in map(made.best_micro_batch, (_OWN, size)) if p is not None]
            until_s, times = time.monotonic() + _IN_TURN_S, []
            while (left_s := until_s - time.monotonic()) > 0:
                ended = subject.in_turn(points, timeout_s=left_s)
                times += [] if ended.value is None else [ended.value]
            if not times:
                continue  # too busy even for one
            apart = made.step_s(_OWN), made.step_s(size)
            *both, ratio_sd = timed_in_turn(*apart, ratio_in_turn(times))
            sd = math.hypot(*(each.log_half_width or 0.0 for each in apart)) / 1.96
            threads = {point.batch_size: point.threads for point in points}
            yield size, (_log_ratio(*apart), sd), (_log_ratio(*both), ratio_sd), threads


def _log_ratio(one: Estimate, other: Estimate) -> float:
    return math.log((other.estimate or 0.0) / (one.estimate or 1.0))


def main() -> None:
    """Print a row a batch size and ask, and the median errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--asks", type=int, default=5)
    parser.add_argument("--profile-s", type=float, default=10.0)
    given = parser.parse_args()
    print("| batch size | by the profile | in turn | textbook loop |\n|---|---|---|---|")
    errors: list[tuple[float, float]] = []
    for _ in range(given.asks):
        for size, *both, threads in list(claimed(given.profile_s)):
            truth = textbook_times(size, threads)
            off = [(log - math.log(truth), sd) for log, sd in both]
            errors.append((abs(off[0][0]), abs(off[1][0])))
            cells = [f"{truth * math.exp(o):.2f} ({o / sd:+.1f} of {sd:.2f})" for o, sd in off]
            print(f"| {size} | {' | '.join(cells)} | {truth:.2f} |", flush=True)
    medians = (math.expm1(statistics.median(each)) for each in zip(*errors, strict=True))
    print("median error: {:.0%} by the profile, {:.0%} in turn".format(*medians))


if __name__ == "__main__":
    main()
