"""Odd models as users bring them, and what the advice answers to each: a table.

python benchmarks/own_models.py [--budget 60s] [--kinds few_rows ...]
Each is a workload too: `batchlab advise benchmarks/own_models.py:few_rows --budget 60s`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchlab import Metric, Workload

Pair = tuple[Tensor, Tensor]


def _drawn(n: int, d: int, seed: int) -> tuple[Tensor, Callable[..., Tensor]]:
    """Standard normal features, and further numbers of the same stream by their shape."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator), lambda *n: torch.randn(*n, generator=generator)


def _adam(parameters: Any, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=learning_rate)


def _network(*sizes: int) -> Callable[[], nn.Module]:
    """One hidden layer: features, hidden units, outputs."""
    d, width, out = sizes
    return lambda: nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Linear(width, out))


def _accuracy(model: nn.Module, batch: Pair) -> Tensor:
    return (model(batch[0]).argmax(1) == batch[1]).float().mean()


def _cross_entropy(model: nn.Module, batch: Pair) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def _squared(model: nn.Module, batch: Pair) -> Tensor:
    return F.mse_loss(model(batch[0])[:, 0], batch[1])


def _r2(predictions: Tensor, targets: Tensor) -> float:
    left = ((predictions[:, 0] - targets) ** 2).sum()
    return float(1 - left / ((targets - targets.mean()) ** 2).sum())


def few_rows() -> dict[str, Any]:
    """442-row regression, R²; 44 rows validate, and it is at its best within an epoch."""
    x, normal = _drawn(442, 10, seed=7)
    signal = x @ normal(10)
    train = (x, 0.6 * signal / signal.std() + normal(442))
    metrics = {"r2": Metric(over_all=_r2, better="higher")}
    fields = {"loss": _squared, "metrics": metrics, "learning_rate": 0.01, "batch_size": 8}
    return fields | {"model": _network(10, 128, 1), "train": train}


def very_few_rows() -> dict[str, Any]:
    """150-row classification, accuracy; 15 rows validate."""
    x, normal = _drawn(150, 4, seed=2)
    y = torch.arange(150) % 3
    fields = {"loss": _cross_entropy, "metrics": {"accuracy": _accuracy}, "batch_size": 16}
    train = (x + 1.8 * normal(3, 4)[y], y)
    return fields | {"model": _network(4, 16, 3), "train": train, "learning_rate": 0.01}


def _f1_parts(model: nn.Module, batch: Pair) -> Tensor:
    said, true = model(batch[0])[:, 0] > 0, batch[1] > 0.5
    return torch.stack([(said & true).sum(), said.sum() + true.sum()]).float()


def rare_class() -> dict[str, Any]:
    """4,000 rows, 3 % of them positive, F1."""
    x, normal = _drawn(4000, 12, seed=3)
    score = x @ normal(12) + x[:, 0] * x[:, 1] + 0.3 * normal(4000)
    f1 = Metric(sum=_f1_parts, finalise=lambda s, _: 2 * s[0] / s[1].clip(1), better="higher")
    fields = {"metrics": {"f1": f1}, "learning_rate": 0.001, "batch_size": 64}
    train = (x, (score > score.quantile(0.97)).float())
    loss = lambda model, b: F.binary_cross_entropy_with_logits(model(b[0])[:, 0], b[1])  # noqa: E731
    return fields | {"model": _network(12, 64, 1), "train": train, "loss": loss}


def huge_target() -> dict[str, Any]:
    """4,000 prices around 200,000, squared error."""
    x, normal = _drawn(4000, 8, seed=4)
    train = (x, 2e5 + 8e4 * (x @ normal(8)).tanh() + 1e4 * normal(4000))
    fields = {"loss": _squared, "learning_rate": 0.01, "batch_size": 32}
    return fields | {"model": _network(8, 64, 1), "train": train}


def noisy_labels() -> dict[str, Any]:
    """6,000 rows of five classes, three labels of ten by lot, accuracy; plain SGD."""
    x, normal = _drawn(6000, 20, seed=5)
    clean, lots = (x @ normal(20, 5)).argmax(1), normal(6000, 5).argmax(1)
    train = (x, torch.where(torch.arange(6000) % 10 < 3, lots, clean))
    fields = {"loss": _cross_entropy, "metrics": {"accuracy": _accuracy}, "optimizer": None}
    rest = {"train": train, "learning_rate": 0.05, "batch_size": 32}
    return fields | rest | {"model": _network(20, 128, 5)}


def _three(model: nn.Module, batch: Pair) -> Tensor:
    out = model(batch[0])
    fit, again = F.mse_loss(out[:, 0], batch[1]), F.mse_loss(out[:, 1:], batch[0])
    return fit + 0.5 * again + 0.01 * out.abs().mean()


def three_losses() -> dict[str, Any]:
    """3,000 rows: a fit, a reconstruction and a penalty, the sum of the three."""
    x, normal = _drawn(3000, 10, seed=6)
    fields = {"loss": _three, "learning_rate": 0.003, "batch_size": 32}
    return fields | {"model": _network(10, 64, 11), "train": (x, (x @ normal(10)).sin())}


KINDS = (few_rows, very_few_rows, rare_class, huge_target, noisy_labels, three_losses)
ROOT = Path(__file__).parents[1]
SCRIPTS = {"plain_pytorch": "prints a line an epoch", "two_lines": "calls batchlab.log"}
FILES = sorted((ROOT / "examples").glob("*.py"))
ABOUT = {kind.__name__: (kind.__doc__ or "").rstrip(".") for kind in KINDS}
ABOUT |= {file.stem: file.read_text("utf-8").partition('"""')[2].splitlines()[0] for file in FILES}
ABOUT |= {name: f"A script that {what}." for name, what in SCRIPTS.items()}
for _kind in KINDS:
    globals()[_kind.__name__] = Workload(name=_kind.__name__, **({"optimizer": _adam} | _kind()))


def _asked(name: str) -> list[str]:
    """What the command is asked about."""
    if name not in SCRIPTS:
        is_here = name in {kind.__name__ for kind in KINDS}
        return [f"{__file__}:{name}" if is_here else f"{ROOT}/examples/{name}.py:workload"]
    flags = ["--batch-size", "{batch_size}", "--lr", "{learning_rate}", "--seed", "{seed}"]
    own = ["--metric", "val_loss", "--batch-size", "64", "--learning-rate", "0.05"]
    return [*own, "--", sys.executable, f"{ROOT}/examples/commands/{name}.py", *flags]


def _told(name: str, budget: str) -> tuple[str, str]:
    """The headline, and how sure it is."""
    command = [str(Path(sys.executable).with_name("batchlab")), "advise", "--budget", budget]
    with tempfile.TemporaryDirectory() as folder:
        command += ["--store", "lab.db", *_asked(name)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    said = re.search(r"^how sure +(.*(?:\n  .*)*)", done.stdout, re.MULTILINE)
    sure = "" if said is None else " ".join(said[1].split())
    return " ".join((done.stdout or done.stderr).partition("\n\n")[0].split()), sure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--kinds", nargs="+", choices=ABOUT, default=list(ABOUT))
    asked = parser.parse_args()
    print("| own model | the answer | how sure |\n|---|---|---|")
    for name in asked.kinds:
        print("|", " | ".join([ABOUT[name].rstrip("."), *_told(name, asked.budget)]), "|")
