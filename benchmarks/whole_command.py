"""A sweep as a whole command beside the script that a textbook would write for it.

    python -m benchmarks.whole_command [--turns 3] [--only short ...]

Both train MNIST with two layers of 128 at the same batch sizes, rate, epochs and seeds, from the
start of the process to its end; the script with a DataLoader, one evaluation on validation data an
epoch and all cores, the sweep with its page. They take turns. Writes
benchmarks/results/whole_command.json and whole_command.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from batchlab.machine import environment

RESULTS = Path(__file__).parent / "results" / "whole_command.json"
# Batch sizes, epochs, seeds.
WORKS: dict[str, tuple[tuple[str, ...], int, int]] = {
    "short": (("64", "256", "1024"), 3, 1),
    "chapter, 10 epochs": (("64", "256", "1024", "full"), 10, 3),
    "chapter, 30 epochs": (("64", "256", "1024", "full"), 30, 3),
    "with 1 and 2": (("1", "2", "64", "256", "1024", "full"), 3, 1),
}
RATE = "0.05"
HEAD = """# A sweep as a whole command beside a textbook script

From the start of the process to its end, medians of the turns; `python -m benchmarks.whole_command`
([numbers](whole_command.json)). Two layers of 128 on MNIST, SGD; 64, 256 and 1024 (short:
3 epochs, one seed), with full batch and 3 seeds (chapter), with 1 and 2 (3 epochs, one seed).

"""
SCRIPT = """
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from batchlab.datasets.embedded import load_mnist

sizes, epochs, seeds, rate = sys.argv[1].split(","), *map(int, sys.argv[2:4]), float(sys.argv[4])
mnist = load_mnist()
train, validation = (
    TensorDataset(torch.tensor(x).reshape(-1, 784) / 255, torch.tensor(y).long())
    for x, y in (mnist["train"], mnist["validation"])
)
validation = DataLoader(validation, batch_size=1000)
for seed in range(seeds):
    for size in sizes:
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        loader = DataLoader(
            train, batch_size=len(train) if size == "full" else int(size), shuffle=True
        )
        for epoch in range(epochs):
            model.train()
            for images, labels in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                right = sum((model(a).argmax(1) == b).sum().item() for a, b in validation)
        print(size, seed, right / 10_000, flush=True)
"""


def commands(work: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Both commands of a work, by name; the sweep into an empty store."""
    sizes, epochs, seeds = WORKS[work]
    script = folder / "textbook.py"
    script.write_text(SCRIPT)
    yield (
        "textbook",
        [sys.executable, str(script), ",".join(sizes), str(epochs), str(seeds), RATE],
    )
    store = folder / f"{time.time_ns()}.db"
    yield (
        "sweep",
        [
            *(sys.executable, "-m", "batchlab", "sweep", "mnist-mlp", "--quiet"),
            *("--set", "momentum=0", "--batch-sizes", ",".join(sizes), "--learning-rates", RATE),
            *("--epochs", str(epochs), "--seeds", str(seeds), "--store", str(store)),
            *("--report", str(folder / "page.html")),
        ],
    )


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(WORKS), choices=list(WORKS))
    asked = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        for work in asked.only:
            taken_s = found[work] = {"textbook": [], "sweep": []}
            for _ in range(asked.turns):
                for name, command in commands(work, Path(folder)):
                    started_s = time.monotonic()
                    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                    taken_s[name].append(time.monotonic() - started_s)
    written = {"environment": environment(), "load_before": load, "taken_s": found}
    RESULTS.write_text(json.dumps(written, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(HEAD + table(found))
    print(table(found))


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """A row a work: medians, and how many times as fast the sweep was, with all turns."""
    lines = ["| work | textbook script | sweep | times as fast |", "|---|--:|--:|--:|"]
    for work, taken_s in found.items():
        script_s, sweep_s = (statistics.median(taken_s[name]) for name in ("textbook", "sweep"))
        ratios = [a / b for a, b in zip(taken_s["textbook"], taken_s["sweep"], strict=True)]
        spread = f" ({min(ratios):.1f} to {max(ratios):.1f})" if len(ratios) > 1 else ""
        ratio = f"{script_s / sweep_s:.1f}{spread}"
        lines.append(f"| {work} | {script_s:.1f} s | {sweep_s:.1f} s | {ratio} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
