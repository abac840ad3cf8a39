"""Do a larger batch's trainings end better if weight decay and beta 2 move with its size?

The small transformer of moby-dick, AdamW with weight decay 0.1 and a cosine over its epochs, is
trained at 8 times its batch size: once with only the rate moved (by the root of 8), once by the
scaling rule sqrt, which moves weight decay and beta 2 too. Both get the same ten seeds.

    python benchmarks/moved_settings.py
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats

import batchlab
from batchlab.workload.builtin import moby_dick

_TIMES = 8


def _cosine(done: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def main() -> None:
    """Train, and print each pair's losses and the interval of their difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--multiples", default="1", help="of the rate that the rule sets")
    asked = parser.parse_args()
    workload = replace(moby_dick.workload(weight_decay=asked.weight_decay), schedule=_cosine)
    for multiple in map(float, asked.multiples.split(",")):
        rate = multiple * workload.learning_rate
        ends = {
            rule: _ends(workload, rule, given, asked)
            for rule, given in (("none", rate * math.sqrt(_TIMES)), ("sqrt", rate))
        }
        print(f"rate {rate * math.sqrt(_TIMES):.4g}")
        for rule, values in ends.items():
            print(f"  {rule:5}", " ".join(f"{value:.4f}" for value in values))
        gains = ends["none"] - ends["sqrt"]
        half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
        print(f"  the rules end lower by {gains.mean():.4f} ± {half:.4f} nats (95 %)")


def _ends(
    workload: batchlab.Workload, rule: str, rate: float, asked: argparse.Namespace
) -> np.ndarray:
    """Return the final validation losses by seed."""
    with tempfile.TemporaryDirectory() as folder:
        result = batchlab.sweep(
            workload,
            batch_sizes=[_TIMES * workload.batch_size],
            learning_rates=[rate],
            scaling_rule=rule,
            seeds=asked.seeds,
            epochs=asked.epochs,
            store=Path(folder) / "runs.sqlite",
        )
    return np.array([list(run.curve("validation", "loss"))[-1][1] for run in result.records])


if __name__ == "__main__":
    main()
