"""What it saves that trainings of several lengths share the steps before their rate falls.

    python benchmarks/shared_beginnings.py [--budget 120] [--epochs 6]

The same question (mnist-mlp whose rate falls over the last fifth) is asked with shared beginnings
and without, in turn, with the same budget each. It prints the trainings that the budget had room
for, and the epochs of these.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import batchlab
import batchlab.app.subjects as subjects
from batchlab.advice.advice import Advice
from batchlab.records.trial import TrialRecord
from batchlab.store.store import Store
from batchlab.workload.schedules import constant_until

WAYS: dict[str, Callable[..., float]] = {
    "shared": constant_until,
    "apart": lambda schedule: 0.0,
}


def asked(way: str, *, budget_s: float, epochs: int, seed: int) -> tuple[Advice, list[TrialRecord]]:
    """Ask once, into a store of its own; return the answer and all trainings."""
    subjects.constant_until = WAYS[way]  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lab.db"
        settings = {"schedule": "wsd", "width": 64 + seed}  # another width: another question
        advice = batchlab.advise(
            "mnist-mlp", settings=settings, epochs=epochs, budget=budget_s, store=path
        )
        with Store.existing(path) as store:
            return advice, list(store.study().records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=120.0)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=2)
    given = parser.parse_args()
    print("| repeat | way | trainings | their epochs | seconds | named |")
    print("|---|---|---|---|---|---|")
    for seed in range(given.repeats):
        for way in WAYS:
            advice, records = asked(way, budget_s=given.budget, epochs=given.epochs, seed=seed)
            own = sum(r.trial.plan.epoch_at(r.steps) for r in records)
            named = advice.named
            print(
                f"| {seed} | {way} | {len(records)} | {own:.0f} | {advice.spent_s:.0f} "
                f"| {named and (named.batch_size, named.learning_rate, named.epochs)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
