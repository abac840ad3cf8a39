"""The engine of this machine on a small workload, under a clock that a test sets."""

import math

from tests.reference.small_workloads import small_trial, small_workload
from tests.reference.told import Told

from batchlab.processes.packed_workload import PackedWorkload
from batchlab.records.run import RunLength, RunRequest
from batchlab.records.trial import Trial, TrialRecord
from batchlab.runs.contract import Engine, RunPlan
from batchlab.runs.process_engine import ProcessEngine
from batchlab.runs.workers import LocalWorkers
from batchlab.store.store import Store

STEP_S = 0.001


class Clock:
    """A clock that goes on by a second at each look, or by as much as it is told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


def engine_on(store: Store, packed: PackedWorkload, *, budget_s=1e6) -> ProcessEngine:
    trial = small_trial(small_workload(n=40), batch_size=10)
    plan = plan_on(trial, budget_s=budget_s)
    engine = ProcessEngine(store, plan, LocalWorkers(packed, plan))
    engine._clock = Clock()
    return engine


def plan_on(trial: Trial, *, budget_s: float = math.inf) -> RunPlan:
    sizes = (1, 5, 10, 20, 40)
    return RunPlan(
        trial=trial,
        micro_batch_sizes={size: min(size, 20) for size in sizes},
        step_s=dict.fromkeys(sizes, STEP_S),
        device="cpu",
        listener=Told(),
        started_s=0.0,
        budget_s=budget_s,
    )


def ask(
    engine: Engine, *, batch_size=10, steps=12, until=None, all_splits="on_the_way"
) -> RunRequest:
    trial = engine.trial(batch_size=batch_size, learning_rate=0.05, seed=0)
    length = RunLength(steps=steps, until=until, all_splits=all_splits)
    return RunRequest(trial=trial, length=length)


def shape(record: TrialRecord) -> list[tuple[int, float | None]]:
    return [(seen.step, seen.score("validation", "accuracy")) for seen in record.evaluations]
