"""Whether what the advice names holds in a plain loop: six workloads, ten seeds each.

    python -m benchmarks.live [--workloads demo ...] [--runs 10] [--out FILE]

Each run is the real command into an empty store, with all seeds of its study moved; every other one
runs beside a process that takes a core. Then a plain loop, which shares nothing with batchlab's
trainers, judges what was named against yours, on seeds of its own, with nothing beside it. Where
nobody chose yours, it is the same batch size at its best rate. Both are trained for equally many
epochs in turns, some examples each, so that whatever else the machine does hits both; only steps
are timed.

- No slower: to the level of the answer it takes at most 1.05 times as long as yours (in the mean of
  logarithms), or the excess is less than 1.645 standard errors. The level is met where two
  evaluations in a row meet it. A training that misses it counts with twice its own time, a seed on
  which both miss it not at all. Where the answer has no level, ends alone count.
- No worse: its end, the mean of the last quarter of the evaluations, is worse by the margin of the
  answer at most (where it has none, 5 % more errors, or half a per cent of a loss), or beyond that
  by less than 1.645 standard errors. Where the answer says that yours overfits and is to be stopped
  at its best, the best mean of three evaluations in a row is the end of both.

Where yours is named there is nothing to judge: it is kept. FILE gets a line of JSON a run; runs
that it holds are not done again. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from batchlab.workload.data import Columns
from batchlab.workload.definition import Metric, Workload
from batchlab.workload.loading import load_workload

ROOT, RECORD = Path(__file__).parents[1], "benchmarks/regret"
SURE, SLOWER, MISSED, SEEDS = 1.645, 1.05, 2.0, (500, 501, 502)
# A thousand examples' area under a curve scatters by half a margin: more seeds judge it.
MANY_SEEDS = {"whole-set": tuple(range(500, 509))}
# The workload, the epochs and evaluations that judge it, and further arguments of the command.
CASES: dict[str, tuple[str, int, int, list[str]]] = {
    "demo": ("mnist-mlp", 5, 30, ["--budget", "40s", "--epochs", "5"]),
    "moby-dick": ("moby-dick", 1, 10, ["--budget", "60s", "--epochs", "1"]),
    "heavy-tails": (f"{RECORD}/later_workloads.py:heavy_tails", 15, 30, ["--budget", "40s"]),
    "autoencoder": (f"{RECORD}/held_out_workloads.py:autoencoder", 30, 30, ["--budget", "40s"]),
    "circle": ("examples/train.py:workload", 32, 64, ["--budget", "40s"]),
    "whole-set": ("examples/whole_set.py:workload", 32, 64, ["--budget", "40s"]),
}
# The command line, with all seeds of its study moved.
ASKED = """
import sys
from batchlab.cli.main import main
from benchmarks.demo_runs import seeds_moved
with seeds_moved(int(sys.argv.pop(1))):
    main(sys.argv[1:])
"""
Point = tuple[float, float]  # seconds of steps, and the metric, up is better


def answered(name: str, run: int, *, beside: bool) -> dict[str, Any]:
    """What the command says in JSON, beside a process that takes a core or not; {}: no answer."""
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if beside else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", ASKED, str(1000 * (run + 1)), "advise", CASES[name][0]]
            command += [*CASES[name][3], "--store", f"{folder}/lab.db", "--json", "--quiet"]
            command += ["--report", f"{folder}/page.html"]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE)
    finally:
        if burner is not None:
            burner.kill()
            burner.wait()
    return json.loads(done.stdout or "{}")  # type: ignore[no-any-return]


def size_of(data: Any) -> int:
    """How many examples there are."""
    return len(data) if isinstance(data, Columns) else len(data[0])


def rows(data: Any, places: torch.Tensor | slice) -> Any:
    """A batch of tensors with examples first: `places` of each, in the containers they came in."""
    if isinstance(data, Columns):
        return data.filled([part[places] for part in data.parts])
    return tuple(part[places] for part in data)


def trained(workload: Workload, cell: dict[str, Any], *, seed: int, case: str) -> Iterator[Point]:
    """Train in plain PyTorch: the seconds of steps so far and the metric, now and then."""
    torch.manual_seed(seed)
    model, rate, size = workload.model(), cell["learning_rate"], cell["batch_size"]
    make = workload.optimizer or (lambda parameters, lr: torch.optim.SGD(parameters, lr, 0.9))
    optimizer, data = make(model.parameters(), rate), workload.train
    n = size_of(data)
    _, epochs, looks, _ = CASES[case]
    whole, done, taken_s = epochs * n, 0, 0.0
    for _ in range(epochs):
        for places in torch.randperm(n).split(size):
            started_s = time.perf_counter()
            optimizer.zero_grad()
            workload.loss(model, rows(data, places)).backward()
            optimizer.step()
            taken_s += time.perf_counter() - started_s
            before, done = done, done + len(places)
            if done * looks // whole > before * looks // whole:
                yield taken_s, metric(workload, model)


@torch.no_grad()
def metric(workload: Workload, model: torch.nn.Module) -> float:
    """The metric that counts, of all validation examples at once; up is better."""
    model.eval()
    name, data = workload.metric_names[0], rows(workload.validation, slice(None))
    given: Any = workload.metrics.get(name, workload.loss)
    whole = isinstance(given, Metric)
    found = given.over_all(*given.predict(model, data)) if whole else given(model, data)
    model.train()
    up = float(found) * (1 if workload.better(name) == "higher" else -1)
    return up if math.isfinite(up) else -math.inf  # it diverged


def seconds_to(level: float, curve: list[Point]) -> float | None:
    """Where the first of two evaluations in a row meets the level; None: nowhere."""
    for (at_s, value), (_, after) in pairwise(curve):
        if min(value, after) >= level:
            return at_s
    return None


def end_of(curve: list[Point], *, overfits: bool) -> float:
    """What a training ends with."""
    values = [value for _, value in curve]
    if overfits:
        return max(map(statistics.fmean, zip(values, values[1:], values[2:], strict=False)))
    return statistics.fmean(values[len(values) * 3 // 4 :])


def error_of(values: list[float]) -> float:
    """The standard error of a mean; 0 of one value, or where one diverged."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return 0.0
    return statistics.stdev(values) / math.sqrt(len(values))


def judged(
    name: str, answer: dict[str, Any], named: dict[str, Any], yours: dict[str, Any]
) -> dict[str, Any]:
    """How many times as long as yours it takes to the level, and by how much it ends worse."""
    workload = load_workload(CASES[name][0], {}).workload
    sign = 1 if answer["better"] == "higher" else -1
    overfits = any(each["code"] == "reference_overfits" for each in answer["caveats_coded"])
    logs, worse = [], []
    for seed in MANY_SEEDS.get(name, SEEDS):
        runs = [trained(workload, cell, seed=seed, case=name) for cell in (named, yours)]
        curves: tuple[list[Point], list[Point]] = [], []
        for turn in range(CASES[name][2]):
            for which in (turn % 2, 1 - turn % 2):
                curves[which].extend(point for point in [next(runs[which], None)] if point)
        level = sign * answer["target"]["value"] if answer["target"] else math.inf
        times = [seconds_to(level, curve) for curve in curves]
        if any(times):
            missed = [MISSED * curve[-1][0] for curve in curves]
            logs.append(math.log((times[0] or missed[0]) / (times[1] or missed[1])))
        ends = [end_of(curve, overfits=overfits) for curve in curves]
        worse.append(ends[1] - ends[0])
    usual = 0.05 * (1 - ends[1]) if sign > 0 else 0.005 * abs(ends[1])
    margin = (answer["end_quality"] or {}).get("margin") or usual
    mean, excess = statistics.fmean(logs or [0.0]), statistics.fmean(worse)
    return {
        "times_as_long": math.exp(mean) if logs else None,
        "overfits": overfits,
        "ends_worse_by": excess,
        "ends_worse_error": error_of(worse),
        "margin": margin,
        "slower": mean > max(math.log(SLOWER), SURE * error_of(logs)),
        "worse": excess > margin + SURE * error_of(worse),
    }


def one_run(name: str, run: int) -> dict[str, Any]:
    """What one run was answered, and what that is worth."""
    started_s, beside = time.monotonic(), run % 2 == 1
    answer = answered(name, run, beside=beside)
    found = {"workload": name, "run": run, "beside": beside, "no_answer": not answer}
    found |= {key: answer.get(key) for key in ("verdict", "target", "chance", "reference")}
    named = answer.get("recommendation")
    if named is not None:
        yours = (answer["is_usual"] and answer["reference_tuned"]) or answer["reference"]
        found |= {"named": named, "yours": yours} | judged(name, answer, named, yours)
    return found | {"took_s": time.monotonic() - started_s}


def row(run: dict[str, Any]) -> str:
    """A run in the table."""
    cells = [run["workload"], run["run"], "yes" if run["beside"] else "", run["verdict"]]
    if "named" not in run:
        cells += ["", "", "", "", "", "no answer" if run["no_answer"] else "keeps yours"]
    else:
        times, faults = run["times_as_long"], [each for each in ("slower", "worse") if run[each]]
        cells += [f"{run['named']['batch_size']} at {run['named']['learning_rate']:.2g}"]
        cells += ["" if run["chance"] is None else f"{run['chance']:.0%}"]
        cells += ["" if times is None else f"{times:.2f}", f"{run['ends_worse_by']:.2g}"]
        cells += [f"{run['margin']:.2g}", ", ".join(faults) or "yes"]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workloads", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "live.jsonl")
    given = parser.parse_args()
    lines = given.out.read_text().splitlines() if given.out.exists() else []
    runs = {(run["workload"], run["run"]): run for run in map(json.loads, lines)}
    for key in [(name, run) for run in range(given.runs) for name in given.workloads]:
        if key not in runs:
            runs[key] = one_run(*key)
            with given.out.open("a") as file:
                file.write(json.dumps(runs[key]) + "\n")
            print(row(runs[key]), file=sys.stderr, flush=True)
    print("| workload | run | beside | verdict | named | chance | time, times yours |", end="")
    print(" ends worse by | margin | holds |", "|---|--:|" + "---|--:|" * 4, sep="\n")
    print(*(row(runs[key]) for key in sorted(runs)), sep="\n")
    faults = [any(run.get(f) for f in ("slower", "worse", "no_answer")) for run in runs.values()]
    kept = sum("named" not in run and not run["no_answer"] for run in runs.values())
    print(f"\n{faults.count(False)} of {len(runs)} hold; {kept} of them keep yours.")


if __name__ == "__main__":
    main()
