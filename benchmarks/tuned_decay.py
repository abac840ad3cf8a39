"""What `--tune weight_decay` is worth: a study with it and one without, judged by fresh seeds.

    python benchmarks/tuned_decay.py [--budget 90] [--epochs 6] [--seeds 12]

Each study of the multilayer perceptron for MNIST looks for the best final accuracy and has the same
seconds. What it names is then trained with seeds that no study saw, its optimizer set by
`advice.apply`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

import batchlab
from batchlab.advice.advice import Advice
from batchlab.workload.builtin import mnist_mlp

# The optimizer and its weight decay.
_QUESTIONS = (("sgd", 5e-4), ("sgd", 3e-5), ("adamw", 0.01), ("adamw", 0.3))
_SEEN = 14  # seeds that a study may have seen


def main() -> None:
    """Ask both studies of each question, and print what they name and what it ends with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=90.0, help="seconds of each study")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=12, help="fresh ones that judge")
    asked = parser.parse_args()
    for optimizer, decay in _QUESTIONS:
        workload = mnist_mlp.workload(optimizer=optimizer, weight_decay=decay)
        print(f"{optimizer}, weight decay {decay:g}", flush=True)
        ends = {tune: _ends(workload, tune, asked) for tune in (None, "weight_decay")}
        gains = ends["weight_decay"] - ends[None]
        half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
        print(f"  tuned, it ends {gains.mean():+.4f} ± {half:.4f} better (95 %)", flush=True)


def _ends(workload: batchlab.Workload, tune: Any, asked: argparse.Namespace) -> np.ndarray:
    """Return the final validation accuracies of what a study names, by seed."""
    with tempfile.TemporaryDirectory() as folder:
        advice = batchlab.advise(
            workload,
            objective="quality",
            epochs=asked.epochs,
            tune=tune,
            budget=asked.budget,
            store=Path(folder) / "study.db",
        )
        named = advice.named
        assert named is not None
        result = batchlab.sweep(
            replace(workload, optimizer=_set_by(advice, workload)),
            batch_sizes=[named.batch_size],
            seeds=_SEEN + asked.seeds,
            epochs=asked.epochs,
            store=Path(folder) / "judged.db",
        )
    fresh = [run for run in result.records if run.trial.seed >= _SEEN]
    ends = np.array([list(run.curve("validation", "accuracy"))[-1][1] for run in fresh])
    print(
        f"  tune {tune}: {advice.n_trials} trainings; {named.batch_size} at "
        f"{named.learning_rate:g}, {named.weight_decay_factor:g} times the weight decay: "
        f"{ends.mean():.4f}",
        flush=True,
    )
    return ends


def _set_by(
    advice: Advice, workload: batchlab.Workload
) -> Callable[[Sequence[torch.nn.Parameter], float], torch.optim.Optimizer]:
    """Return an optimizer factory that sets what an advice names."""

    def optimizer(parameters: Sequence[torch.nn.Parameter], rate: float) -> Any:
        made: Any = workload.optimizer(parameters, rate)
        advice.apply(made)
        # The check asks for two rates, and they have to differ.
        for group in made.param_groups:
            group["lr"] *= rate / workload.learning_rate
        return made

    return optimizer


if __name__ == "__main__":
    main()
