"""What PyTorch's fused optimizers would save where a model is not trained in C.

    python -m benchmarks.fused_optimizers

The same loop on resident tensors, on one thread, with `fused=True` and without, in turns. A trainer
between `plain` and `native` would have this to give and nothing else: batches are gathered from
resident tensors by `plain` already. Times are CPU seconds of the process. Writes
benchmarks/results/fused_optimizers.json and prints a table in Markdown.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

RESULTS = Path(__file__).parent / "results" / "fused_optimizers.json"
N, TURNS, STEPS = 5_000, 7, 60
OPTIMIZERS: dict[str, Any] = {
    "AdamW": lambda parameters, **fused: torch.optim.AdamW(parameters, lr=1e-3, **fused),
    "SGD": lambda parameters, **fused: torch.optim.SGD(parameters, lr=0.01, momentum=0.9, **fused),
}


class Gru(nn.Module):
    """A recurrent layer over 16 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.gru = nn.Embedding(64, 64), nn.GRU(64, 128, batch_first=True)
        self.head = nn.Linear(128, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores by class, shape (n, 10), of tokens of shape (n, 16)."""
        return self.head(self.gru(self.table(tokens))[0][:, -1])


def cnn() -> nn.Module:
    """Two convolutions with BatchNorm on images of 28 x 28."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 5, padding=2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 10)),
    )


def step_s(make: Any, x: Tensor, y: Tensor, optimizer: str, batch_size: int, fused: bool) -> float:
    """CPU seconds of a step."""
    torch.manual_seed(0)
    model = make()
    updater = OPTIMIZERS[optimizer](model.parameters(), **({"fused": True} if fused else {}))
    started_s = time.process_time()
    for _ in range(STEPS):
        chosen = torch.randint(N, (batch_size,))
        loss = functional.cross_entropy(model(x[chosen]), y[chosen])
        updater.zero_grad()
        loss.backward()
        updater.step()
    return (time.process_time() - started_s) / STEPS


def main() -> None:
    torch.set_num_threads(1)
    y = torch.randint(10, (N,))
    works = {"GRU": (Gru, torch.randint(64, (N, 16))), "CNN": (cnn, torch.rand(N, 1, 28, 28))}
    rows = []
    print("| model | optimizer | B | loop, µs | fused, µs | times as fast |")
    print("|---|---|--:|--:|--:|--:|")
    for name, (make, x) in works.items():
        for optimizer in OPTIMIZERS:
            for batch_size in (1, 16, 64):
                seen: dict[bool, list[float]] = {False: [], True: []}
                for turn in range(TURNS + 1):
                    for fused in seen:
                        took_s = step_s(make, x, y, optimizer, batch_size, fused)
                        seen[fused] += [took_s] if turn else []  # the first settles caches
                loop_s, fused_s = (statistics.median(each) for each in seen.values())
                rows.append([name, optimizer, batch_size, loop_s, fused_s])
                print(
                    f"| {name} | {optimizer} | {batch_size} | {loop_s * 1e6:.0f} "
                    f"| {fused_s * 1e6:.0f} | {loop_s / fused_s:.2f} |",
                    flush=True,
                )
    columns = ["model", "optimizer", "batch_size", "loop_s", "fused_s"]
    RESULTS.write_text(json.dumps({"columns": columns, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
