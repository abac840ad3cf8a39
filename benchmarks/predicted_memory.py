"""How near dry runs come to the measured peaks: `python benchmarks/predicted_memory.py`.

Three built-in kinds of model and three unlike them, four batch sizes each. Every row is three
profiles, each with predictions of its own: what a step takes differs from process to process too.
Takes about ten minutes and prints a Markdown table.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from functools import partial

import torch
from regret.workloads import cnn
from torch import Tensor, nn

import batchlab
from batchlab.words.reasons import reason_text

_REPEATS = 3
_MOST_S = 30


class _Lstm(nn.Module):
    """Reads a row of an image at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 64, batch_first=True)
        self.last = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of ten classes, shape (n, 10)."""
        states, _ = self.lstm(images)
        scores: Tensor = self.last(states[:, -1])
        return scores


def _with_batch_norm() -> nn.Module:
    layers: list[nn.Module] = []
    for n_in, n_out in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 10))


def _encoder() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))


def _classes(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def _pairs(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Each example against all others of its batch: memory grows with its square."""
    ours, theirs = model(batch[0]), model(batch[0] + 0.1)
    return nn.functional.cross_entropy(ours @ theirs.T, torch.arange(len(ours)))


def _made_up(name: str, *shape: int, loss: Callable[..., Tensor] = _classes) -> batchlab.Workload:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(8192, *shape, generator=generator)
    labels = torch.randint(10, (8192,), generator=generator)
    models = {"batch norm": _with_batch_norm, "lstm": _Lstm, "contrastive": _encoder}
    return batchlab.Workload(
        name=name,
        model=models[name],
        train=(data[:7168], labels[:7168]),
        validation=(data[7168:], labels[7168:]),
        loss=loss,
        batch_size=32,
    )


_CASES: dict[str, tuple[Callable[[], batchlab.Workload | str], tuple[int, ...]]] = {
    "mnist-mlp": (lambda: "mnist-mlp", (64, 512, 4096, 16384)),
    "cnn": (cnn, (64, 512, 2048, 8192)),
    "moby-dick": (lambda: "moby-dick", (16, 64, 256, 512)),
    "batch norm": (partial(_made_up, "batch norm", 3, 32, 32), (32, 128, 256, 512)),
    "lstm": (partial(_made_up, "lstm", 28, 28), (32, 256, 1024, 4096)),
    "contrastive": (partial(_made_up, "contrastive", 64, loss=_pairs), (32, 256, 1024, 4096)),
}


def main(names: list[str]) -> None:
    """Print a row for each workload and batch size."""
    print("| workload | batch size | measured | predicted | of it |\n|---|---|---|---|---|")
    for name in names or list(_CASES):
        make, sizes = _CASES[name]
        made = [
            batchlab.profile(make(), batch_sizes=sizes, predict=True, budget=_MOST_S)
            for _ in range(_REPEATS)
        ]
        for size in sizes:
            _print_row(name, size, made)


def _print_row(name: str, size: int, made: list[batchlab.Profile]) -> None:
    measured = [
        point.peak_bytes / 1e6
        for profile in made
        for point in profile.points
        if point.batch_size == point.micro_batch_size == size and point.peak_bytes is not None
    ]
    predicted = [profile.predicted_bytes(size) for profile in made]
    known = [each.estimate / 1e6 for each in predicted if each.estimate is not None]
    if not measured or not known:
        why = predicted[0].reason
        told = "–" if why is None else reason_text(why)
        print(f"| {name} | {size} | {_range(measured)} | {told} | – |", flush=True)
        return
    ratio = statistics.median(known) / statistics.median(measured)
    start = "(from here)" if made[0].predicted_from == size else f"{ratio:.2f}"
    print(f"| {name} | {size} | {_range(measured)} | {_range(known)} | {start} |", flush=True)


def _range(values: list[float]) -> str:
    if not values:
        return "–"
    middle, low, high = (f(values) for f in (statistics.median, min, max))
    return f"{middle:.0f} MB" if high - low < 1 else f"{middle:.0f} MB ({low:.0f} to {high:.0f})"


if __name__ == "__main__":
    main(sys.argv[1:])
