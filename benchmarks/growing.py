"""Does growing the batch pay? Small, large, growing and a decayed rate, on two built-in workloads.

    python -m benchmarks.growing [--seeds 5] [--out FILE]

Four plans of one training, as Smith et al. 2018 compare them:

- small: 32 examples, at a rate tuned for them;
- large: 512 examples, at a rate tuned for them;
- decay: small, whose rate is cut by 4 after 40, 70 and 90 % of the run;
- grow: small, whose batch grows by 4 there instead, up to 512 and then the cut of what is left.

Rates are tuned on a seed of their own, by octaves, for where the run ends. Each plan is trained for
equally many examples, and for as many as it can have in the time that `small` takes: by step times
measured in turn. The loop is plain PyTorch with `BatchSizeSampler`. Values are those of validation
data at the end, and after a twentieth of the run. Intervals are of differences seed by seed
(Student's, 95 %). FILE gets every run. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t as student

import batchlab
from batchlab import plans
from batchlab.plans import Plan
from batchlab.workload.definition import Workload
from batchlab.workload.loading import load_workload

SMALL, LARGE, CUTS, FACTOR = 32, 512, (0.4, 0.7, 0.9), 4.0
EARLY, TUNED_ON = 0.05, 99
# The workload, its settings, the passes of a run by equal examples, and the metric's name.
CASES: dict[str, tuple[dict[str, Any], int, str]] = {
    "mnist-mlp": ({}, 5, "accuracy"),
    "least-squares": ({"n": 4096, "dimension": 10, "condition_number": 30.0}, 40, "loss"),
}


def plan_of(name: str, epochs: float) -> Plan:
    """One of the four."""
    if name == "large":
        return plans.constant(LARGE, epochs=epochs)
    if name == "grow":
        return plans.instead_of_decay(SMALL, CUTS, cap=LARGE, epochs=epochs, factor=FACTOR)
    if name == "decay":
        return plans.instead_of_decay(SMALL, CUTS, cap=SMALL, epochs=epochs, factor=FACTOR)
    return plans.constant(SMALL, epochs=epochs)


def trained(workload: Workload, plan: Plan, *, seed: int) -> dict[str, float]:
    """One run: the metric early and at the end, and the seconds of its steps."""
    torch.manual_seed(seed)
    model, data = workload.model(), workload.train
    make = workload.optimizer or (lambda parameters, lr: torch.optim.SGD(parameters, lr, 0.9))
    optimizer = make(model.parameters(), plan.learning_rate)
    sampler = batchlab.BatchSizeSampler(data[0], plan, seed=seed)
    rates, early, taken_s = sampler.scheduler(optimizer), math.nan, 0.0
    early_at = sampler.plan.step_at(EARLY * sampler.plan.samples_at(sampler.n_steps))
    for step, places in enumerate(sampler, start=1):
        started_s = time.perf_counter()
        chosen = torch.tensor(places)
        workload.loss(model, tuple(part[chosen] for part in data)).backward()
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        taken_s += time.perf_counter() - started_s
        if step == early_at:
            early = value_of(workload, model)
    return {"early": early, "end": value_of(workload, model), "took_s": taken_s}


@torch.no_grad()
def value_of(workload: Workload, model: torch.nn.Module) -> float:
    """The metric that counts on all validation data."""
    model.eval()
    metric = workload.metrics.get(workload.metric_names[0], workload.loss)
    value = float(metric(model, workload.validation))
    model.train()
    return value if math.isfinite(value) else math.inf


def tuned_rate(workload: Workload, size: int, epochs: float, *, sign: int) -> float:
    """The octave of the workload's own rate with the best end on a seed of its own."""
    found = {}
    for octave in range(-2, 6):
        rate = workload.learning_rate * 2.0**octave
        plan = replace(plans.constant(size, epochs=epochs), learning_rate=rate)
        found[rate] = sign * trained(workload, plan, seed=TUNED_ON)["end"]
    return max(found, key=lambda rate: (found[rate], -rate))


def study(name: str, n_seeds: int) -> list[dict[str, Any]]:
    """Every run about one workload."""
    settings, epochs, _ = CASES[name]
    workload = load_workload(name, settings).workload
    sign = 1 if workload.better(workload.metric_names[0]) == "higher" else -1
    rates = {size: tuned_rate(workload, size, epochs, sign=sign) for size in (SMALL, LARGE)}
    ways = ("small", "large", "grow", "decay")
    planned = {
        way: replace(plan_of(way, epochs), learning_rate=rates[LARGE if way == "large" else SMALL])
        for way in ways
    }
    equal = [
        {"workload": name, "equal": "examples", "way": way, "seed": seed, "epochs": epochs}
        | {"learning_rate": planned[way].learning_rate}
        | trained(workload, planned[way], seed=seed)
        for seed in range(n_seeds)
        for way in ways
    ]
    took_s = {
        way: statistics.median(run["took_s"] for run in equal if run["way"] == way) for way in ways
    }
    timed = []
    for seed in range(n_seeds):
        for way in ways:
            longer = epochs * took_s["small"] / took_s[way]
            plan = replace(plan_of(way, longer), learning_rate=planned[way].learning_rate)
            run = {"workload": name, "equal": "time", "way": way, "seed": seed, "epochs": longer}
            run |= {"learning_rate": plan.learning_rate}
            timed.append(run | trained(workload, plan, seed=seed))
    return equal + timed


def table(runs: list[dict[str, Any]]) -> str:
    """A row for each workload, what is equal, and way: means, and differences to `small`."""
    lines = [
        "| workload | equal | plan | rate | epochs | seconds | early | at the end | less `small` |",
        "|---|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for name, equal, way in dict.fromkeys((r["workload"], r["equal"], r["way"]) for r in runs):
        mine, small = (
            [r for r in runs if (r["workload"], r["equal"], r["way"]) == (name, equal, each)]
            for each in (way, "small")
        )
        means = [statistics.fmean(r[key] for r in mine) for key in ("took_s", "early", "end")]
        apart = [a["end"] - b["end"] for a, b in zip(mine, small, strict=True)]
        told = ""
        if way != "small":
            half = student.ppf(0.975, len(apart) - 1) * statistics.stdev(apart) / len(apart) ** 0.5
            told = f"{statistics.fmean(apart):+.2g} ± {half:.1g}"
        cells = [name, equal, way, f"{mine[0]['learning_rate']:g}", f"{mine[0]['epochs']:.3g}"]
        cells += [f"{means[0]:.2g}", *(f"{value:.4g}" for value in means[1:]), told]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = [run for name in CASES for run in study(name, given.seeds)]
    if given.out:
        given.out.write_text("".join(json.dumps(run) + "\n" for run in runs))
    print(table(runs))


if __name__ == "__main__":
    main()
