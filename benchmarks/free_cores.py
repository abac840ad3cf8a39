"""What a free core is worth: `advise` and `sweep` with and without a barrier after each round.

A simulated study on two workers, whose runs last as their steps do: the share of the budget until
the answer, and how much of the workers' time was idle. Then one live sweep of uneven runs on this
machine: submitted at once, against one round of as many as there are cores after another.

    python benchmarks/free_cores.py
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.reference.made_up_study import store_with_study
from tests.reference.side_by_side_engine import SideBySideEngine
from tests.reference.simulated_engine import Truth
from tests.reference.simulated_question import knee, question
from tests.reference.small_workloads import small_trial, small_workload

from batchlab.advice import advisor
from batchlab.advice.study_state import StudyState
from batchlab.engines.contract import RunPlan, run_all
from batchlab.engines.local_processes import LocalProcesses
from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.progress_listener import Silent
from batchlab.records.run import RunRequest
from batchlab.records.run_length import RunLength

KNEES = (16, 256, 1024, 8192)
TRUTHS = (Truth(noise=0.08), Truth(noise=0.08, b_crit=2000.0, s_min=100.0))
N_DRAWS = 6
TRAININGS = 40  # of the reference, that the budget pays for
SWEEP_STEPS = (8_000, 1_000, 1_000, 1_000, 4_000, 1_000)
N_SWEEPS = 4


def advised() -> tuple[float, float, int]:
    """Mean share of the budget until the answer, share of idle time, recommendations."""
    spent, idle, n = [], [], 0
    for at in KNEES:
        for truth in TRUTHS:
            for salt in range(N_DRAWS):
                step_s = knee(at)
                engine = SideBySideEngine(truth=truth, step_s=step_s, salt=salt)
                budget_s = TRAININGS * truth.best_steps(64) * step_s(64)
                advice = advisor.advise(question(step_s, budget_s=budget_s), engine)
                spent.append(math.log(engine.elapsed_s / budget_s))
                idle.append(1 - engine.busy_s / (engine.n_workers * engine.elapsed_s))
                n += advice.verdict == "recommend"
    return math.exp(statistics.fmean(spent)), statistics.fmean(idle), n


def at_barriers(run: Callable[[], tuple[float, float, int]]) -> tuple[float, float, int]:
    """The same where nothing is begun ahead: every round waits for its slowest."""
    ahead = advisor.needed_later

    def nothing(state: StudyState) -> Sequence[RunRequest]:
        return ()

    advisor.needed_later = nothing  # type: ignore[assignment]
    try:
        return run()
    finally:
        advisor.needed_later = ahead


def swept_s(*, barrier: bool) -> float:
    """Seconds of a live sweep of uneven runs."""
    workload = small_workload(n=40)
    with tempfile.TemporaryDirectory() as folder, store_with_study(Path(folder) / "a.db") as store:
        engine = LocalProcesses(
            store,
            PackedWorkload(workload),
            RunPlan(
                trial=small_trial(workload, batch_size=10),
                micro_batch_sizes={10: 10},
                step_s={10: 1e-4},
                horizon_epochs=None,
                device="cpu",
            ),
            Silent(),
            started_s=time.monotonic(),
            budget_s=None,
        )
        requests = [
            RunRequest(
                trial=engine.trial(batch_size=10, learning_rate=0.05, seed=seed),
                length=RunLength(steps=steps),
            )
            for seed, steps in enumerate(SWEEP_STEPS)
        ]
        run_all(engine, [RunRequest(trial=requests[0].trial, length=RunLength(steps=1))])
        started_s = time.monotonic()
        at_a_time = engine.n_workers if barrier else len(requests)
        for first in range(0, len(requests), at_a_time):
            run_all(engine, requests[first : first + at_a_time])
        return time.monotonic() - started_s


if __name__ == "__main__":
    print("advise                budget until the answer   idle   recommendations")
    for name, (spent, idle, n) in (
        ("rounds", at_barriers(advised)),
        ("free cores filled", advised()),
    ):
        print(f"{name:<20} {spent:>24.3f} {idle:>7.3f} {n:>12}")
    print("sweep                                 s")
    # The least of some, in turns: other work on the machine can only add to a time.
    pairs = [(swept_s(barrier=True), swept_s(barrier=False)) for _ in range(N_SWEEPS)]
    for name, times_s in zip(("rounds", "all submitted"), zip(*pairs, strict=True), strict=True):
        print(f"{name:<20} {min(times_s):>18.1f}")
