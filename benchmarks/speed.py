"""How fast a step is: a textbook loop, the plain stepper, the native one, and JAX's `scan`.

    python -m benchmarks.speed [--jax PYTHON] [--only 128:sgd:64 LeNet:sgd:64 ...]

A multilayer perceptron 784-WIDTH-WIDTH-10 and LeNet-5 (with ReLU and max pooling) on 60,000
made-up images in memory, and moby-dick's transformer on its text; one thread. The contestants take
turns; times are CPU seconds of the process, so that others on the machine cost
their share of the caches only. JAX needs an interpreter that has it and optax. Writes
benchmarks/results/speed.json and speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from batchlab.records.trial import Trial
from batchlab.training.native.program import NativeBuild, native_build
from batchlab.training.native.trainer import NativeStepper, self_check
from batchlab.training.stepper import Stepper
from batchlab.workload.builtin import moby_dick
from batchlab.workload.definition import Workload

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "speed.json"
# Against the textbook and against JAX: what issue 37 asks for. A number is the width of two layers.
WANTED: dict[tuple[int | str, str], dict[int, tuple[float, float | None]]] = {
    (128, "sgd"): {1: (20, 1.3), 16: (5, 1.1), 64: (3, 0.95), 256: (2.5, 0.95), 1024: (2.3, 0.95),
                   4096: (1.8, 0.95)},
    (1024, "sgd"): {1: (4, 1.3), 64: (2.3, 0.95), 1024: (1.9, 0.95)},
    (128, "adam"): {1: (12, 1.5), 64: (4, 1.1)},
    ("LeNet", "sgd"): {16: (1.5, None), 64: (1.5, None), 256: (1.5, None)},
    ("transformer", "adamw"): {32: (1.5, None)},
}  # fmt: skip
TURNS = 7
TURN_S = 0.25
CPU = torch.device("cpu")
MAKE = {
    "sgd": lambda parameters, rate: torch.optim.SGD(parameters, lr=rate),
    "adam": lambda parameters, rate: torch.optim.Adam(parameters, lr=rate),
}


def mlp(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def workload_of(width: int | str, optimizer: str) -> Workload:
    if width == "transformer":
        return moby_dick.workload(optimizer=optimizer)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(60_000, 784, generator=generator)
    labels = torch.randint(10, (60_000,), generator=generator)
    return Workload(
        name=f"{width} {optimizer}",
        model=partial(mlp, width) if isinstance(width, int) else lenet,
        train=(images, labels),
        validation=None,
        loss=cross_entropy,
        optimizer=MAKE[optimizer],
        learning_rate=0.01 if optimizer == "sgd" else 0.001,
    )


Contestant = Callable[[int], float]  # CPU seconds of so many steps


def textbook(workload: Workload, trial: Trial) -> Contestant:
    torch.manual_seed(0)
    model = workload.model()
    optimizer = workload.optimizer(list(model.parameters()), trial.learning_rate)  # type: ignore[misc]
    loader = DataLoader(TensorDataset(*workload.train), trial.batch_size, shuffle=True)

    def batches() -> Iterator[list[Tensor]]:
        while True:
            yield from loader

    stream = batches()

    def run(n_steps: int) -> float:
        started_s = time.process_time()
        for _ in range(n_steps):
            batch = next(stream)
            optimizer.zero_grad()
            loss = workload.loss(model, batch)
            loss.backward()
            optimizer.step()
        return time.process_time() - started_s

    return run


def stepping(stepper: Stepper) -> Contestant:
    stream, taken = stepper.stream(0), 0

    def run(n_steps: int) -> float:
        nonlocal taken
        started_s = time.process_time()
        stepper.steps(stream, n_steps, first_step=taken)
        taken += n_steps
        return time.process_time() - started_s

    return run


class Jax:
    """A process that has JAX; its CPU seconds are those of all its threads."""

    def __init__(self, python: str, width: int, optimizer: str, trial: Trial, n_steps: int) -> None:
        script = Path(__file__).with_name("speed_jax.py")
        given = [str(part) for part in (width, optimizer, trial.batch_size, n_steps)]
        self._process = subprocess.Popen(
            [python, str(script), *given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._n_steps = n_steps
        assert self._process.stdout is not None
        self.version = self._process.stdout.readline().strip()

    def __call__(self, n_steps: int) -> float:
        """CPU seconds of so many steps."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline()) * n_steps / self._n_steps

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measured(
    workload: Workload, build: NativeBuild, key: tuple[int | str, str, int], jax: str | None
) -> dict:  # type: ignore[type-arg]
    width, optimizer, batch_size = key
    trial = Trial(
        workload_id="speed",
        workload=workload.name,
        n_train=len(workload.train[0]),
        batch_size=batch_size,
        learning_rate=workload.learning_rate,
        seed=0,
    )
    contestants: dict[str, Contestant] = {
        "textbook": textbook(workload, trial),
        "plain": stepping(Stepper(workload, trial, CPU)),
        "native": stepping(NativeStepper(workload, trial, build)),
    }
    steps = {name: _steps_of_a_turn(run) for name, run in contestants.items()}
    other = None
    if jax is not None and isinstance(width, int):
        other = Jax(jax, width, optimizer, trial, steps["native"])
    if other is not None and other.version:
        contestants["jax"], steps["jax"] = other, steps["native"]
        other(steps["jax"])
    seen: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(TURNS):
        for name, run in contestants.items():
            seen[name].append(run(steps[name]) / steps[name])
    if other is not None:
        other.close()
    return {"width": width, "optimizer": optimizer, "batch_size": batch_size, "step_s": seen}


def _steps_of_a_turn(run: Contestant) -> int:
    n = 1
    while (spent_s := run(n)) < TURN_S / 3:
        n *= 2
    return max(1, round(n * TURN_S / spent_s))


def table(cells: list[dict]) -> str:  # type: ignore[type-arg]
    lines = [
        "| work | B | textbook, µs | plain | native (half of the turns) | JAX | textbook / native "
        "| JAX / native | wanted |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for cell in cells:
        middle = {name: statistics.median(each) * 1e6 for name, each in cell["step_s"].items()}
        low, _, high = statistics.quantiles([s * 1e6 for s in cell["step_s"]["native"]], n=4)
        work, size = (cell["width"], cell["optimizer"]), cell["batch_size"]
        wanted = [each for each in WANTED.get(work, {}).get(size, ()) if each is not None]
        name = f"2×{work[0]}" if isinstance(work[0], int) else work[0]
        against = middle["textbook"] / middle["native"]
        jax = middle.get("jax")
        beside = "" if jax is None else f"{jax / middle['native']:.2f}"
        lines.append(
            f"| {name} {work[1]} | {size} | {middle['textbook']:.0f} | {middle['plain']:.0f} "
            f"| {middle['native']:.1f} ({low:.1f} to {high:.1f}) "
            f"| {'' if jax is None else f'{jax:.0f}'} | {against:.1f} "
            f"| {beside} "
            f"| {', '.join(map(str, wanted))} |"
        )
    return "\n".join(lines)


def page(cells: list[dict]) -> str:  # type: ignore[type-arg]
    return (
        "# How fast a step is\n\nCPU microseconds a step, the median of "
        f"{TURNS} turns on one core that others used as well; `python -m benchmarks.speed --jax "
        "PYTHON` ([numbers](speed.json)). Wanted: textbook / native, JAX / native.\n\n"
        f"{table(cells)}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jax")
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    jax = given.jax
    if jax is not None and subprocess.run([jax, "-c", "import jax, optax"], check=False).returncode:
        jax = None
    cells, builds = [], []
    for (width, optimizer), sizes in WANTED.items():
        asked = [b for b in sizes if not given.only or f"{width}:{optimizer}:{b}" in given.only]
        if not asked:
            continue
        workload = workload_of(width, optimizer)
        started_s = time.perf_counter()
        build = native_build(workload)
        builds.append({"work": f"{width} {optimizer}", "s": time.perf_counter() - started_s})
        n_train = len(workload.train[0])
        few = [Trial(workload_id="", workload="", n_train=n_train, batch_size=b, seed=1,
                     learning_rate=workload.learning_rate) for b in (3, 64)]  # fmt: skip
        self_check(build, workload, few)
        for batch_size in asked:
            cells.append(measured(workload, build, (width, optimizer, batch_size), jax))
            print(table(cells[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    text = {
        "processor": platform.processor() or platform.machine(),
        "load": os.getloadavg(),
        "torch": torch.__version__,
        "jax": jax is not None,
        "builds": builds,
        "cells": cells,
    }
    if not given.only:
        RESULTS.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        RESULTS.with_suffix(".md").write_text(page(cells), encoding="utf-8")
    print(table(cells))


if __name__ == "__main__":
    main()
