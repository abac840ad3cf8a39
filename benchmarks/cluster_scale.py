"""What the planner, the store and the report take as trials become many.

    python benchmarks/cluster_scale.py simulated --nodes 1000 --trials 1000,10000,100000
    python benchmarks/cluster_scale.py observed --trials 10000
    python benchmarks/cluster_scale.py toys --trials 1000

`simulated`: nodes that train nothing, in virtual time: each run has four evaluations and a random
length. What is left is what the driver itself does: ask, store, and report; each count of trials in
a process of its own. `observed`: a store of that many trials with 160 evaluations each (1 GB for
10,000 trials) is read and reported. `toys`: a workload whose training takes milliseconds, on a Ray
cluster of two nodes on this machine and on its local processes, in turns: seconds a trial beyond
what it trains.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch

import batchlab
from batchlab.processes.children import Ended
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.estimate import Reason
from batchlab.records.progress_listener import ProgressListener
from batchlab.records.run import Outcome, RunLength, RunRequest
from batchlab.records.study import MetricSummary, StudyName, WorkloadSummary
from batchlab.records.trial import Evaluation, Score, Status, Trial
from batchlab.report.sweep_page import text_report
from batchlab.runs.cluster import Cluster
from batchlab.runs.contract import RunPlan
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.ray_workers import RayWorkers
from batchlab.runs.workers import Heard, LocalWorkers, Workers
from batchlab.store.store import Store
from batchlab.training.plain import Task

RESULTS = Path(__file__).parent / "results" / "cluster_scale.json"
SIZES = (8, 16, 32, 64, 128)
N_TRAIN = 1024
STEP_S = 0.01


class SimulatedWorkers:
    """Nodes that train nothing (`Workers`): evaluations come in the order of virtual time."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.now_s = 0.0
        self._random = random.Random(0)
        self._coming: list[tuple[float, str, Any]] = []

    def get_ready(self, *, timeout_s: float) -> Reason | None:
        """They always are."""
        return None

    def start(self, task: Task) -> None:
        """All that it will tell is known at once."""
        trial, steps = task.trial, task.last_step
        pace = self._random.uniform(0.8, 1.25)
        for part in range(5):
            step = steps * part // 4
            seen = evaluation(trial, step, 1 / (1 + part))
            heapq.heappush(self._coming, self._at(step * pace, trial, (seen,)))
        ended = Ended(value=Outcome(status=Status.OK, peak_bytes=10**6, engine="simulated"))
        heapq.heappush(self._coming, self._at(steps * pace + 1e-6, trial, ended))

    def _at(self, steps: float, trial: Trial, told: Any) -> tuple[float, str, Any]:
        return self.now_s + steps * STEP_S, trial.trial_id, Unordered(told)

    def heard(self, *, timeout_s: float) -> Iterator[Heard]:
        """What comes next."""
        if self._coming:
            self.now_s, trial_id, told = heapq.heappop(self._coming)
            yield trial_id, told.value

    def ask_to_stop(self) -> None:
        """Nothing comes any more."""
        self._coming.clear()

    def kill(self) -> None:
        """Nothing comes any more."""
        self._coming.clear()

    def close(self) -> None:
        """Nothing comes any more."""
        self._coming.clear()


class Unordered:
    """A message in a heap, which is not compared with others."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: object) -> bool:
        return False


def evaluation(trial: Trial, step: int, loss: float) -> Evaluation:
    named = (("loss", loss), ("accuracy", 1 - loss / 2))
    splits = ("train", "validation", "test")
    return Evaluation(
        step=step,
        samples=trial.plan.samples_at(step),
        train_s=step * STEP_S,
        eval_s=0.0,
        batch_loss=loss,
        scores=tuple(
            Score(split=split, metric=metric, value=value)  # type: ignore[arg-type]
            for split in splits
            for metric, value in named
        ),
    )


def summary() -> WorkloadSummary:
    return WorkloadSummary(
        workload_id="simulated",
        name="simulated",
        reference="simulated",
        settings=(),
        n_train=N_TRAIN,
        n_validation=100,
        n_test=100,
        n_train_evaluated=100,
        n_parameters=10,
        metrics=(
            MetricSummary(name="accuracy", better="higher"),
            MetricSummary(name="loss", better="lower"),
        ),
        batch_size=32,
        learning_rate=0.1,
    )


def made_up_trial(batch_size: int, learning_rate: float, seed: int) -> Trial:
    known = summary()
    return Trial(
        workload_id=known.workload_id,
        workload=known.name,
        n_train=N_TRAIN,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )


def plan_of(trial: Trial) -> RunPlan:
    return RunPlan(
        trial=trial,
        device="cpu",
        listener=ProgressListener(),
        started_s=time.monotonic(),
        budget_s=math.inf,
        step_s=dict.fromkeys(SIZES, STEP_S),
        trainer="plain",
    )


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def simulated(n_nodes: int, n_trials: int) -> dict[str, float]:
    """Seconds and memory of one sweep of so many trials."""
    found: dict[str, float] = {"trials": n_trials, "nodes": n_nodes, "idle_bytes": peak_bytes()}
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "lab.db") as store:
        store.put_workload(summary())
        trial = made_up_trial(32, 0.1, 0)
        workers: Workers = SimulatedWorkers(n_nodes)
        engine = ProcessEngine(store, plan_of(trial), workers)
        rates = [0.1 * 2**octave for octave in range(4)]
        cells = [(size, rate) for size in SIZES for rate in rates]
        began_s = time.perf_counter()
        requests = [
            RunRequest(
                trial=engine.trial(batch_size=size, learning_rate=rate, seed=number // len(cells)),
                length=RunLength(epochs=4),
            )
            for number in range(n_trials)
            for size, rate in [cells[number % len(cells)]]
        ]
        for request in requests:
            engine.submit(request)
        found["ask_s"] = time.perf_counter() - began_s
        began_s = time.perf_counter()
        for _ in requests:
            engine.next_finished()
        found["run_s"] = time.perf_counter() - began_s
        found["run_peak_bytes"] = peak_bytes()
        put_study(store, [request.trial for request in requests])
        found |= looked_at(store)
    return found


def put_study(store: Store, trials: Sequence[Trial]) -> None:
    store.put_study(
        StudyName(
            study_id="many",
            command="batchlab sweep simulated",
            workload_id=trials[0].workload_id,
            environment=(),
            trial_ids=tuple(trial.trial_id for trial in trials),
        )
    )


def looked_at(store: Store) -> dict[str, float]:
    """Seconds and memory to read the study and to report on it."""
    began_s = time.perf_counter()
    study = store.study("many")
    read_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    text_report(study)
    report_s = time.perf_counter() - began_s
    return {
        "read_s": read_s,
        "report_s": report_s,
        "peak_bytes": peak_bytes(),
        "store_bytes": store.path.stat().st_size,
    }


def observed(n_trials: int) -> dict[str, float]:
    """Seconds and memory to read and report a store whose trials have 160 evaluations each."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lab.db"
        context = multiprocessing.get_context("spawn")
        # Another process writes, so that its memory does not count.
        writer = context.Process(target=write_observed, args=(path, n_trials))
        writer.start()
        writer.join()
        with Store(path) as store:
            return {"trials": n_trials, "evaluations": 160, **looked_at(store)}


def write_observed(path: Path, n_trials: int) -> None:
    rates = [0.1 * 2**octave for octave in range(4)]
    in_order = product(range(n_trials), rates, SIZES)
    trials = [made_up_trial(size, rate, seed) for seed, rate, size in islice(in_order, n_trials)]
    with Store(path) as store:
        store.put_workload(summary())
        for trial in trials:
            seen = tuple(evaluation(trial, 10 * i, 1 / (1 + i / 10)) for i in range(160))
            request = RunRequest(trial=trial, length=RunLength(steps=1590))
            opening = request.opening("simulated")
            ended = Outcome(status=Status.OK, peak_bytes=1_000_000).ends(opening)
            store.put_record(replace(ended, evaluations=seen))
        put_study(store, trials)


# ---- toys on real processes


def toy() -> batchlab.Workload:
    x = torch.randn(240, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    return batchlab.Workload(
        name="toy",
        model=lambda: torch.nn.Linear(4, 2),
        train=(x[:200], y[:200]),
        validation=(x[200:], y[200:]),
        loss=lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
        batch_size=32,
        learning_rate=0.1,
    )


def toys(n_trials: int) -> dict[str, float]:
    """Seconds a trial on two nodes of a cluster, and on this machine's processes."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster as LocalCluster

    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = LocalCluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    packed = PackedWorkload(toy())
    trial = Trial(
        workload_id="toy",
        workload="toy",
        n_train=200,
        batch_size=32,
        learning_rate=0.1,
        seed=0,
    )
    plan = plan_of(trial)
    nodes = RayWorkers(Cluster(address=cluster.address), packed, plan)
    while nodes.n < 2:
        list(nodes.heard(timeout_s=0.5))
    found: dict[str, float] = {"trials": n_trials}
    for part in range(2):
        for name, workers in (("local", LocalWorkers(packed, plan)), ("ray", nodes)):
            before = peak_bytes()
            took_s, trained_s = toys_on(workers, plan, n_trials // 2)
            found[f"{name}_{part}_s_a_trial"] = took_s
            found[f"{name}_{part}_trained_s_a_trial"] = trained_s
            found[f"{name}_{part}_grown_bytes"] = peak_bytes() - before
    nodes.close()
    ray.shutdown()
    cluster.shutdown()
    return found


def toys_on(workers: Workers, plan: RunPlan, n_trials: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "lab.db") as store:
        store.put_workload(replace(summary(), workload_id="toy", name="toy"))
        engine = ProcessEngine(store, plan, workers)
        began_s = time.perf_counter()
        for seed in range(n_trials):
            asked = engine.trial(batch_size=32, learning_rate=0.1, seed=seed)
            engine.submit(RunRequest(trial=asked, length=RunLength(epochs=1)))
        ends = [engine.next_finished()[1] for _ in range(n_trials)]
        took_s = time.perf_counter() - began_s
    assert {end.status for end in ends} == {Status.OK}
    return took_s / n_trials, sum(end.train_s + end.eval_s for end in ends) / n_trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["simulated", "observed", "toys", "one"])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--trials", default="1000,10000,100000")
    given = parser.parse_args()
    counts = [int(part) for part in given.trials.split(",")]
    if given.what == "one":
        print(json.dumps(simulated(given.nodes, counts[0])))
        return
    found = []
    for count in counts:
        if given.what == "toys":
            found.append(toys(count))
        elif given.what == "observed":
            found.append(observed(count))
        else:
            line = [sys.executable, __file__, "one", f"--nodes={given.nodes}", f"--trials={count}"]
            found.append(json.loads(subprocess.check_output(line)))
        print(json.dumps(found[-1]), flush=True)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(known | {given.what: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
