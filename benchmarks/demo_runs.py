"""What the demo answers with other seeds each time, and whether that holds.

    python -m benchmarks.demo_runs [--runs 10]

Each run is the command of scripts/demo into an empty store, with all its seeds moved; every second
one beside a process that takes a core. Then what any of them named, and the reference batch size at
its best rate, which nobody chose, are trained on seeds that none of them saw. An answer holds if
what it named is no slower to the level of that run, on the mean of these seeds, and ends no worse
by more than that run's margin. Writes
benchmarks/results/demo_runs.json and prints a table in Markdown. Takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import batchlab
from batchlab.app.advise import advised
from batchlab.app.question import asked
from batchlab.records.trial import Trial, TrialRecord
from batchlab.runs.engine import StoredEngine

RESULTS = Path(__file__).parent / "results" / "demo_runs.json"
BUDGET, EPOCHS = "75s", 5
N_FRESH = 5


@contextmanager
def seeds_moved(by: int) -> Iterator[None]:
    """Have an advice train with other seeds than it counts."""
    trial_of = StoredEngine.trial

    def moved(engine: StoredEngine, *, seed: int, **values: float) -> Trial:
        return trial_of(engine, seed=seed + by, **values)  # type: ignore[arg-type]

    with patch.object(StoredEngine, "trial", moved):
        yield


def _take_a_core() -> None:
    while True:
        pass


@contextmanager
def one_core_taken() -> Iterator[None]:
    """Keep a core busy meanwhile."""
    taker = multiprocessing.Process(target=_take_a_core, daemon=True)
    taker.start()
    try:
        yield
    finally:
        taker.kill()


def answered(run: int, folder: Path) -> dict[str, object]:
    """The answer of one run."""
    started_s = time.perf_counter()
    is_busy = run % 2 == 1
    with seeds_moved(1000 * (run + 1)), one_core_taken() if is_busy else nullcontext():
        question = asked(
            "advise",
            workload="mnist-mlp",
            budget=BUDGET,
            epochs=EPOCHS,
            reserved_s=4.0,
            store=folder / f"{run}.db",
        )
        advice = advised(question).advice
    named, ends = advice.named, advice.end_quality
    beside = advice.reference_tuned or advice.reference
    return {
        "run": run,
        "beside_a_busy_process": is_busy,
        "verdict": advice.verdict,
        "named": None if named is None else [named.batch_size, named.learning_rate],
        "beside": [beside.batch_size, beside.learning_rate],
        "level": None if advice.target is None else advice.target.value,
        "chance": advice.chance,
        "ends": None if ends is None else ends.verdict,
        "margin": None if ends is None else ends.margin,
        "sizes": sorted({tried.batch_size for tried in advice.tried}),
        "step_s": {c.batch_size: c.step_s.estimate for c in advice.candidates},
        "trainings": len({(t.batch_size, t.learning_rate, t.seed) for t in advice.tried}),
        "taken_s": time.perf_counter() - started_s,
    }


def trained(cell: tuple[int, float], folder: Path) -> list[TrialRecord]:
    """Whole trainings of a configuration on fresh seeds."""
    batch_size, learning_rate = cell
    found = batchlab.sweep(
        "mnist-mlp",
        batch_sizes=[batch_size],
        learning_rates=[learning_rate],
        seeds=N_FRESH,
        epochs=EPOCHS,
        store=folder / "fresh.db",
    )
    return [r for r in found.records if r.trial.learning_rate == learning_rate]


def holds(answer: dict, named: list[TrialRecord], own: list[TrialRecord]) -> dict[str, float]:
    """How many times as long the reference takes, and how much better what is named ends."""

    def end(records: list[TrialRecord]) -> float:
        values = [r.evaluations[-1].score("validation", "accuracy") for r in records]
        return statistics.fmean(value for value in values if value is not None)

    def steps(records: list[TrialRecord]) -> float:
        # One that never came there counts with all its steps: it takes at least that.
        found = []
        for record in records:
            met = [e.step for e in record.evaluations if (e.score("validation", "accuracy") or 0)
                   >= answer["level"]]  # fmt: skip
            found.append(met[0] if met else record.steps)
        return statistics.fmean(found)

    step_s = answer["step_s"]
    sizes = [records[0].trial.batch_size for records in (named, own)]
    times = [steps(r) * step_s[size] for r, size in zip((named, own), sizes, strict=True)]
    return {"times_as_long": times[1] / times[0], "ends_better": end(named) - end(own)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    n_runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        folder, answers = Path(name), []
        for run in range(n_runs):
            answers.append(answered(run, folder))
            print({k: v for k, v in answers[-1].items() if k != "step_s"}, flush=True)
        named = [answer for answer in answers if answer["named"] and answer["level"] is not None]
        cells = {tuple(answer[which]) for answer in named for which in ("named", "beside")}
        fresh = {cell: trained(cell, folder) for cell in sorted(cells)}
        for answer in named:
            answer |= holds(answer, *(fresh[tuple(answer[w])] for w in ("named", "beside")))
    RESULTS.write_text(json.dumps({"load": os.getloadavg(), "runs": answers}, indent=1) + "\n")
    print(
        "| run | busy | verdict | named | chance | level | yours takes | ends better by | sizes |"
    )
    print("|--:|---|---|---|--:|--:|--:|--:|---|")
    for a in answers:
        size, rate = a["named"] or ("–", 0)
        chance = "" if a["chance"] is None else f"{a['chance']:.0%}"
        level = "" if a["level"] is None else f"{a['level']:.4f}"
        busy = "yes" if a["beside_a_busy_process"] else ""
        print(
            f"| {a['run']} | {busy} | {a['verdict']} | {size} at {rate:.3g} | {chance} | {level} "
            f"| {a.get('times_as_long', 0):.2f}× | {a.get('ends_better', 0):+.4f} "
            f"| {', '.join(map(str, a['sizes']))} |"
        )


if __name__ == "__main__":
    main()
