"""Whether the native trainer needs the steps that PyTorch's own loop needs.

    python -m benchmarks.trainers_agree [--seeds 40]

MNIST with mnist-mlp, a seed with both trainers: the same weights, the same order of examples. They
part by rounding, after a thousand steps or so. Of each seed the steps to a level are compared: the
geometric mean of their ratio over the seeds is to lie within 5 % of 1 with 95 % confidence. Writes
benchmarks/results/trainers_agree.json and prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from scipy import stats

from batchlab.machine import environment
from batchlab.records.run import RunLength
from batchlab.records.trial import Target, Trial
from batchlab.training.plain import Task, train
from batchlab.training.trainers import built_for
from batchlab.workload.builtin import mnist_mlp
from batchlab.workload.definition import size_of

RESULTS = Path(__file__).parent / "results" / "trainers_agree.json"
# Batch size, learning rate, optimizer, level: each is met in a few seconds of PyTorch's own loop.
CASES = (
    (64, 0.04, "sgd", 0.965),
    (512, 0.16, "sgd", 0.965),
    (128, 0.001, "adamw", 0.965),
)
_MOST_EPOCHS = 12


def steps_to_level(case: tuple[int, float, str, float], seed: int) -> dict[str, float | None]:
    """The steps to the level by both trainers."""
    torch.set_num_threads(1)
    batch_size, learning_rate, optimizer, level = case
    workload = mnist_mlp.workload(optimizer=optimizer)
    trial = Trial(
        workload_id="mnist-mlp",
        workload="mnist-mlp",
        n_train=size_of(workload.train),
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    build = built_for(workload, trial)
    target = Target(metric="accuracy", value=level, better="higher")
    found: dict[str, float | None] = {}
    for name, used in (("plain", None), ("native", build)):
        seen: list = []
        task = Task(
            trial=trial,
            length=RunLength(epochs=_MOST_EPOCHS, until=target, all_splits="never"),
            device="cpu",
            threads=1,
            checkpoint=None,
            resume=False,
            versions=(),
            build=used,
        )
        outcome = train(workload, task, measures={}, emit=seen.extend, stop=lambda: False)
        assert outcome.engine == name, outcome
        met = [at for at in seen if target.met_by(at.score("validation", "accuracy"))]
        found[name] = met[0].step if outcome.status == "target_reached" and met else None
    return found


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    seeds = parser.parse_args().seeds
    rows = []
    with ProcessPoolExecutor() as pool:
        for case in CASES:
            both = list(pool.map(steps_to_level, [case] * seeds, range(seeds)))
            rows.append(row_of(case, both))
    RESULTS.write_text(json.dumps({"environment": environment(), "rows": rows}, indent=1) + "\n")
    print("\n".join(table(rows)))


def row_of(
    case: tuple[int, float, str, float], both: list[dict[str, float | None]]
) -> dict[str, object]:
    """The ratio native : plain of a case with its interval, over the seeds that both met."""
    logs = [
        math.log(one["native"] / one["plain"]) for one in both if one["native"] and one["plain"]
    ]
    mean = statistics.fmean(logs)
    half = stats.t.ppf(0.975, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return {
        "batch_size": case[0],
        "learning_rate": case[1],
        "optimizer": case[2],
        "level": case[3],
        "n": len(logs),
        "missed": [sum(one[name] is None for one in both) for name in ("plain", "native")],
        "ratio": math.exp(mean),
        "interval": [math.exp(mean - half), math.exp(mean + half)],
        "alike": sum(log == 0 for log in logs),
    }


def table(rows: list[dict[str, object]]) -> Iterator[str]:
    """The rows in Markdown."""
    yield "| batch size | rate | optimizer | level | seeds | native : plain | 95 % | the same |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        low, high = row["interval"]  # type: ignore[misc]
        yield (
            f"| {row['batch_size']} | {row['learning_rate']} | {row['optimizer']} | {row['level']} "
            f"| {row['n']} | {row['ratio']:.3f} | {low:.3f} to {high:.3f} | {row['alike']} |"
        )


if __name__ == "__main__":
    main()
